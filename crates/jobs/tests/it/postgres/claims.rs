//! Claims of several replicas on one database.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use jobs::job::{JobId, NewJob, Status};
use jobs::postgres::PostgresStore;
use jobs::store::{Claimed, JobStore, Replica, ReplicaId};
use testing::postgres::{Database, database, sweep};

use super::at_callers_time;
use crate::fixtures::{
    at, claim, completed, event, id, new_job, progress, register, replica, start_as, stranger,
    submit,
};

fn ids(claimed: &[Claimed]) -> Vec<JobId> {
    claimed.iter().map(|claimed| claimed.job.id).collect()
}

async fn handles(database: &Database<'_>, number: usize) -> Vec<Arc<PostgresStore>> {
    let handles = (0..number).map(|_| at_callers_time(database));
    join_all(handles).await.into_iter().map(Arc::new).collect()
}

/// Puts jobs into the queue that are all alike, and leaves the planner in the belief that there are
/// none.
fn fill(database: &Database<'_>, jobs: u32) {
    database.query(
        "ALTER TABLE flowmill.active SET (autovacuum_enabled = false);
         ANALYZE flowmill.active",
    );
    database.query(&format!(
        "WITH new AS (
             INSERT INTO flowmill.jobs (id, workflow, definition, created_at, level)
             SELECT lpad(to_hex(n), 32, '0')::uuid, 'w', 'h', now(), 1
             FROM generate_series(1, {jobs}) n
             RETURNING id, level, workflow
         ), work AS (
             INSERT INTO flowmill.work (job, inputs) SELECT id, '{{}}' FROM new
         )
         INSERT INTO flowmill.active
             (job, workflow, level, status, token, attempts, starts, deadline)
         SELECT id, workflow, level, 0, 0, 0, 0, '2000-01-01' FROM new"
    ));
}

/// (A report: a claim of 3 jobs took more where the planner put its lock into the inner side of a
/// join.)
#[tokio::test]
async fn a_claim_takes_no_more_than_it_was_asked_to_whatever_the_planner_believes() {
    let Some(database) = database() else { return };
    let store = at_callers_time(&database).await;
    fill(&database, 10_000);
    let by = register(&store, "a", 1).await;
    let running = BTreeMap::new();
    let taken = [
        store.claim(by, 3, at(2)).await,
        store.claim_fairly(by, 3, &running, at(2)).await,
        store.claim_overdue(by, 3, at(2)).await,
    ];
    for (number, claimed) in (0..).zip(taken) {
        let first = 3 * number + 1;
        let claimed = ids(&claimed.unwrap());
        assert_eq!(claimed, [first, first + 1, first + 2].map(id));
    }
    let held = "SELECT count(*) FROM flowmill.active WHERE status = 1";
    assert_eq!(database.count(held), 9);
    // Those of a dead replica.
    database.query("UPDATE flowmill.active SET status = 1, replica = gen_random_uuid()");
    let claimed = store.claim(by, 3, at(4)).await.unwrap();
    assert_eq!(ids(&claimed), [1, 2, 3].map(id));
    let held = format!("SELECT count(*) FROM flowmill.active WHERE replica = '{by}'");
    assert_eq!(database.count(&held), 3);
    // More than go into one statement.
    let claimed = store.claim(by, 1_000, at(5)).await.unwrap();
    assert_eq!(claimed.len(), 1_000);
    assert_eq!(database.count(&held), 1_003);
}

