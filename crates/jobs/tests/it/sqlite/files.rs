//! Files that are not where they were, or not what they were: nothing is accepted and lost.

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use jobs::sqlite::{OpenError, Options, SqliteStore};
use jobs::store::{Error, JobStore, SubmitOptions};

use super::{file, fresh, jobs, open};
use crate::fixtures::{id, new_job, run, submit};

fn beside(file: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>, reason: &str) {
    match result {
        Err(Error::Unavailable(sentence)) => assert!(sentence.contains(reason), "{sentence}"),
        other => panic!("{other:?}"),
    }
}

/// Until the store can be written again.
async fn recovered(store: &SqliteStore) {
    while store.ping().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What is at its path is the whole store, for the next process.
async fn holds(store: SqliteStore, file: &Path, expected: usize) {
    assert_eq!(jobs(&store).await.len(), expected);
    drop(store);
    let store = open(file);
    assert_eq!(jobs(&store).await.len(), expected);
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_store_whose_log_is_removed_loses_nothing() {
    for suffixes in [&["-wal"][..], &["-wal", "-shm"]] {
        let (store, directory) = fresh();
        let file = file(&directory);
        submit(&store, new_job(1)).await;
        for suffix in suffixes {
            fs::remove_file(beside(&file, suffix)).unwrap();
        }
        submit(&store, new_job(2)).await;
        assert!(store.get(id(1)).await.unwrap().is_some());
        holds(store, &file, 2).await;
    }
}

#[tokio::test]
async fn a_store_whose_file_is_removed_is_written_anew() {
    for suffixes in [
        &[""][..],
        &["", "-wal", "-shm"],
        &["", "-wal", "-shm", ".lock"],
    ] {
        let (store, directory) = fresh();
        let file = file(&directory);
        run(&store, new_job(1), 5).await;
        submit(&store, new_job(2)).await;
        for suffix in suffixes {
            fs::remove_file(beside(&file, suffix)).unwrap();
        }
        submit(&store, new_job(3)).await;
        let counts = store.counts().await.unwrap();
        assert_eq!((counts.pending, counts.ended), (2, 1));
        let second = SqliteStore::open(&file, &Options::default());
        assert!(matches!(second, Err(OpenError::InUse)), "{second:?}");
        holds(store, &file, 3).await;
    }
}

#[tokio::test]
async fn without_its_directory_a_store_is_not_ready_and_accepts_nothing() {
    let (store, directory) = fresh();
    let file = file(&directory);
    submit(&store, new_job(1)).await;
    fs::remove_dir_all(directory.path()).unwrap();
    refused(
        store.submit(new_job(2), SubmitOptions::default()).await,
        "its file was removed",
    );
    refused(store.ping().await, "its file was removed");
    assert!(
        store.get(id(1)).await.unwrap().is_some(),
        "it is still read"
    );
    fs::create_dir(directory.path()).unwrap();
    recovered(&store).await;
    submit(&store, new_job(3)).await;
    holds(store, &file, 2).await;
}

#[tokio::test]
async fn a_store_whose_file_is_replaced_writes_to_neither() {
    let (store, directory) = fresh();
    let file = file(&directory);
    submit(&store, new_job(1)).await;
    let (other, elsewhere) = fresh();
    submit(&other, new_job(7)).await;
    drop(other);
    fs::rename(super::file(&elsewhere), &file).unwrap();
    let content = fs::read(&file).unwrap();
    refused(
        store.submit(new_job(2), SubmitOptions::default()).await,
        "another file has replaced its own",
    );
    refused(store.ping().await, "another file has replaced its own");
    assert_eq!(fs::read(&file).unwrap(), content);
}

#[tokio::test]
async fn readiness_is_a_true_write() {
    let (store, _directory) = fresh();
    let before = store.activity().transactions;
    store.ping().await.unwrap();
    assert_eq!(store.activity().transactions, before + 1);
}

#[tokio::test]
async fn a_damaged_store_is_refused_when_it_is_opened() {
    for damage in ["overwritten", "cut off"] {
        let (store, directory) = fresh();
        for number in 1..=200 {
            submit(&store, new_job(number)).await;
        }
        drop(store);
        let file = file(&directory);
        let bytes = fs::metadata(&file).unwrap().len();
        let mut raw = OpenOptions::new().write(true).open(&file).unwrap();
        if damage == "cut off" {
            raw.set_len(bytes / 2).unwrap();
        } else {
            raw.seek(SeekFrom::Start(4096 * 3)).unwrap();
            raw.write_all(&vec![0x5a; usize::try_from(bytes / 2).unwrap()])
                .unwrap();
        }
        drop(raw);
        let opened = SqliteStore::open(&file, &Options::default());
        let Err(OpenError::Damaged(_)) = opened else {
            panic!("{damage}: {opened:?}");
        };
        assert!(opened.unwrap_err().to_string().contains("restore a copy"));
    }
}
