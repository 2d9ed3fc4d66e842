//! What is particular to the store in a file: that it is there again, who may open it, and that
//! many changes share a commit.

mod faults;
mod files;
mod killed;
mod space;
mod unreadable;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jobs::job::{Job, JobId, NewJob, Status, Workload};
use jobs::json::Json;
use jobs::key::KeyStore;
use jobs::parking::{Parked, Wait, Woken};
use jobs::spend::{Day, SpendStore};
use jobs::sqlite::{OpenError, Options, SqliteStore};
use jobs::store::{Beat, Counts, Filter, IDEMPOTENCY_KEPT, JobStore, SubmitOptions, Submitted};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::conformance::parking::{approval, wake_up};
use crate::conformance::spend;
use crate::fixtures::{
    at, claim, claiming, completed, definition, event, hooked, id, keyed, naming, new_job,
    progress, register, replica, run, start, submit,
};

/// A store in a directory of its own.
pub(crate) fn fresh() -> (SqliteStore, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (open(&file(&directory)), directory)
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("flowmill.db")
}

fn open(file: &Path) -> SqliteStore {
    SqliteStore::open(file, &Options::default()).unwrap()
}

async fn jobs(store: &SqliteStore) -> Vec<Job> {
    let page = store.list(&Filter::default(), None, usize::MAX).await;
    page.unwrap().jobs
}

/// Lets every task that was spawned on this thread come to where it waits for the store.
async fn let_all_ask() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn everything_is_there_again() {
    let (store, directory) = fresh();
    submit(&store, keyed(1, "s", "k", "f")).await;
    let full = NewJob {
        metadata: Some(progress(7)),
        owner: Some("ann".into()),
        deadline: Some(at(500)),
        retried_from: Some(id(1)),
        ..new_job(2)
    };
    let running = start(&store, full).await;
    store
        .checkpoint(&running.lease, Some(progress(1)), vec![event(1), event(2)])
        .await
        .unwrap();
    run(&store, new_job(3), 9).await;
    let before = (
        jobs(&store).await,
        store.get(id(3)).await.unwrap(),
        store.workload(id(2)).await.unwrap(),
        store.events(id(2), 0, 9).await.unwrap(),
        store.counts().await.unwrap(),
    );
    drop(store);

    let store = open(&file(&directory));
    let after = (
        jobs(&store).await,
        store.get(id(3)).await.unwrap(),
        store.workload(id(2)).await.unwrap(),
        store.events(id(2), 0, 9).await.unwrap(),
        store.counts().await.unwrap(),
    );
    assert_eq!(after, before);
    assert_eq!(store.definition("h").await.unwrap(), Some(definition("h")));
    let again = store
        .submit(keyed(4, "s", "k", "f"), SubmitOptions::default())
        .await;
    assert!(matches!(again.unwrap(), Submitted::Existing(job) if job.id == id(1)));
    // The lease of the process that ended lapses like any other.
    let claimed = claim(&store, 9, 33).await;
    let claimed: Vec<_> = claimed
        .iter()
        .map(|claimed| (claimed.job.id, claimed.last_event))
        .collect();
    assert_eq!(claimed, [(id(2), 2), (id(1), 0)]);
}

#[tokio::test]
async fn a_parked_job_is_there_again_with_what_it_waits_for_and_what_has_woken_it() {
    let (store, directory) = fresh();
    for number in [1, 2] {
        let lease = start(&store, new_job(number)).await.lease;
        store
            .wake(id(number.into()), wake_up("early", 2))
            .await
            .unwrap();
        let queued = store.park(&lease, approval(), None, Vec::new()).await;
        assert_eq!(queued.unwrap(), Parked::Queued);
    }
    let claimed = claim(&store, 1, 3).await.remove(0);
    let waiting = store.park(&claimed.lease, approval(), Some(progress(1)), Vec::new());
    assert_eq!(waiting.await.unwrap(), Parked::Waiting);
    let before = store.counts().await.unwrap();
    drop(store);
    let store = open(&file(&directory));
    assert_eq!(store.counts().await.unwrap(), before);
    assert_eq!((before.waiting, before.pending), (1, 1));
    assert_eq!(store.waits_for(id(1)).await.unwrap(), Some(approval()));
    let woken = store.wake(id(1), wake_up("late", 4)).await.unwrap();
    assert_eq!(woken, Woken::Queued);
    let claimed = claim(&store, 9, 5).await;
    assert_eq!(claimed[0].workload.progress, Some(progress(1)));
    assert_eq!(
        claimed[0].wake_ups,
        [wake_up("early", 2), wake_up("late", 4)]
    );
    assert_eq!(claimed[1].wake_ups, [wake_up("early", 2)]);
}

