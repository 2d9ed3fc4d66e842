//! The file's size, and that of the log beside it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jobs::job::{NewJob, Workload};
use jobs::json::Json;
use jobs::sqlite::{Options, SqliteStore};
use jobs::store::JobStore;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{file, fresh, jobs, open};
use crate::fixtures::{at, claim, completed, id, new_job, run, start, submit};

const MB: u64 = 1_000_000;

/// A job that takes a tenth of a megabyte.
fn large(number: u32) -> NewJob {
    NewJob {
        workload: Workload {
            // Its own: the same text is kept once.
            inputs: Json::of(&format!("{number}{}", "x".repeat(100_000))),
            options: None,
            progress: None,
        },
        ..new_job(number)
    }
}

fn size(file: &Path) -> u64 {
    fs::metadata(file).unwrap().len()
}

fn log_size(directory: &TempDir) -> u64 {
    size(&directory.path().join("flowmill.db-wal"))
}

#[tokio::test]
async fn the_file_shrinks_when_jobs_expire() {
    let (store, directory) = fresh();
    for number in 1..=100 {
        run(&store, large(number), i64::from(number)).await;
    }
    submit(&store, large(200)).await;
    drop(store);
    let file = file(&directory);
    assert!(size(&file) > 10 * MB);
    let store = open(&file);
    assert_eq!(
        store
            .expire(Duration::ZERO, 1_000, at(1_000))
            .await
            .unwrap(),
        100
    );
    assert_eq!(jobs(&store).await.len(), 1);
    drop(store);
    assert!(size(&file) < 2 * MB, "{}", size(&file));
}

#[tokio::test]
async fn jobs_expire_until_the_rest_fits() {
    let (store, directory) = fresh();
    for number in 1..=40 {
        run(&store, large(number), i64::from(number)).await;
    }
    let forgotten = store.expire_over(2 * MB, 1_000).await.unwrap();
    assert!((20..30).contains(&forgotten), "{forgotten}");
    assert_eq!(jobs(&store).await.len(), 40 - forgotten);
    assert!(store.get(id(40)).await.unwrap().is_some());
    assert_eq!(store.expire_over(2 * MB, 1_000).await.unwrap(), 0);
    drop(store);
    // Free pages that are kept for what comes next included.
    let file = file(&directory);
    assert!(size(&file) < 2 * MB + (256 << 12), "{}", size(&file));
}

#[tokio::test]
async fn the_log_counts_for_the_size_of_a_store() {
    const MAX: u64 = 2 * MB;
    let (store, directory) = fresh();
    for number in 1..=15 {
        run(&store, large(number), i64::from(number)).await;
    }
    assert!(
        log_size(&directory) > MAX / 2,
        "more than the half that counts in any case"
    );
    assert_eq!(
        store.expire_over(MAX, 1_000).await.unwrap(),
        0,
        "to shorten the log is enough"
    );
    assert_eq!(log_size(&directory), 0);
    for number in 16..=40 {
        run(&store, large(number), i64::from(number)).await;
    }
    while store.expire_over(MAX, 1_000).await.unwrap() > 0 {}
    let bytes = size(&file(&directory)) + log_size(&directory);
    assert!(bytes < MAX + (256 << 12), "{bytes}");
    assert!(jobs(&store).await.len() > 10);
}

#[tokio::test]
async fn the_log_stays_short() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        max_log_bytes: MB,
        ..Options::default()
    };
    let store = SqliteStore::open(&file(&directory), &options).unwrap();
    let mut longest = 0;
    for number in 1..=50 {
        submit(&store, large(number)).await;
        longest = longest.max(log_size(&directory));
    }
    assert!(longest < 2 * MB, "{longest}");
    assert_eq!(jobs(&store).await.len(), 50);
}

#[tokio::test]
async fn somebody_who_reads_on_stops_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        max_log_bytes: MB,
        ..Options::default()
    };
    let store = SqliteStore::open(&file(&directory), &options).unwrap();
    submit(&store, large(1)).await;
    let other = Connection::open(file(&directory)).unwrap();
    let count = || -> u32 {
        other
            .query_row("SELECT count(*) FROM jobs", [], |row| row.get(0))
            .unwrap()
    };
    other.execute_batch("BEGIN").unwrap();
    assert_eq!(count(), 1);
    for number in 2..=50 {
        submit(&store, large(number)).await;
    }
    assert_eq!(count(), 1);
    assert!(log_size(&directory) > 4 * MB);
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(count(), 50);
    drop(other);
    for number in 51..=100 {
        submit(&store, large(number)).await;
    }
    assert!(log_size(&directory) < 10 * MB);
}

#[tokio::test]
async fn a_retry_writes_neither_inputs_nor_progress_again() {
    let (store, directory) = fresh();
    let text = |letter: &str| Json::of(&letter.repeat(1_000_000));
    let repeated = |number: u32| NewJob {
        workload: Workload {
            inputs: text("x"),
            options: None,
            progress: (number > 1).then(|| text("y")),
        },
        ..new_job(number)
    };
    for number in 1..=40 {
        run(&store, repeated(number), 9).await;
    }
    let used = || -> u64 {
        let connection = Connection::open(file(&directory)).unwrap();
        let pragma = |name: &str| -> u64 {
            connection
                .pragma_query_value(None, name, |row| row.get(0))
                .unwrap()
        };
        (pragma("page_count") - pragma("freelist_count")) * pragma("page_size")
    };
    assert!((2 * MB..3 * MB).contains(&used()), "{}", used());
    // A job's own progress takes the place of what it shares.
    let lease = start(&store, repeated(41)).await.lease;
    let own = Json::of(&"z");
    store
        .checkpoint(&lease, Some(own.clone()), Vec::new())
        .await
        .unwrap();
    for number in 2..=40 {
        store.delete(id(number)).await.unwrap();
    }
    assert!((MB..2 * MB).contains(&used()), "{}", used());
    let workload = store.workload(id(41)).await.unwrap().unwrap();
    assert_eq!((workload.inputs, workload.progress), (text("x"), Some(own)));
    assert_eq!(
        store.workload(id(1)).await.unwrap().unwrap(),
        repeated(1).workload
    );
    let claimed = claim(&store, 9, 1_000).await;
    assert_eq!(claimed[0].workload.inputs, text("x"));
    let lease = &claimed[0].lease;
    store
        .finish(lease, completed(1_001), Vec::new())
        .await
        .unwrap();
    store.delete(id(41)).await.unwrap();
    store.delete(id(1)).await.unwrap();
    assert!(used() < MB, "{}", used());
}