#[tokio::test]
async fn handles_that_claim_at_once_share_no_job() {
    const JOBS: u32 = 300;
    let Some(database) = database() else { return };
    let handles = handles(&database, 2).await;
    // Half of them of a replica that is gone, in queues of three workflows.
    let gone = register(&*handles[0], "gone", 1).await;
    for number in 1..=JOBS {
        let job = NewJob {
            workflow: format!("w{}", number % 3).into(),
            ..new_job(number)
        };
        if number % 2 == 0 {
            submit(&*handles[0], job).await;
        } else {
            start_as(&*handles[0], gone, job).await;
        }
    }
    let claims = (0..8).map(|number| {
        let handle = handles[number % 2].clone();
        tokio::spawn(async move {
            let by = stranger(&*handle, at(100)).await;
            let mut all = Vec::new();
            let mut idle = 0;
            // Others may have locked all that it saw.
            while idle < 3 {
                let some = handle.claim_fairly(by, 7, &BTreeMap::new(), at(100)).await;
                let some = some.unwrap();
                assert!(some.len() <= 7, "{}", some.len());
                idle = if some.is_empty() { idle + 1 } else { 0 };
                all.extend(
                    some.iter()
                        .map(|one| (one.job.id, one.was_lost, one.job.attempts)),
                );
            }
            all
        })
    });
    let claimed = join_all(claims).await;
    let mut all: Vec<_> = claimed.into_iter().flat_map(Result::unwrap).collect();
    all.sort_unstable();
    let expected = (1..=JOBS).map(|number| {
        let was_lost = number % 2 == 1;
        (id(number.into()), was_lost, 1 + u32::from(was_lost))
    });
    assert_eq!(all, expected.collect::<Vec<_>>());
    assert_eq!(sweep(&database), [""; 0]);
}

/// One of two servers stood idle, because the other had locked what both had seen.
#[tokio::test]
async fn handles_that_claim_at_once_all_get_as_many_as_they_want() {
    const EACH: usize = 64;
    let Some(database) = database() else { return };
    let handles = handles(&database, 2).await;
    fill(&database, 400);
    let by = [
        register(&*handles[0], "a", 1).await,
        register(&*handles[1], "b", 1).await,
    ];
    for round in 0..3 {
        let claims = (0..2).map(|number| {
            let handle = handles[number].clone();
            let by = by[number];
            tokio::spawn(async move { handle.claim(by, EACH, at(2)).await.unwrap().len() })
        });
        let claimed: Vec<usize> = join_all(claims).await.into_iter().flatten().collect();
        assert_eq!(claimed, [EACH, EACH], "round {round}");
    }
}

/// (A report: of two workers that found one expired task, both handled it.)
#[tokio::test]
async fn a_job_of_a_dead_replica_is_taken_once_however_many_declare_it_dead() {
    let Some(database) = database() else { return };
    let handles = handles(&database, 8).await;
    for round in 1..=10_u32 {
        let now = 100 * i64::from(round);
        let gone = stranger(&*handles[0], at(now)).await;
        let job = id(round.into());
        start_as(&*handles[0], gone, new_job(round)).await;
        let now = now + 60;
        let claimants = handles.iter().map(|handle| stranger(&**handle, at(now)));
        let claimants = join_all(claimants).await;
        let claims = handles.iter().zip(&claimants);
        let claims = claims.map(|(handle, by)| handle.claim(*by, 1, at(now)));
        let claimed: Vec<Claimed> = join_all(claims)
            .await
            .into_iter()
            .flat_map(Result::unwrap)
            .collect();
        assert_eq!(ids(&claimed), [job]);
        assert_eq!((claimed[0].job.attempts, claimed[0].lease.token), (2, 2));
        assert!(claimed[0].was_lost);
        assert_eq!(sweep(&database), [""; 0]);
        let lease = &claimed[0].lease;
        handles[1]
            .finish(lease, completed(now), Vec::new())
            .await
            .unwrap();
    }
    // The rows of those that hold nothing are forgotten.
    let last = stranger(&*handles[0], at(5_000)).await;
    assert!(
        handles[0]
            .claim(last, 1, at(5_000))
            .await
            .unwrap()
            .is_empty()
    );
    let left = "SELECT string_agg(id::text, ' ') FROM flowmill.replicas";
    assert_eq!(database.value(left), last.to_string());
}

