//! When the file cannot be written: clear errors, nothing lost, and well again once it can.

use std::sync::Arc;
use std::time::Duration;

use jobs::job::{NewJob, Workload};
use jobs::json::Json;
use jobs::sqlite::{Options, SqliteStore};
use jobs::store::{Error, JobStore, SubmitOptions};
use rusqlite::Connection;
use tokio::task::JoinSet;

use super::{file, fresh, jobs, let_all_ask};
use crate::fixtures::{id, new_job, run, submit};

fn unavailable<T: std::fmt::Debug>(result: Result<T, Error>, reason: &str) {
    match result {
        Err(Error::Unavailable(sentence)) => assert!(sentence.contains(reason), "{sentence}"),
        other => panic!("{other:?}"),
    }
}

/// With inputs of 20 kB.
fn large(number: u32) -> NewJob {
    NewJob {
        workload: Workload {
            // Its own: the same text is kept once.
            inputs: Json::of(&format!("{number}{}", "x".repeat(20_000))),
            options: None,
            progress: None,
        },
        ..new_job(number)
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        max_bytes: Some(600_000),
        ..Options::default()
    };
    let store = SqliteStore::open(&file(&directory), &options).unwrap();
    let mut accepted = 0;
    let refused = loop {
        if let 1..=5 = accepted + 1 {
            run(&store, large(accepted + 1), 9).await;
        } else if let Err(error) = store
            .submit(large(accepted + 1), SubmitOptions::default())
            .await
        {
            break error;
        }
        accepted += 1;
        assert!(accepted < 100, "the size is not kept");
    };
    unavailable(Err::<(), _>(refused), "no space left");
    unavailable(store.ping().await, "no space left");
    assert_eq!(jobs(&store).await.len(), accepted as usize);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.pending, counts.ended), (accepted as usize - 5, 5));

    // Still not ready: it is tried, not guessed.
    unavailable(
        store
            .submit(large(accepted + 1), SubmitOptions::default())
            .await,
        "no space left",
    );
    unavailable(store.ping().await, "no space left");
    for number in 1..=5 {
        store.delete(id(number)).await.unwrap();
    }
    store.ping().await.unwrap();
    submit(&store, large(accepted + 1)).await;
    assert_eq!(jobs(&store).await.len(), accepted as usize - 5 + 1);
}

#[tokio::test]
async fn a_locked_file_is_told_and_read() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        busy_timeout: Duration::from_millis(20),
        ..Options::default()
    };
    let store = SqliteStore::open(&file(&directory), &options).unwrap();
    submit(&store, new_job(1)).await;
    let other = Connection::open(file(&directory)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    unavailable(
        store.submit(new_job(2), SubmitOptions::default()).await,
        "locked",
    );
    unavailable(store.ping().await, "locked");
    assert!(store.get(id(1)).await.unwrap().is_some());
    other.execute_batch("COMMIT").unwrap();
    store.ping().await.unwrap();
    submit(&store, new_job(2)).await;
}

#[tokio::test]
async fn a_command_that_fails_spoils_none_of_its_batch() {
    let (store, directory) = fresh();
    let store = Arc::new(store);
    let other = Connection::open(file(&directory)).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON jobs WHEN NEW.workflow = 'refused'
                 BEGIN SELECT RAISE (ABORT, 'refused'); END;
             BEGIN IMMEDIATE",
        )
        .unwrap();
    let mut submissions = JoinSet::new();
    for number in 1..=20 {
        let store = store.clone();
        submissions.spawn(async move {
            let workflow = if number == 7 { "refused" } else { "w" };
            let job = NewJob {
                workflow: workflow.into(),
                ..new_job(number)
            };
            let result = store.submit(job, SubmitOptions::default());
            (number, result.await.is_ok())
        });
    }
    let_all_ask().await;
    other.execute_batch("COMMIT").unwrap();
    let failed: Vec<u32> = submissions
        .join_all()
        .await
        .into_iter()
        .filter_map(|(number, stored)| (!stored).then_some(number))
        .collect();
    assert_eq!(failed, [7]);
    assert_eq!(jobs(&store).await.len(), 19);
    assert_eq!(store.counts().await.unwrap().pending, 19);
    store.ping().await.unwrap();
}