#[tokio::test]
async fn more_jobs_than_one_command_touches_wake_at_their_time() {
    const JOBS: u32 = 300;
    let (store, _directory) = fresh();
    let wait = Wait {
        wakes_at: Some(at(500)),
        ..approval()
    };
    for number in 1..=JOBS {
        let lease = start(&store, new_job(number)).await.lease;
        store
            .park(&lease, wait.clone(), None, Vec::new())
            .await
            .unwrap();
    }
    let claimed = claim(&store, 400, 500).await;
    assert_eq!(claimed.len(), JOBS as usize);
}

#[tokio::test]
async fn one_file_has_one_store() {
    let (store, directory) = fresh();
    let second = SqliteStore::open(&file(&directory), &Options::default());
    assert!(matches!(second, Err(OpenError::InUse)), "{second:?}");
    submit(&store, new_job(1)).await;
    drop(store);
    assert_eq!(jobs(&open(&file(&directory))).await.len(), 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_lock_file_that_was_removed_lets_no_second_store_in() {
    let (store, directory) = fresh();
    submit(&store, new_job(1)).await;
    std::fs::remove_file(directory.path().join("flowmill.db.lock")).unwrap();
    let second = SqliteStore::open(&file(&directory), &Options::default());
    assert!(matches!(second, Err(OpenError::InUse)), "{second:?}");
    submit(&store, new_job(2)).await;
    drop(store);
    let store = open(&file(&directory));
    assert_eq!(jobs(&store).await.len(), 2);
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_to_the_file_is_the_same_file() {
    let (store, directory) = fresh();
    let link = directory.path().join("link.db");
    std::os::unix::fs::symlink(file(&directory), &link).unwrap();
    let second = SqliteStore::open(&link, &Options::default());
    assert!(matches!(second, Err(OpenError::InUse)), "{second:?}");
    submit(&store, new_job(1)).await;
    drop(store);
    assert_eq!(jobs(&open(&link)).await.len(), 1);
}

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let connection = Connection::open(file(&directory)).unwrap();
    connection
        .execute_batch(include_str!("../../src/sqlite/schema_1.sql"))
        .unwrap();
    let marks = "PRAGMA application_id = 0x464c4f57; PRAGMA user_version = 1;
        INSERT INTO definitions VALUES (1, 'h', 'w.yaml', 2);
        INSERT INTO definition_texts VALUES (1, 'text of h');
        INSERT INTO jobs (seq, id, workflow, definition, status, created_at, completed_at, attempts, token)
            VALUES (1, x'00000000000000000000000000000001', 'w', 1, 3, 0, 5, 1, 1), (2, x'00000000000000000000000000000002', 'w', 1, 0, 0, NULL, 0, 0);
        INSERT INTO work VALUES (1, '{}', NULL), (2, '{}', NULL)";
    connection.execute_batch(marks).unwrap();
    drop(connection);
    let store = open(&file(&directory));
    assert_eq!(jobs(&store).await.len(), 2);
    assert_eq!(store.expire(Duration::ZERO, 9, at(0)).await.unwrap(), 1);
    run(&store, hooked(3, "a"), 9).await;
    assert_eq!(store.expire(Duration::ZERO, 9, at(1_000)).await.unwrap(), 0);
    assert_eq!(claim(&store, 9, 1).await.len(), 1);
    assert!(store.keys().await.unwrap().records.is_empty());
    store.hashing_key([1; 32].into()).await.unwrap();
    assert!(store.spent(None, Day(0)).await.unwrap().is_empty());
}

#[tokio::test]
async fn keys_are_there_again() {
    let (store, directory) = fresh();
    store.hashing_key([7; 32].into()).await.unwrap();
    drop(store);
    let keys = open(&file(&directory)).keys().await.unwrap();
    assert_eq!(keys.hashing_key.unwrap().reveal(), &[7; 32]);
}

#[tokio::test]
async fn writers_of_spending_are_forgotten_with_their_days() {
    let (store, _directory) = fresh();
    spend::a_writer_is_forgotten_with_its_days(&store).await;
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let (store, directory) = fresh();
    drop(store);
    let connection = Connection::open(file(&directory)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let refused = SqliteStore::open(&file(&directory), &Options::default()).unwrap_err();
    assert!(
        matches!(refused, OpenError::Newer { found: 99, .. }),
        "{refused:?}"
    );
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text.db");
    std::fs::write(&text, "name: not a database\n").unwrap();
    let other = directory.path().join("other.db");
    let connection = Connection::open(&other).unwrap();
    connection.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(connection);
    for path in [text, other] {
        let before = std::fs::read(&path).unwrap();
        let refused = SqliteStore::open(&path, &Options::default());
        assert!(matches!(refused, Err(OpenError::NotAStore)), "{refused:?}");
        assert_eq!(std::fs::read(&path).unwrap(), before, "{path:?}");
    }
}

#[test]
fn a_directory_that_is_not_there_is_told_without_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none/flowmill.db");
    let refused = SqliteStore::open(&path, &Options::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Io(_)), "{refused:?}");
    assert!(!refused.to_string().contains("none"), "{refused}");
}

#[test]
fn an_empty_file_becomes_a_store() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(file(&directory), "").unwrap();
    drop(open(&file(&directory)));
    drop(open(&file(&directory)));
}

