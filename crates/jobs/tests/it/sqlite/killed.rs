//! The process killed in the middle of its writing: what it was told is stored is stored, and the
//! file is whole.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jobs::job::Status;
use jobs::parking::{Parked, Woken};
use jobs::store::JobStore;
use rusqlite::Connection;
use tokio::task::JoinSet;

use super::{file, open};
use crate::conformance::parking::{approval, wake_up};
use crate::fixtures::{
    claim, completed, event, hooked, id, new_job, progress, register, start_as, submit,
};

/// Tells the child which file to write to, and the number before its first job.
const FILE: &str = "FLOWMILL_TEST_FILE";
const NUMBER: &str = "FLOWMILL_TEST_NUMBER";

const KILLS: u32 = 5;
const JOBS_A_LIFE: u32 = 100_000;

#[tokio::test]
async fn what_was_accepted_outlives_a_kill() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let file = file(&directory);
    let (mut submitted, mut finished) = (BTreeSet::new(), BTreeSet::new());
    let (mut parked, mut woken) = (BTreeSet::new(), BTreeSet::new());
    for life in 0..KILLS {
        let lines = live(&file, life * JOBS_A_LIFE, random.usize(1..150));
        for line in lines {
            match line.split_once(' ') {
                Some(("submitted", number)) => submitted.insert(number.parse::<u32>().unwrap()),
                Some(("finished", number)) => finished.insert(number.parse::<u32>().unwrap()),
                Some(("parked", number)) => parked.insert(number.parse::<u32>().unwrap()),
                Some(("woken", number)) => woken.insert(number.parse::<u32>().unwrap()),
                _ => continue,
            };
        }
        expect_whole(&file, &format!("seed {seed}, life {life}"));
    }
    let store = open(&file);
    for number in &submitted {
        let job = store.get(id((*number).into())).await.unwrap();
        assert!(job.is_some(), "seed {seed}: job {number} was lost");
    }
    for number in &finished {
        let id = id((*number).into());
        let job = store.get(id).await.unwrap().unwrap();
        assert_eq!(job.status, Status::Completed, "seed {seed}: {number}");
        assert_eq!(job.outputs, completed(0).outputs);
        assert_eq!(
            store.events(id, 0, 9).await.unwrap(),
            [event(1), event(2)],
            "seed {seed}: {number}"
        );
    }
    for number in &parked {
        let id = id((*number).into());
        let workload = store.workload(id).await.unwrap().unwrap();
        assert_eq!(
            workload.progress,
            Some(progress(1)),
            "seed {seed}: {number}"
        );
        let waits = store.waits_for(id).await.unwrap().is_some();
        let status = store.get(id).await.unwrap().unwrap().status;
        assert_eq!(waits, status == Status::Waiting, "seed {seed}: {number}");
        // A wake-up may be in the store though nobody was told of it.
        assert!(waits || status == Status::Pending, "seed {seed}: {number}");
        assert!(!waits || !woken.contains(number), "seed {seed}: {number}");
    }
    for number in woken {
        let known = store.wake(id(number.into()), wake_up("yes", 9)).await;
        assert_eq!(known.unwrap(), Woken::Known, "seed {seed}: {number}");
    }
    // And whatever has not ended and does not wait can be taken up.
    let counts = store.counts().await.unwrap();
    let all = claim(&store, usize::MAX, 1_000_000).await;
    assert_eq!(all.len(), counts.pending + counts.running);
    assert!(submitted.len() >= KILLS as usize, "seed {seed}");
}

/// Lets a child write until it has told that many things, and kills it; all it told.
fn live(file: &Path, number: u32, things: usize) -> Vec<String> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "sqlite::killed::child",
            "--ignored",
            "--nocapture",
        ])
        .env(FILE, file)
        .env(NUMBER, number.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    let mut told = 0;
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        // The last line may have been cut.
        if let Some(whole) = line.strip_suffix('\n') {
            told += usize::from(whole.starts_with("submitted "));
            lines.push(whole.to_owned());
        }
        line.clear();
        if told == things {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(told >= things, "the child ended by itself: {lines:?}");
    lines
}

fn expect_whole(file: &Path, context: &str) {
    let connection = Connection::open(file).unwrap();
    let check: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok", "{context}");
    let orphans = connection
        .prepare("PRAGMA foreign_key_check")
        .unwrap()
        .exists([])
        .unwrap();
    assert!(!orphans, "{context}");
    let torn: i64 = connection
        .query_row(
            "SELECT count(*) FROM webhooks h JOIN jobs j ON j.seq = h.job
             WHERE (j.completed_at IS NULL) != (h.due_at IS NULL) OR j.owes_webhook IS NULL",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(torn, 0, "{context}: an end without its delivery");
    let torn: i64 = connection
        .query_row(
            "SELECT (SELECT count(*) FROM jobs WHERE status = 6) - count(*)
                 + sum(j.status != 6 OR j.worker IS NOT NULL)
             FROM jobs j JOIN waits w ON w.job = j.seq",
            [],
            |row| Ok(row.get::<_, Option<i64>>(0)?.unwrap_or(0)),
        )
        .unwrap();
    assert_eq!(torn, 0, "{context}: a parked job without what it waits for");
    let definitions_count_jobs: bool = connection
        .query_row(
            "SELECT (SELECT ifnull(sum(jobs), 0) FROM definitions) = (SELECT count(*) FROM jobs)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert!(definitions_count_jobs, "{context}");
}

#[tokio::test]
#[ignore = "is run, and killed, by what_was_accepted_outlives_a_kill"]
async fn child() {
    let (Some(file), Some(number)) = (env::var_os(FILE), env::var_os(NUMBER)) else {
        // Somebody runs the ignored tests, too.
        return;
    };
    let last = AtomicU32::new(number.to_str().unwrap().parse().unwrap());
    let last = Arc::new(last);
    let store = Arc::new(open(Path::new(&file)));
    let by = register(&*store, "a", 0).await;
    // The line that the test runner has begun.
    tell("");
    let mut callers = JoinSet::new();
    for caller in 0..8 {
        let (store, last) = (store.clone(), last.clone());
        callers.spawn(async move {
            loop {
                let number = last.fetch_add(1, Ordering::Relaxed) + 1;
                if caller % 2 == 0 {
                    submit(&*store, new_job(number)).await;
                    tell(&format!("submitted {number}"));
                    continue;
                }
                let lease = start_as(&*store, by, hooked(number, "a")).await.lease;
                tell(&format!("submitted {number}"));
                if caller % 4 == 1 {
                    let parked = store.park(&lease, approval(), Some(progress(1)), vec![event(1)]);
                    assert_eq!(parked.await.unwrap(), Parked::Waiting);
                    tell(&format!("parked {number}"));
                    let woken = store.wake(id(number.into()), wake_up("yes", 9)).await;
                    assert_eq!(woken.unwrap(), Woken::Queued);
                    tell(&format!("woken {number}"));
                    continue;
                }
                store
                    .checkpoint(&lease, Some(progress(1)), vec![event(1)])
                    .await
                    .unwrap();
                store
                    .finish(&lease, completed(9), vec![event(2)])
                    .await
                    .unwrap();
                tell(&format!("finished {number}"));
            }
        });
    }
    callers.join_all().await;
}

#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn tell(line: &str) {
    println!("{line}");
}
