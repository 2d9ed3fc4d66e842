use jobs::job::{JobId, NewJob, Status};
use jobs::store::Claimed;

use super::Store;
use crate::fixtures::{at, claim, event, id, new_job, progress, register, start, stranger, submit};

fn ids(claimed: &[Claimed]) -> Vec<JobId> {
    claimed.iter().map(|claimed| claimed.job.id).collect()
}

pub(crate) async fn the_oldest_is_claimed_first_up_to_the_limit(store: Store) {
    for number in [3, 1, 2] {
        submit(&*store, new_job(number)).await;
    }
    assert_eq!(ids(&claim(&*store, 2, 5).await), [id(1), id(2)]);
    assert_eq!(ids(&claim(&*store, 2, 5).await), [id(3)]);
}

pub(crate) async fn a_claimed_job_is_not_claimed_while_its_lease_holds(store: Store) {
    start(&*store, new_job(1)).await;
    let just_before = 30;
    assert!(claim(&*store, 10, just_before).await.is_empty());
}

pub(crate) async fn a_lapsed_lease_lets_another_worker_claim(store: Store) {
    let first = start(&*store, new_job(1)).await;
    let second = claim(&*store, 10, 31).await;
    assert_eq!(ids(&second), [id(1)]);
    assert!(second[0].lease.token > first.lease.token);
    assert_ne!(second[0].lease.replica, first.lease.replica);
}

pub(crate) async fn the_first_start_is_remembered_and_claims_are_counted(store: Store) {
    start(&*store, new_job(1)).await;
    let second = claim(&*store, 1, 100).await;
    assert_eq!(
        (second[0].job.started_at, second[0].job.attempts),
        (Some(at(1)), 2)
    );
}

pub(crate) async fn a_claim_carries_what_was_saved(store: Store) {
    let first = start(&*store, new_job(1)).await;
    assert_eq!((first.last_event, &first.workload.progress), (0, &None));
    store
        .checkpoint(&first.lease, Some(progress(1)), vec![event(1), event(2)])
        .await
        .unwrap();
    let second = claim(&*store, 1, 100).await;
    assert_eq!(
        (second[0].last_event, &second[0].workload.progress),
        (2, &Some(progress(1)))
    );
    assert_eq!(second[0].workload.inputs, new_job(1).workload.inputs);
}

pub(crate) async fn only_waiting_jobs_become_overdue(store: Store) {
    let due = |number, second| NewJob {
        deadline: Some(at(second)),
        ..new_job(number)
    };
    submit(&*store, due(1, 50)).await;
    submit(&*store, due(2, 51)).await;
    submit(&*store, new_job(3)).await;
    start(&*store, due(4, 20)).await;
    let by = stranger(&*store, at(50)).await;
    assert_eq!(
        ids(&store.claim_overdue(by, 10, at(50)).await.unwrap()),
        [id(1)]
    );
    assert_eq!(
        store.get(id(1)).await.unwrap().unwrap().status,
        Status::Running
    );
    assert!(
        store
            .claim_overdue(by, 10, at(50))
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn two_claims_at_once_share_no_job(store: Store) {
    for number in 1..=100 {
        submit(&*store, new_job(number)).await;
    }
    let mut claims = tokio::task::JoinSet::new();
    for name in ["a", "b", "c", "d"] {
        let store = store.clone();
        let by = register(&*store, name, 100).await;
        claims.spawn(async move {
            let mut all = Vec::new();
            loop {
                let some = store.claim(by, 7, at(100)).await.unwrap();
                if some.is_empty() {
                    return all;
                }
                all.extend(ids(&some));
                tokio::task::yield_now().await;
            }
        });
    }
    let mut all = claims.join_all().await.concat();
    all.sort();
    assert_eq!(all, (1..=100).map(id).collect::<Vec<_>>());
}
