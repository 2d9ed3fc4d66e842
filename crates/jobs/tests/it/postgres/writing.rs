//! Verbs that are committed together.

use std::collections::HashSet;
use std::time::Duration;

use jobs::job::NewJob;
use jobs::postgres::PostgresStore;
use jobs::store::{Error, JobStore as _, OwnerLimits, SubmitOptions, Submitted};
use testing::postgres;
use testing::postgres::Database;

use super::{fresh, open};
use crate::fixtures::{completed, event, id, keyed, new_job, progress, start};

/// That many jobs at once, from their submission to their end.
async fn run_all(store: &PostgresStore, numbers: std::ops::Range<u32>) {
    let runs = numbers.map(|number| async move {
        let lease = start(store, new_job(number)).await.lease;
        store
            .checkpoint(&lease, Some(progress(1)), vec![event(1)])
            .await
            .unwrap();
        store
            .finish(&lease, completed(9), vec![event(2)])
            .await
            .unwrap();
    });
    futures_util::future::join_all(runs).await;
}

#[tokio::test]
async fn verbs_that_arrive_together_are_committed_together() {
    let Some((store, database)) = fresh().await else {
        return;
    };
    run_all(&store, 0..1).await;
    let before = store.activity();
    run_all(&store, 1..101).await;
    let after = store.activity();
    // Three hundred verbs; two connections write.
    let transactions = after.transactions - before.transactions;
    assert!(transactions <= 60, "{transactions} transactions");
    assert_eq!(
        database.count("SELECT count(*) FROM flowmill.jobs WHERE status = 3"),
        101
    );
    assert_eq!(
        database.count("SELECT sum(ended)::int8 FROM flowmill.tally"),
        101
    );
    assert_eq!(database.count("SELECT count(*) FROM flowmill.active"), 0);
    assert_eq!(database.count("SELECT count(*) FROM flowmill.events"), 202);
    assert_eq!(
        database.count("SELECT (SELECT sum(bytes) FROM flowmill.jobs)::int8 - sum(bytes)::int8 FROM flowmill.tally"),
        0
    );
}

