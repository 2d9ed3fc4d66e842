use jobs::job::{JobId, NewJob, Status};
use jobs::json::Json;
use jobs::store::{Counts, Filter};

use super::Store;
use crate::fixtures::{at, id, new_job, run, start, submit};

async fn page(
    store: &Store,
    filter: &Filter,
    cursor: Option<JobId>,
    limit: usize,
) -> (Vec<u128>, Option<JobId>) {
    let page = store.list(filter, cursor, limit).await.unwrap();
    (
        page.jobs.iter().map(|job| job.id.0.as_u128()).collect(),
        page.next,
    )
}

pub(crate) async fn rows_are_newest_first_without_outputs(store: Store) {
    for number in [2, 1, 3] {
        run(&*store, new_job(number), 10).await;
    }
    let page = store.list(&Filter::default(), None, 10).await.unwrap();
    assert_eq!(
        page.jobs.iter().map(|job| job.id).collect::<Vec<_>>(),
        [id(3), id(2), id(1)]
    );
    assert!(
        page.jobs
            .iter()
            .all(|job| job.outputs.is_none() && job.usage.is_some())
    );
    assert_eq!(page.next, None);
}

pub(crate) async fn every_filter_holds(store: Store) {
    submit(
        &*store,
        NewJob {
            workflow: "other".into(),
            ..new_job(1)
        },
    )
    .await;
    submit(
        &*store,
        NewJob {
            owner: Some("ann".into()),
            ..new_job(2)
        },
    )
    .await;
    run(&*store, new_job(3), 9).await;
    start(&*store, new_job(4)).await;
    let expect = async |filter: Filter, expected: &[u128]| {
        assert_eq!(
            page(&store, &filter, None, 10).await.0,
            expected,
            "{filter:?}"
        );
    };
    let all = Filter::default;
    expect(all(), &[4, 3, 2, 1]).await;
    expect(
        Filter {
            workflow: Some("other".into()),
            ..all()
        },
        &[1],
    )
    .await;
    expect(
        Filter {
            owner: Some("ann".into()),
            ..all()
        },
        &[2],
    )
    .await;
    expect(
        Filter {
            owner: Some("bob".into()),
            ..all()
        },
        &[],
    )
    .await;
    let workflows = |names: &[&str]| Filter {
        workflows: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..all()
    };
    expect(workflows(&["other", "third"]), &[1]).await;
    expect(workflows(&["other", "w"]), &[4, 3, 2, 1]).await;
    expect(workflows(&[]), &[]).await;
    expect(
        Filter {
            owner: Some("ann".into()),
            ..workflows(&["other"])
        },
        &[],
    )
    .await;
    expect(
        Filter {
            status: Some(Status::Pending),
            ..all()
        },
        &[2, 1],
    )
    .await;
    expect(
        Filter {
            status: Some(Status::Completed),
            ..all()
        },
        &[3],
    )
    .await;
    expect(
        Filter {
            created_after: Some(at(2)),
            ..all()
        },
        &[4, 3],
    )
    .await;
    expect(
        Filter {
            created_before: Some(at(2)),
            ..all()
        },
        &[1],
    )
    .await;
    expect(
        Filter {
            workflow: Some("w".into()),
            status: Some(Status::Pending),
            ..all()
        },
        &[2],
    )
    .await;
}

pub(crate) async fn pages_neither_skip_nor_repeat(store: Store) {
    for number in 1..=7 {
        submit(&*store, new_job(number)).await;
    }
    for limit in 1..=8 {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let (rows, next) = page(&store, &Filter::default(), cursor, limit).await;
            seen.extend(rows);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1], "limit {limit}");
    }
}

pub(crate) async fn pages_hold_while_jobs_come_and_go(store: Store) {
    for number in 1..=6 {
        run(&*store, new_job(number), 10).await;
    }
    let (first, cursor) = page(&store, &Filter::default(), None, 2).await;
    assert_eq!(first, [6, 5]);
    // The row the cursor stands on goes, another one goes, a new one comes.
    store.delete(id(5)).await.unwrap();
    store.delete(id(3)).await.unwrap();
    submit(&*store, new_job(7)).await;
    let (second, cursor) = page(&store, &Filter::default(), cursor, 2).await;
    assert_eq!(second, [4, 2]);
    assert_eq!(
        page(&store, &Filter::default(), cursor, 2).await,
        (vec![1], None)
    );
}

pub(crate) async fn counts_follow_the_jobs(store: Store) {
    let expect = async |pending, running, ended| {
        assert_eq!(
            store.counts().await.unwrap(),
            Counts {
                pending,
                running,
                ended,
                waiting: 0,
            }
        );
    };
    expect(0, 0, 0).await;
    submit(&*store, new_job(1)).await;
    start(&*store, new_job(2)).await;
    run(&*store, new_job(3), 9).await;
    expect(1, 1, 1).await;
    store.request_cancel(id(2), at(9)).await.unwrap();
    store.request_cancel(id(1), at(9)).await.unwrap();
    expect(0, 1, 2).await;
    store.delete(id(1)).await.unwrap();
    expect(0, 1, 1).await;
}

pub(crate) async fn a_page_of_large_labels_is_bounded_in_bytes(store: Store) {
    // The third has more than a page may, as jobs of earlier versions may.
    let sizes = [
        (1, 400_000),
        (2, 400_000),
        (3, 3_000_000),
        (4, 400_000),
        (5, 9),
    ];
    for (number, size) in sizes {
        let metadata = Json::of(&serde_json::json!({"label": "x".repeat(size)}));
        let job = NewJob {
            metadata: Some(metadata),
            ..new_job(number)
        };
        run(&*store, job, 9).await;
    }
    let (mut cursor, mut pages) = (None, Vec::new());
    loop {
        let (jobs, next) = page(&store, &Filter::default(), cursor, 200).await;
        pages.push(jobs);
        match next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    let expected: [&[u128]; 3] = [&[5, 4], &[3], &[2, 1]];
    assert_eq!(pages, expected);
}