/// (A report: the row of a worker was pruned, and its jobs were never seen again.)
#[tokio::test]
async fn the_jobs_of_a_replica_without_a_row_are_claimed() {
    let Some(database) = database() else { return };
    let store = at_callers_time(&database).await;
    let by = register(&store, "a", 1).await;
    assert!(store.claim(by, 9, at(2)).await.unwrap().is_empty());
    let other = register(&store, "other", 3).await;
    let lease = start_as(&store, other, new_job(1)).await.lease;
    assert!(store.claim(by, 9, at(4)).await.unwrap().is_empty());
    database.query(&format!(
        "DELETE FROM flowmill.replicas WHERE id = '{other}'"
    ));
    assert!(!sweep(&database).is_empty());
    let claimed = store.claim(by, 9, at(5)).await.unwrap();
    assert_eq!(ids(&claimed), [id(1)]);
    assert!(store.checkpoint(&lease, None, Vec::new()).await.is_err());
    assert_eq!(sweep(&database), [""; 0]);
}

/// A checkpoint of the replica before comes either before the claim, which hands it on, or after.
#[tokio::test]
async fn a_job_whose_replica_is_just_saving_is_not_taken_before_that_is_stored() {
    let Some(database) = database() else { return };
    let store = at_callers_time(&database).await;
    let gone = register(&store, "gone", 1).await;
    let lease = start_as(&store, gone, new_job(1)).await.lease;
    let (one, two) = (progress(1), progress(2));
    store
        .checkpoint(&lease, Some(one), vec![event(1)])
        .await
        .unwrap();
    // A checkpoint up to its commit, as the store makes it.
    let mut client = database.client().await;
    let saving = client.transaction().await.unwrap();
    let statements = format!(
        "SELECT FROM flowmill.active WHERE job = '{job}' AND token = 1 FOR SHARE;
         UPDATE flowmill.progress SET data = '{two}' WHERE job = '{job}';
         INSERT INTO flowmill.events VALUES ('{job}', 2, 'node_completed', '{{}}')",
        job = lease.job,
        two = two.text(),
    );
    saving.batch_execute(&statements).await.unwrap();
    let by = stranger(&store, at(60)).await;
    assert!(store.claim(by, 1, at(60)).await.unwrap().is_empty());
    saving.commit().await.unwrap();
    let claimed = store.claim(by, 1, at(60)).await.unwrap().remove(0);
    assert_eq!((claimed.last_event, claimed.starts), (2, 1));
    assert_eq!(claimed.workload.progress, Some(two));
    let late = store
        .checkpoint(&lease, Some(progress(3)), vec![event(3)])
        .await;
    assert!(late.is_err(), "{late:?}");
    store
        .checkpoint(&claimed.lease, None, vec![event(3)])
        .await
        .unwrap();
}

fn of_level(level: u32, name: &str) -> Replica {
    Replica {
        level,
        ..replica(name)
    }
}

/// While two versions run on one database. (A report: the older version failed on what the newer one
/// had written.)
#[tokio::test]
async fn a_job_of_a_higher_level_is_left_to_those_that_can_run_it() {
    let Some(database) = database() else { return };
    let store = at_callers_time(&database).await;
    let (old, new) = (of_level(1, "old"), of_level(2, "new"));
    let gone = of_level(2, "gone");
    for (replica, second) in [(&gone, 1), (&old, 50), (&new, 50)] {
        store.register(replica, at(second)).await.unwrap();
    }
    let higher = |number| NewJob {
        level: 2,
        deadline: Some(at(55)),
        ..new_job(number)
    };
    for number in [1, 2] {
        submit(&store, higher(number)).await;
    }
    start_as(&store, gone.id, higher(3)).await;
    submit(&store, new_job(4)).await;
    let all = async |by: ReplicaId| {
        let mut all = ids(&store.claim_overdue(by, 1, at(60)).await.unwrap());
        all.extend(ids(&store.claim(by, 2, at(60)).await.unwrap()));
        let running = BTreeMap::new();
        all.extend(ids(&store
            .claim_fairly(by, 9, &running, at(60))
            .await
            .unwrap()));
        all
    };
    assert_eq!(all(old.id).await, [id(4)]);
    assert_eq!(all(new.id).await, [1, 3, 2].map(id));
    assert_eq!(sweep(&database), [""; 0]);
}

