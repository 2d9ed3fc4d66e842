//! What is particular to the store in memory: its bounds.

use std::time::Duration;

use jobs::job::Workload;
use jobs::json::Json;
use jobs::memory::{Limits, MemoryStore};
use jobs::store::{JobStore, SubmitOptions, Submitted};

use crate::conformance::spend;
use crate::fixtures::{hooked, id, keyed, new_job, run, start, submit};

async fn kept(store: &MemoryStore, numbers: std::ops::RangeInclusive<u128>) -> Vec<u128> {
    let mut kept = Vec::new();
    for number in numbers {
        if store.get(id(number)).await.unwrap().is_some() {
            kept.push(number);
        }
    }
    kept
}

#[tokio::test]
async fn the_oldest_end_goes_first_when_there_are_too_many() {
    let store = MemoryStore::new(Limits {
        max_jobs: 2,
        ..Limits::default()
    });
    for (number, end) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
        run(&store, new_job(number), end).await;
    }
    assert_eq!(kept(&store, 1..=4).await, [1, 4]);
}

#[tokio::test]
async fn jobs_in_flight_are_kept_however_many() {
    let store = MemoryStore::new(Limits {
        max_jobs: 0,
        ..Limits::default()
    });
    submit(&store, new_job(1)).await;
    start(&store, new_job(2)).await;
    run(&store, new_job(3), 9).await;
    assert_eq!(kept(&store, 1..=3).await, [1, 2]);
}

#[tokio::test]
async fn an_end_too_long_ago_is_forgotten() {
    let store = MemoryStore::new(Limits {
        max_age: Duration::from_secs(100),
        ..Limits::default()
    });
    run(&store, new_job(1), 10).await;
    submit(&store, new_job(110)).await;
    assert_eq!(kept(&store, 1..=1).await, [1]);
    submit(&store, new_job(111)).await;
    assert!(kept(&store, 1..=1).await.is_empty());
}

#[tokio::test]
async fn ends_are_forgotten_when_they_take_too_much_memory() {
    let store = MemoryStore::new(Limits {
        max_bytes: 25_000,
        ..Limits::default()
    });
    for number in 1..=3 {
        let mut job = new_job(number);
        job.workload = Workload {
            inputs: Json::of(&"x".repeat(10_000)),
            options: None,
            progress: None,
        };
        run(&store, job, i64::from(number)).await;
    }
    assert_eq!(kept(&store, 1..=3).await, [2, 3]);
}

#[tokio::test]
async fn jobs_that_owe_a_webhook_are_bounded_too_and_go_last() {
    let store = MemoryStore::new(Limits {
        max_jobs: 2,
        ..Limits::default()
    });
    for number in 1..=2 {
        run(&store, hooked(number, "a"), number.into()).await;
    }
    run(&store, new_job(3), 3).await;
    assert_eq!(kept(&store, 1..=3).await, [1, 2]);
    run(&store, hooked(4, "a"), 4).await;
    assert_eq!(kept(&store, 1..=4).await, [2, 4]);
}

#[tokio::test]
async fn a_job_that_is_forgotten_for_want_of_room_leaves_its_key_used() {
    let store = MemoryStore::new(Limits {
        max_jobs: 0,
        ..Limits::default()
    });
    run(&store, keyed(1, "s", "k", "f"), 9).await;
    let again = |number, fingerprint| {
        let job = keyed(number, "s", "k", fingerprint);
        store.submit(job, SubmitOptions::default())
    };
    let same = again(10, "f").await.unwrap();
    assert!(
        matches!(same, Submitted::Forgotten { job, .. } if job == id(1)),
        "{same:?}"
    );
    let other = again(11, "other").await.unwrap();
    assert!(matches!(other, Submitted::KeyReused), "{other:?}");
}

#[tokio::test]
async fn writers_of_spending_are_forgotten_with_their_days() {
    spend::a_writer_is_forgotten_with_its_days(&MemoryStore::default()).await;
}

#[tokio::test]
async fn the_keys_of_forgotten_jobs_are_bounded_the_longest_used_go_first() {
    let store = MemoryStore::new(Limits {
        max_jobs: 0,
        max_keys: 2,
        ..Limits::default()
    });
    for number in 1..=3 {
        run(&store, keyed(number, "s", &format!("k{number}"), "f"), 9).await;
    }
    let mut found = Vec::new();
    for key in ["k3", "k2", "k1"] {
        let again = keyed(10, "s", key, "f");
        let submitted = store.submit(again, SubmitOptions::default()).await.unwrap();
        found.push(matches!(submitted, Submitted::Forgotten { .. }));
    }
    assert_eq!(found, [true, true, false]);
}