#[tokio::test]
async fn a_verb_that_the_database_refuses_does_not_spoil_those_beside_it() {
    let Some((store, database)) = fresh().await else {
        return;
    };
    let submissions = (0..40_u32).map(|number| {
        let job = NewJob {
            // The database has no U+0000.
            workflow: if number % 8 == 3 { "w\0" } else { "w" }.into(),
            ..new_job(number)
        };
        store.submit(job, SubmitOptions::default())
    });
    let outcomes = futures_util::future::join_all(submissions).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(Submitted::New(None)) => assert_ne!(number % 8, 3),
            Err(Error::Unavailable(reason)) => {
                assert_eq!(number % 8, 3);
                assert!(reason.contains("0x00"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(database.count("SELECT count(*) FROM flowmill.jobs"), 35);
    assert_eq!(database.count("SELECT count(*) FROM flowmill.work"), 35);
}

fn idle_in_transaction(database: &Database<'_>) -> i64 {
    database.count(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
             AND state LIKE 'idle in transaction%'",
    )
}

/// (A report: a pool got a connection back in the middle of a transaction when a request was
/// cancelled.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_leave_at_any_moment_leave_no_transaction_open() {
    let Some((store, database)) = fresh().await else {
        return;
    };
    let calls = (0..300_u32).map(|number| {
        let store = &store;
        async move {
            let patience = Duration::from_micros(fastrand::u64(0..8_000));
            let call = async {
                let lease = start(store, new_job(number)).await.lease;
                let _ = store.get(lease.job).await;
                let _ = store
                    .checkpoint(&lease, Some(progress(1)), vec![event(1)])
                    .await;
                let _ = store
                    .request_cancel(lease.job, new_job(number).created_at)
                    .await;
                let _ = store.finish(&lease, completed(9), Vec::new()).await;
                let _ = store.delete(lease.job).await;
            };
            let _ = tokio::time::timeout(patience, call).await;
        }
    });
    futures_util::future::join_all(calls).await;
    // What was begun is ended on tasks of their own; this verb comes after it.
    for number in 1_000..1_064 {
        store
            .submit(new_job(number), SubmitOptions::default())
            .await
            .unwrap();
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while idle_in_transaction(&database) > 0 {
        assert!(
            std::time::Instant::now() < deadline,
            "a transaction is left open"
        );
        tokio::task::yield_now().await;
    }
    assert_eq!(
        database.count(
            "SELECT count(*) FROM flowmill.jobs j WHERE
                 (j.status IS NULL) <> EXISTS (SELECT FROM flowmill.active a WHERE a.job = j.id)
                 OR NOT EXISTS (SELECT FROM flowmill.work w WHERE w.job = j.id)"
        ),
        0
    );
}

fn owned(number: u32) -> NewJob {
    NewJob {
        owner: Some("key".into()),
        ..new_job(number)
    }
}

/// (A report: a limit that was counted in each process let through as many times more.)
#[tokio::test]
async fn two_replicas_together_give_an_owner_no_more_than_its_limit() {
    let Some((one, database)) = fresh().await else {
        return;
    };
    let other = open(&database).await;
    let limits = OwnerLimits {
        max_running: Some(10),
        max_queued: Some(4),
    };
    let submit = |number: u32| {
        let store = [&one, &other][number as usize % 2];
        let options = SubmitOptions {
            claim: number
                .is_multiple_of(3)
                .then(|| crate::fixtures::replica("r").id),
            owner_limits: limits,
            ..SubmitOptions::default()
        };
        store.submit(owned(number), options)
    };
    let outcomes = futures_util::future::join_all((0..60).map(submit)).await;
    let mut accepted = 0;
    for outcome in outcomes {
        match outcome {
            Ok(Submitted::New(_)) => accepted += 1,
            Err(
                Error::OwnerLimited {
                    is_queue: true,
                    most: 4,
                }
                | Error::OwnerLimited {
                    is_queue: false,
                    most: 10,
                },
            ) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(accepted, 10);
    let queued = "SELECT count(*) FROM flowmill.active WHERE owner = 'key' AND status = 0";
    assert!(database.count(queued) <= 4);
    // The end of one makes room for one.
    let running = database.value("SELECT min(job::text) FROM flowmill.active WHERE status = 1");
    let lease = jobs::store::Lease {
        job: running.parse().unwrap(),
        token: 1,
        replica: crate::fixtures::replica("r").id,
    };
    other
        .finish(&lease, completed(99), Vec::new())
        .await
        .unwrap();
    let outcomes = futures_util::future::join_all([63, 66].map(submit)).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}

/// (Reports: requests with one key that arrived at several processes at once made several jobs.)
#[tokio::test]
async fn one_key_at_several_replicas_at_once_makes_one_job() {
    let Some(database) = postgres::database() else {
        return;
    };
    let stores = [
        open(&database).await,
        open(&database).await,
        open(&database).await,
    ];
    let submissions = (0..100_u32).map(|number| {
        let fingerprint = if number % 2 == 0 { "f" } else { "g" };
        let job = keyed(number, "s", "k", fingerprint);
        stores[number as usize % 3].submit(job, SubmitOptions::default())
    });
    let outcomes = futures_util::future::join_all(submissions).await;
    let mut new = HashSet::new();
    let mut found = HashSet::new();
    for (number, outcome) in (0_u128..).zip(outcomes) {
        match outcome.unwrap() {
            Submitted::New(_) => drop(new.insert(id(number))),
            Submitted::Existing(job) => {
                assert_eq!(job.id.0.as_u128() % 2, number % 2);
                found.insert(job.id);
            }
            Submitted::KeyReused => {}
            other @ Submitted::Forgotten { .. } => panic!("{other:?}"),
        }
    }
    assert_eq!(new.len(), 1);
    assert_eq!(found, new);
    assert_eq!(database.count("SELECT count(*) FROM flowmill.jobs"), 1);
}

#[tokio::test]
async fn a_refused_submission_leaves_its_key_free() {
    let Some((store, _database)) = fresh().await else {
        return;
    };
    let full = SubmitOptions {
        max_pending: Some(0),
        ..SubmitOptions::default()
    };
    let refused = store.submit(keyed(1, "s", "k", "f"), full).await;
    assert!(
        matches!(refused, Err(Error::QueueFull { .. })),
        "{refused:?}"
    );
    let other = keyed(2, "s", "k", "other");
    let stored = store.submit(other, SubmitOptions::default()).await.unwrap();
    assert!(matches!(stored, Submitted::New(None)), "{stored:?}");
}

#[tokio::test]
async fn a_repeated_submission_is_not_refused_by_the_limits_that_it_fills_itself() {
    let Some((store, _database)) = fresh().await else {
        return;
    };
    let narrow = SubmitOptions {
        max_pending: Some(1),
        owner_limits: OwnerLimits {
            max_running: Some(1),
            max_queued: Some(1),
        },
        ..SubmitOptions::default()
    };
    for _ in 0..2 {
        let job = NewJob {
            owner: Some("key".into()),
            ..keyed(1, "s", "k", "f")
        };
        let stored = store.submit(job, narrow.clone()).await.unwrap();
        assert!(matches!(stored, Submitted::New(None)), "{stored:?}");
    }
}

#[tokio::test]
async fn a_nul_in_an_error_is_kept_as_a_sign() {
    let Some((store, _database)) = fresh().await else {
        return;
    };
    let lease = start(&store, new_job(1)).await.lease;
    let ending = jobs::job::Ending {
        error: Some("before\0after".into()),
        ..crate::fixtures::ending(jobs::job::End::Failed, 9)
    };
    let ended = store.finish(&lease, ending, Vec::new()).await.unwrap();
    assert_eq!(ended.error.as_deref(), Some("before\u{2400}after"));
    assert_eq!(store.get(id(1)).await.unwrap(), Some(ended));
}

#[tokio::test]
async fn a_ping_writes() {
    let Some(database) = postgres::database() else {
        return;
    };
    let store = open(&database).await;
    store.ping().await.unwrap();
    database
        .query("ALTER TABLE flowmill.tally ADD CONSTRAINT full_disk CHECK (slot < 0) NOT VALID");
    assert!(store.ping().await.is_err());
}
