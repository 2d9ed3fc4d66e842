//! Two versions of the program on one database (T45): each has a level, and so has each job.

use std::collections::BTreeMap;

use jobs::job::{JobId, NewJob, Status};
use jobs::postgres::PostgresStore;
use jobs::store::{JobStore, Replica, ReplicaId};
use testing::postgres::{Database, database, sweep};

use super::at_callers_time;
use crate::conformance::parking::{approval, wake_up};
use crate::fixtures::{
    at, claiming, completed, event, id, naming, new_job, replica, start_as, submit,
};

const OLD: u32 = 1;
const NEW: u32 = 2;

async fn registered(store: &PostgresStore, name: &str, level: u32, second: i64) -> ReplicaId {
    let replica = Replica {
        level,
        ..replica(name)
    };
    store.register(&replica, at(second)).await.unwrap();
    replica.id
}

fn job(number: u32, level: u32) -> NewJob {
    NewJob {
        level,
        ..new_job(number)
    }
}

/// All that a replica can get hold of, by each way to claim.
async fn all_for(store: &PostgresStore, by: ReplicaId, second: i64) -> Vec<JobId> {
    let now = at(second);
    let mut claimed = store.claim_overdue(by, 99, now).await.unwrap();
    claimed.extend(store.claim(by, 99, now).await.unwrap());
    let running = BTreeMap::new();
    claimed.extend(store.claim_fairly(by, 99, &running, now).await.unwrap());
    claimed.iter().map(|claimed| claimed.job.id).collect()
}

/// Every second job of 1 to 12 needs the new version: waiting, overdue, woken, and those of a
/// replica that died.
async fn all_kinds(store: &PostgresStore) {
    let dead = registered(store, "dead", NEW, 0).await;
    for number in 1..=12 {
        let job = job(number, if number % 2 == 0 { NEW } else { OLD });
        match number {
            1..=3 => drop(submit(store, job).await),
            4..=6 => {
                let deadline = Some(at(20));
                submit(store, NewJob { deadline, ..job }).await;
            }
            7..=9 => {
                let lease = start_as(store, dead, job).await.lease;
                store
                    .park(&lease, approval(), None, vec![event(1)])
                    .await
                    .unwrap();
                store.wake(lease.job, wake_up("yes", 15)).await.unwrap();
            }
            _ => drop(start_as(store, dead, job).await),
        }
    }
}

/// (A report: workers of the old version claimed jobs of the new one during an upgrade, and failed
/// them.)
#[tokio::test]
async fn an_older_replica_runs_what_it_can_read_and_leaves_the_rest_as_it_is() {
    let Some(database) = database() else { return };
    let store = at_callers_time(&database).await;
    all_kinds(&store).await;
    let left = |database: &Database<'_>| {
        database.query("SELECT a::text FROM flowmill.active a WHERE level = 2 ORDER BY job")
    };
    let before = left(&database);
    assert_eq!(before.len(), 6);

    let old = registered(&store, "old", OLD, 60).await;
    let mut got = all_for(&store, old, 61).await;
    got.sort_unstable();
    let odd: Vec<JobId> = (1..=12).step_by(2).map(id).collect();
    assert_eq!(got, odd);
    assert_eq!(left(&database), before, "not one of the others is changed");

    let new = registered(&store, "new", NEW, 62).await;
    let mut got = all_for(&store, new, 62).await;
    got.sort_unstable();
    let even: Vec<JobId> = (2..=12).step_by(2).map(id).collect();
    assert_eq!(got, even);
    assert_eq!(sweep(&database), [""; 0]);
}

/// The other way: a replica of the new version takes what the old one has left.
#[tokio::test]
async fn a_newer_replica_goes_on_with_the_jobs_of_an_older_one() {
    let Some(database) = database() else { return };
    let store = at_callers_time(&database).await;
    let old = registered(&store, "old", OLD, 0).await;
    let new = registered(&store, "new", NEW, 0).await;
    let lease = start_as(&store, old, job(1, OLD)).await.lease;
    store
        .checkpoint(&lease, None, vec![event(1)])
        .await
        .unwrap();
    submit(&store, job(2, OLD)).await;
    store.deregister(old).await.unwrap();
    let mut claimed = store.claim(new, 9, at(1)).await.unwrap();
    claimed.extend(store.claim(new, 9, at(1)).await.unwrap());
    assert_eq!(claimed.len(), 2);
    for claimed in claimed {
        let ended = store.finish(&claimed.lease, completed(9), Vec::new()).await;
        assert_eq!(ended.unwrap().status, Status::Completed);
    }
    assert_eq!(sweep(&database), [""; 0]);
}

/// What an older replica does not run it still answers for: it lists, reads, cancels and deletes.
#[tokio::test]
async fn an_older_replica_answers_for_jobs_that_it_cannot_run() {
    let Some(database) = database() else { return };
    let store = at_callers_time(&database).await;
    let new = registered(&store, "new", NEW, 0).await;
    let held = start_as(&store, new, job(1, NEW)).await.lease;
    submit(&store, job(2, NEW)).await;
    let older = at_callers_time(&database).await;
    let old = registered(&older, "old", OLD, 0).await;
    assert_eq!(
        older.get(id(1)).await.unwrap().unwrap().status,
        Status::Running
    );
    assert_eq!(older.counts().await.unwrap().pending, 1);
    older.request_cancel(id(2), at(1)).await.unwrap();
    older.request_cancel(id(1), at(1)).await.unwrap();
    let told = store.beat(new, naming(&[held]), at(2)).await.unwrap();
    assert_eq!(told.cancelling, [held.job]);
    older.delete(id(2)).await.unwrap();
    assert_eq!(older.get(id(2)).await.unwrap(), None);
    let refused = older.submit(job(3, NEW), claiming(old)).await;
    assert!(refused.is_ok(), "{refused:?}");
}

/// A replica that was there before the tables changed beats, ends its runs and leaves.
#[tokio::test]
async fn a_replica_that_runs_while_min_level_rises_ends_what_it_has() {
    let Some(database) = database() else { return };
    let store = at_callers_time(&database).await;
    let old = registered(&store, "old", OLD, 0).await;
    let lease = start_as(&store, old, job(1, OLD)).await.lease;
    database.query("UPDATE flowmill.meta SET min_level = 2");
    store.beat(old, naming(&[lease]), at(1)).await.unwrap();
    let ended = store.finish(&lease, completed(9), Vec::new()).await;
    assert_eq!(ended.unwrap().status, Status::Completed);
    store.deregister(old).await.unwrap();
    assert_eq!(sweep(&database), [""; 0]);
}