#[tokio::test]
async fn what_waits_together_is_committed_together() {
    let (store, directory) = fresh();
    let store = Arc::new(store);
    let before = store.activity();
    // As long as another program holds the file, the first commit waits and the others come.
    let other = Connection::open(file(&directory)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut submissions = JoinSet::new();
    for number in 1..=100 {
        let store = store.clone();
        submissions.spawn(async move { submit(&*store, new_job(number)).await });
    }
    let_all_ask().await;
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(submissions.join_all().await.len(), 100);
    let after = store.activity();
    assert_eq!(after.commands - before.commands, 100);
    let transactions = after.transactions - before.transactions;
    assert!(transactions <= 3, "{transactions} commits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_at_once_share_no_job_and_lose_none() {
    const CALLERS: u32 = 8;
    const JOBS: u32 = 25;
    let (store, _directory) = fresh();
    let store = Arc::new(store);
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let store = store.clone();
        callers.spawn(async move {
            let mut finished = Vec::new();
            let name = caller.to_string();
            let by = register(&*store, &name, 9).await;
            for number in 1..=JOBS {
                submit(&*store, new_job(caller * JOBS + number)).await;
                let claimed = store.claim(by, 1, at(9)).await.unwrap();
                for claimed in claimed {
                    let job = claimed.job.id;
                    assert!(store.get(job).await.unwrap().is_some());
                    store
                        .checkpoint(&claimed.lease, Some(progress(1)), vec![event(1)])
                        .await
                        .unwrap();
                    let ended = store.finish(&claimed.lease, completed(10), vec![event(2)]);
                    finished.push(ended.await.unwrap().id);
                }
            }
            finished
        });
    }
    let finished = callers.join_all().await.concat();
    let all: HashSet<JobId> = finished.iter().copied().collect();
    assert_eq!(finished.len(), (CALLERS * JOBS) as usize);
    assert_eq!(all.len(), finished.len());
    let counts = Counts {
        ended: finished.len(),
        ..Counts::default()
    };
    assert_eq!(store.counts().await.unwrap(), counts);
}

#[tokio::test]
async fn polls_and_pages_leave_the_writer_alone() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        busy_timeout: Duration::from_secs(60),
        ..Options::default()
    };
    let store = SqliteStore::open(&file(&directory), &options).unwrap();
    run(&store, new_job(1), 9).await;
    submit(&store, new_job(2)).await;
    // The writer hangs on the lock of another program.
    let other = Connection::open(file(&directory)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut writing = std::pin::pin!(store.submit(new_job(3), SubmitOptions::default()));
    assert!(futures_util::poll!(writing.as_mut()).is_pending());
    let before = store.activity();
    for _ in 0..100 {
        let job = store.get(id(1)).await.unwrap().unwrap();
        assert_eq!(job.status, Status::Completed);
        assert_eq!(jobs(&store).await.len(), 2);
        assert_eq!(store.events(id(1), 0, 9).await.unwrap(), []);
        assert_eq!(store.counts().await.unwrap().pending, 1);
    }
    assert_eq!(store.activity(), before);
    assert!(futures_util::poll!(writing.as_mut()).is_pending());
    other.execute_batch("COMMIT").unwrap();
    writing.await.unwrap();
    assert_eq!(store.activity().commands, before.commands + 1);
}

/// An id of version 7 made at that time.
fn made(at: Timestamp) -> JobId {
    let ms = u64::try_from(at.as_millisecond()).unwrap();
    JobId(uuid::Builder::from_unix_timestamp_millis(ms, &[0; 10]).into_uuid())
}

