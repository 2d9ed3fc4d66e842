use std::collections::HashSet;
use std::time::Duration;

use jobs::job::Status;
use jobs::store::{Error, IDEMPOTENCY_KEPT, SubmitOptions, Submitted};

use super::Store;
use crate::fixtures::{at, claiming, definition, id, keyed, new_job, run, start, stranger, submit};

pub(crate) async fn a_submitted_job_waits(store: Store) {
    let id = submit(&*store, new_job(1)).await;
    let job = store.get(id).await.unwrap().unwrap();
    assert_eq!(
        (job.status, job.created_at, job.started_at, job.attempts),
        (Status::Pending, at(1), None, 0)
    );
}

pub(crate) async fn a_job_can_be_claimed_in_the_same_commit(store: Store) {
    let claimed = start(&*store, new_job(1)).await;
    assert_eq!(
        (claimed.job.status, claimed.job.attempts),
        (Status::Running, 1)
    );
    assert_eq!(claimed.workload, new_job(1).workload);
    assert_eq!(store.get(id(1)).await.unwrap().unwrap(), claimed.job);
}

fn at_most_one_waits() -> SubmitOptions {
    SubmitOptions {
        max_pending: Some(1),
        ..SubmitOptions::default()
    }
}

pub(crate) async fn a_full_queue_refuses_and_stores_nothing(store: Store) {
    submit(&*store, new_job(1)).await;
    let refused = store.submit(new_job(2), at_most_one_waits()).await;
    assert!(
        matches!(refused, Err(Error::QueueFull { pending: 1 })),
        "{refused:?}"
    );
    assert_eq!(store.get(id(2)).await.unwrap(), None);
}

pub(crate) async fn a_full_queue_takes_a_job_that_is_claimed_at_once(store: Store) {
    submit(&*store, new_job(1)).await;
    let options = SubmitOptions {
        max_pending: Some(1),
        ..claiming(stranger(&*store, at(2)).await)
    };
    assert!(matches!(
        store.submit(new_job(2), options).await.unwrap(),
        Submitted::New(Some(_))
    ));
}

async fn found(store: &Store, number: u32, scope: &str, key: &str, fingerprint: &str) -> String {
    match store
        .submit(
            keyed(number, scope, key, fingerprint),
            SubmitOptions::default(),
        )
        .await
        .unwrap()
    {
        Submitted::New(_) => "new".to_owned(),
        Submitted::Existing(job) => format!("job {}", job.id.0.as_u128()),
        Submitted::Forgotten { job, status } => {
            format!("forgotten job {} {}", job.0.as_u128(), status.as_str())
        }
        Submitted::KeyReused => "reused".to_owned(),
    }
}

pub(crate) async fn same_key_and_fingerprint_finds_the_first_job(store: Store) {
    run(&*store, keyed(1, "s", "k", "f"), 2).await;
    assert_eq!(found(&store, 3, "s", "k", "f").await, "job 1");
    assert_eq!(store.get(id(3)).await.unwrap(), None);
}

pub(crate) async fn same_key_with_another_fingerprint_is_told(store: Store) {
    submit(&*store, keyed(1, "s", "k", "f")).await;
    assert_eq!(found(&store, 2, "s", "k", "other").await, "reused");
    assert_eq!(store.get(id(2)).await.unwrap(), None);
}

pub(crate) async fn keys_of_other_scopes_are_other_keys(store: Store) {
    submit(&*store, keyed(1, "s", "k", "f")).await;
    assert_eq!(found(&store, 2, "other", "k", "f").await, "new");
    assert_eq!(found(&store, 3, "s", "other", "f").await, "new");
}

pub(crate) async fn a_key_is_forgotten_after_a_day(store: Store) {
    const DAY: u32 = 24 * 60 * 60;
    submit(&*store, keyed(1, "s", "k", "f")).await;
    assert_eq!(found(&store, DAY, "s", "k", "f").await, "job 1");
    assert_eq!(found(&store, DAY + 1, "s", "k", "other").await, "new");
    assert_eq!(
        found(&store, DAY + 2, "s", "k", "other").await,
        format!("job {}", DAY + 1)
    );
}

pub(crate) async fn a_key_outlives_its_deleted_job(store: Store) {
    run(&*store, keyed(1, "s", "k", "f"), 2).await;
    store.delete(id(1)).await.unwrap();
    assert_eq!(
        found(&store, 3, "s", "k", "f").await,
        "forgotten job 1 completed"
    );
    assert_eq!(found(&store, 4, "s", "k", "other").await, "reused");
    assert_eq!(store.counts().await.unwrap().pending, 0);
}