#[tokio::test]
async fn an_idle_claim_is_one_statement() {
    let Some(database) = database() else { return };
    let store = at_callers_time(&database).await;
    let by = register(&store, "a", 1).await;
    let other = register(&store, "b", 1).await;
    start_as(&store, other, new_job(1)).await;
    let running = BTreeMap::new();
    for second in [2, 3, 3] {
        let before = store.activity();
        assert!(
            store
                .claim_fairly(by, 9, &running, at(second))
                .await
                .unwrap()
                .is_empty()
        );
        assert!(
            store
                .claim_overdue(by, 9, at(second))
                .await
                .unwrap()
                .is_empty()
        );
        let after = store.activity();
        assert_eq!(after.statements - before.statements, 2);
        assert_eq!(after.transactions, before.transactions);
    }
}

#[tokio::test]
async fn one_unreadable_job_does_not_stop_every_claim() {
    let Some(database) = database() else { return };
    let store = at_callers_time(&database).await;
    for number in 1..=5 {
        submit(&store, new_job(number)).await;
    }
    let gone = register(&store, "gone", 1).await;
    start_as(&store, gone, new_job(6)).await;
    let of = |number: u128| format!("'{}'", id(number));
    database.query(&format!(
        "UPDATE flowmill.work SET inputs = '{{' WHERE job = {};
         UPDATE flowmill.jobs SET metadata = 'no JSON' WHERE id = {};
         DELETE FROM flowmill.work WHERE job = {};
         UPDATE flowmill.work SET options = '[' WHERE job = {};",
        of(1),
        of(2),
        of(3),
        of(6)
    ));
    let claimed = claim(&store, 9, 1_000).await;
    assert_eq!(ids(&claimed), [id(4), id(5)]);
    for number in [1, 3, 6] {
        let job = store.get(id(number)).await.unwrap().unwrap();
        assert_eq!(
            (job.status, job.completed_at),
            (Status::Failed, Some(at(1_000)))
        );
        assert!(job.error.unwrap().contains("cannot be read"));
    }
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.pending, counts.running, counts.ended), (0, 2, 4));
    assert!(claim(&store, 9, 1_001).await.is_empty());
}

/// (A report: one long transaction beside a queue made each claim slower than the one before, since it
/// walked past all that had been claimed since.)
#[tokio::test]
async fn what_a_long_transaction_keeps_from_being_removed_is_not_walked_by_each_claim() {
    const DEAD: u32 = 50_000;
    let Some(database) = database() else { return };
    let mut client = database.client().await;
    let store = at_callers_time(&database).await;
    let by = register(&store, "a", 1).await;
    let long = client.build_transaction();
    let long = long.isolation_level(tokio_postgres::IsolationLevel::RepeatableRead);
    let long = long.start().await.unwrap();
    long.batch_execute("SELECT FROM flowmill.jobs")
        .await
        .unwrap();
    fill(&database, DEAD);
    database.query("DELETE FROM flowmill.active");
    for number in 1..=3 {
        submit(&store, new_job(DEAD + number)).await;
    }
    let first = u128::from(DEAD) + 1;
    let read = async |store: &PostgresStore, expected: u128| {
        let claimed = store.claim(by, 1, at(2)).await.unwrap();
        assert_eq!(ids(&claimed), [id(expected)]);
    };
    read(&store, first).await;
    drop(store);
    let walked = entries_read(&database).await;
    assert!(walked > i64::from(DEAD), "{walked}: nothing was in the way");
    let store = at_callers_time(&database).await;
    read(&store, first + 1).await;
    read(&store, first + 2).await;
    drop(store);
    let walked = entries_read(&database).await - walked;
    long.commit().await.unwrap();
    // By the first of the two claims: once to find the workflow, once to find its first job.
    assert!(walked < i64::from(DEAD) * 3, "{walked}");
}

/// Entries of the index of the queue that were read, once all others have left the database: until
/// then their numbers are not known.
async fn entries_read(database: &Database<'_>) -> i64 {
    let others = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = '{}' AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
        database.name()
    );
    // The long transaction stays.
    while database.count(&others) > 1 {
        tokio::task::yield_now().await;
    }
    database
        .count("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'active_queue'")
}