#[tokio::test]
async fn a_listing_by_time_goes_by_the_job_not_by_its_id() {
    let (store, directory) = fresh();
    let hour = SignedDuration::from_hours(1);
    let job = |second, id_is_off_by| NewJob {
        id: made(at(second) + id_is_off_by),
        created_at: at(second),
        ..new_job(1)
    };
    let zero = SignedDuration::ZERO;
    let submitted = [
        submit(&store, job(10_000, zero)).await,
        submit(&store, job(10_010, -hour)).await,
        submit(&store, job(10_020, hour)).await,
        submit(&store, job(10_030, zero)).await,
    ];
    drop(store);
    let store = open(&file(&directory));
    let expect = async |created_after, created_before, expected: &[usize]| {
        let filter = Filter {
            created_after,
            created_before,
            ..Filter::default()
        };
        let page = store.list(&filter, None, 9).await.unwrap();
        let found: HashSet<_> = page.jobs.iter().map(|job| job.id).collect();
        let expected: HashSet<_> = expected.iter().map(|index| submitted[*index]).collect();
        assert_eq!(found, expected, "{filter:?}");
    };
    expect(Some(at(10_000)), None, &[1, 2, 3]).await;
    expect(Some(at(10_010)), None, &[2, 3]).await;
    expect(None, Some(at(10_020)), &[0, 1]).await;
    expect(None, Some(at(10_031)), &[0, 1, 2, 3]).await;
    expect(Some(at(10_005)), Some(at(10_025)), &[1, 2]).await;
}

#[tokio::test]
async fn a_claim_in_pieces_takes_what_was_asked_for() {
    const JOBS: u32 = 300;
    let (store, _directory) = fresh();
    let store = Arc::new(store);
    let mut submissions = JoinSet::new();
    for number in 1..=JOBS {
        let store = store.clone();
        submissions.spawn(async move { submit(&*store, new_job(number)).await });
    }
    submissions.join_all().await;
    let by = register(&*store, "a", 400).await;
    let claimed = store.claim(by, 290, at(400)).await.unwrap();
    assert_eq!(claimed.len(), 290);
    assert_eq!(claimed.last().unwrap().job.id, id(290));
    let leases: Vec<_> = claimed.into_iter().map(|claimed| claimed.lease).collect();
    let told = store.beat(by, naming(&leases), at(410)).await;
    assert_eq!(told.unwrap(), Beat::default());
    assert_eq!(claim(&*store, 290, 439).await.len(), 10);
    // All of them lapse with their replica.
    assert_eq!(claim(&*store, 400, 440).await.len(), 290);
}

#[tokio::test]
async fn dropping_the_store_commits_what_was_asked_for() {
    let (store, directory) = fresh();
    let submitted = store.submit(new_job(1), claiming(replica("a").id));
    // Asked for once, and given up on.
    tokio::select! {
        biased;
        _ = submitted => {}
        () = tokio::task::yield_now() => {}
    }
    drop(store);
    let store = open(&file(&directory));
    let status = store.get(id(1)).await.unwrap().map(|job| job.status);
    assert_eq!(status, Some(Status::Running));
}

#[tokio::test]
async fn nothing_is_left_of_a_job_that_is_forgotten() {
    let (store, directory) = fresh();
    let full = NewJob {
        webhook: hooked(1, "a.example").webhook,
        workload: Workload {
            inputs: Json::of(&"x".repeat(5_000)),
            options: None,
            progress: None,
        },
        ..keyed(1, "s", "k", "f")
    };
    let lease = start(&store, full).await.lease;
    store
        .checkpoint(&lease, Some(progress(1)), vec![event(1)])
        .await
        .unwrap();
    store.wake(id(1), wake_up("yes", 2)).await.unwrap();
    store
        .finish(&lease, completed(9), vec![event(2)])
        .await
        .unwrap();
    let rows = || -> Vec<u32> {
        let connection = Connection::open(file(&directory)).unwrap();
        let count = |table: &str| {
            let sql = format!("SELECT count(*) FROM {table}");
            connection.query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        let tables = [
            "jobs",
            "work",
            "progress",
            "outputs",
            "events",
            "idempotency_keys",
            "webhooks",
            "definitions",
            "definition_texts",
            "contents",
            "content_texts",
            "wake_ups",
        ];
        tables.into_iter().map(count).collect()
    };
    assert_eq!(rows(), [1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1]);
    store.delete(id(1)).await.unwrap();
    // Its key stays used for a day.
    assert_eq!(rows(), [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        store
            .expire_keys(9, at(9) + IDEMPOTENCY_KEPT)
            .await
            .unwrap(),
        1
    );
    assert_eq!(rows(), [0; 12]);
}