pub(crate) async fn a_key_outlives_its_expired_job(store: Store) {
    run(&*store, keyed(1, "s", "k", "f"), 2).await;
    run(&*store, keyed(2, "s", "l", "f"), 3).await;
    assert_eq!(store.expire(Duration::ZERO, 9, at(3)).await.unwrap(), 1);
    assert_eq!(
        found(&store, 4, "s", "k", "f").await,
        "forgotten job 1 completed"
    );
    assert_eq!(found(&store, 4, "s", "l", "f").await, "job 2");
    store.expire_over(0, 1).await.unwrap();
    assert_eq!(
        found(&store, 5, "s", "l", "f").await,
        "forgotten job 2 completed"
    );
}

pub(crate) async fn a_key_whose_job_is_forgotten_is_free_after_a_day(store: Store) {
    const DAY: u32 = 24 * 60 * 60;
    run(&*store, keyed(1, "s", "k", "f"), 2).await;
    store.delete(id(1)).await.unwrap();
    assert_eq!(
        found(&store, DAY, "s", "k", "f").await,
        "forgotten job 1 completed"
    );
    assert_eq!(found(&store, DAY + 1, "s", "k", "f").await, "new");
    assert_eq!(
        found(&store, DAY + 2, "s", "k", "f").await,
        format!("job {}", DAY + 1)
    );
    // The key that is in use again is none of those that are forgotten.
    assert_eq!(
        store
            .expire_keys(9, at(9) + IDEMPOTENCY_KEPT)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        found(&store, DAY + 3, "s", "k", "f").await,
        format!("job {}", DAY + 1)
    );
}

pub(crate) async fn keys_of_forgotten_jobs_are_forgotten_in_their_turn(store: Store) {
    for number in 1..=3 {
        let job = keyed(number, "s", &format!("k{number}"), "f");
        run(&*store, job, 9).await;
    }
    for number in 1..=2 {
        store.delete(id(number)).await.unwrap();
    }
    assert_eq!(
        store
            .expire_keys(9, at(1) + IDEMPOTENCY_KEPT)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        store
            .expire_keys(1, at(9) + IDEMPOTENCY_KEPT)
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        found(&store, 11, "s", "k2", "f").await,
        "forgotten job 2 completed"
    );
    assert_eq!(
        store
            .expire_keys(9, at(9) + IDEMPOTENCY_KEPT)
            .await
            .unwrap(),
        1
    );
    assert_eq!(found(&store, 12, "s", "k2", "f").await, "new");
    assert_eq!(found(&store, 13, "s", "k3", "f").await, "job 3");
}

pub(crate) async fn a_known_key_is_found_though_the_queue_is_full(store: Store) {
    submit(&*store, keyed(1, "s", "k", "f")).await;
    let again = store
        .submit(keyed(2, "s", "k", "f"), at_most_one_waits())
        .await
        .unwrap();
    assert!(matches!(again, Submitted::Existing(job) if job.id == id(1)));
}

pub(crate) async fn a_hundred_submissions_with_one_key_make_one_job(store: Store) {
    let mut submissions = tokio::task::JoinSet::new();
    for number in 1..=100 {
        let store = store.clone();
        submissions.spawn(async move {
            match store
                .submit(keyed(number, "s", "k", "f"), SubmitOptions::default())
                .await
                .unwrap()
            {
                Submitted::New(_) => id(number.into()),
                Submitted::Existing(job) => job.id,
                other => panic!("the fingerprint is the same: {other:?}"),
            }
        });
    }
    let ids: HashSet<_> = submissions.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(store.counts().await.unwrap().pending, 1);
}

pub(crate) async fn a_definition_is_kept_while_a_job_has_it(store: Store) {
    run(&*store, new_job(1), 2).await;
    run(&*store, new_job(2), 3).await;
    store.delete(id(1)).await.unwrap();
    assert_eq!(store.definition("h").await.unwrap(), Some(definition("h")));
    store.delete(id(2)).await.unwrap();
    // A shared store keeps it for some days, since others may be about to store a job that has it.
    if !store.is_shared() {
        assert_eq!(store.definition("h").await.unwrap(), None);
    }
}
