//! Rows that nobody can read, as of a damaged page that was repaired by hand: they keep nothing
//! else back.

use std::time::Duration;

use jobs::job::{NewJob, Status};
use jobs::store::{Filter, JobStore};
use jobs::webhook::DeliveryCapacity;
use rusqlite::Connection;

use super::{file, fresh};
use crate::fixtures::{LEASE, at, claim, hooked, id, new_job, progress, run, start, submit};

#[tokio::test]
async fn one_unreadable_job_does_not_stop_every_claim() {
    let (store, directory) = fresh();
    for number in 1..=5 {
        submit(&store, new_job(number)).await;
    }
    start(&store, new_job(6)).await;
    let other = Connection::open(file(&directory)).unwrap();
    other
        .execute_batch(
            "UPDATE work SET inputs = '{' WHERE job = 1;
             UPDATE jobs SET metadata = 'no JSON' WHERE seq = 2;
             DELETE FROM work WHERE job = 3;
             UPDATE work SET options = '[' WHERE job = 6;",
        )
        .unwrap();
    let claimed = claim(&store, 9, 1_000).await;
    let claimed: Vec<_> = claimed.iter().map(|claimed| claimed.job.id).collect();
    assert_eq!(claimed, [id(4), id(5)]);
    for number in [1, 3, 6] {
        let job = store.get(id(number)).await.unwrap().unwrap();
        assert_eq!(job.status, Status::Failed);
        assert!(job.error.unwrap().contains("cannot be read"));
    }
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.pending, counts.running, counts.ended), (0, 2, 4));
    assert!(claim(&store, 9, 1_001).await.is_empty());
    // They go like any other.
    assert_eq!(store.expire(Duration::ZERO, 9, at(2_000)).await.unwrap(), 4);
}

#[tokio::test]
async fn a_listing_leaves_out_what_cannot_be_read() {
    let (store, directory) = fresh();
    for number in 1..=5 {
        let job = NewJob {
            metadata: Some(progress(number)),
            ..new_job(number)
        };
        run(&store, job, 9).await;
    }
    let other = Connection::open(file(&directory)).unwrap();
    other
        .execute("UPDATE jobs SET metadata = '{' WHERE seq IN (3, 4)", [])
        .unwrap();
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.list(&Filter::default(), cursor, 2).await.unwrap();
        found.extend(page.jobs.iter().map(|job| job.id));
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(found, [id(5), id(2), id(1)]);
}

#[tokio::test]
async fn one_unreadable_webhook_does_not_stop_the_others() {
    let (store, directory) = fresh();
    for number in 1..=3 {
        run(&store, hooked(number, "a"), 9).await;
    }
    let other = Connection::open(file(&directory)).unwrap();
    other
        .execute("UPDATE jobs SET id = x'00' WHERE seq = 2", [])
        .unwrap();
    let capacity = DeliveryCapacity {
        total: 9,
        per_host: 9,
        ..DeliveryCapacity::default()
    };
    let claimed = store
        .claim_deliveries(&capacity, LEASE, at(10))
        .await
        .unwrap();
    let claimed: Vec<_> = claimed.iter().map(|claimed| claimed.lease.job).collect();
    assert_eq!(claimed, [id(1), id(3)]);
    assert_eq!(
        store.expire(Duration::ZERO, 9, at(2_000)).await.unwrap(),
        1,
        "nothing is owed"
    );
}
