//! Deleting by all replicas at once.

use std::time::Duration;

use jobs::store::{Counts, JobStore};
use tokio::task::JoinSet;

use super::filled::{insert_ended, make_due};
use super::{any_time, open};
use testing::postgres::Database;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const SECOND: Duration = Duration::from_secs(1);

/// Asserts that nothing is left of any job but its idempotency key.
async fn assert_empty(database: &Database<'_>) {
    for table in [
        "jobs", "work", "progress", "outputs", "events", "wake_ups", "webhooks",
    ] {
        let rows = database.count(&format!("SELECT count(*) FROM flowmill.{table}"));
        assert_eq!(rows, 0, "{table}");
    }
    let tally = "SELECT (sum(ended), sum(bytes)) FROM flowmill.tally";
    assert_eq!(database.value(tally), "(0,0)");
    let counts = open(database).await.counts().await.unwrap();
    assert_eq!(counts, Counts::default());
}

#[tokio::test]
async fn four_handles_that_expire_at_once_delete_each_job_once() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let mut handles = vec![open(&database).await];
    insert_ended(&database, 2_000);
    for _ in 1..4 {
        handles.push(open(&database).await);
    }
    let kept = handles[0].expire(DAY, 9_999, any_time()).await.unwrap();
    assert_eq!(kept, 0);
    let mut expiring = JoinSet::new();
    for store in handles {
        expiring.spawn(async move { store.expire(SECOND, 9_999, any_time()).await.unwrap() });
    }
    let expired: Vec<usize> = expiring.join_all().await;
    assert_eq!(expired.iter().sum::<usize>(), 2_000, "{expired:?}");
    assert_empty(&database).await;
    let gone = "SELECT count(*) FROM flowmill.idempotency_keys WHERE gone = 3";
    assert_eq!(database.count(gone), 2_000);
}

/// (A report, of limits: each of several processes that check first and act then acts for all.)
#[tokio::test]
async fn four_handles_that_free_space_at_once_free_what_is_too_much_and_no_more() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let mut handles = vec![open(&database).await];
    insert_ended(&database, 1_000);
    make_due(&database, "a", "1, 10");
    for _ in 1..4 {
        handles.push(open(&database).await);
    }
    let mut freeing = JoinSet::new();
    for store in handles {
        freeing.spawn(async move {
            let mut freed = 0;
            while store.counts().await.unwrap().ended > 600 {
                freed += store.expire_over(60_050, 9_999).await.unwrap();
            }
            freed
        });
    }
    let freed: Vec<usize> = freeing.join_all().await;
    assert_eq!(freed.iter().sum::<usize>(), 400, "{freed:?}");
    // The oldest ends went, but for those that owe a webhook.
    let left = "SELECT count(*) FROM flowmill.jobs
        WHERE owes_webhook OR id > lpad(to_hex(410), 32, '0')::uuid";
    assert_eq!(database.count(left), 600);
    let store = open(&database).await;
    assert_eq!(store.expire_over(0, 9_999).await.unwrap(), 600);
    assert_empty(&database).await;
}

#[tokio::test]
async fn an_idle_expiry_is_one_statement() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let store = open(&database).await;
    for _ in 0..3 {
        let before = store.activity();
        store.expire(SECOND, 256, any_time()).await.unwrap();
        assert_eq!(store.activity().statements - before.statements, 1);
        store.expire_over(u64::MAX, 256).await.unwrap();
        assert_eq!(store.activity().statements - before.statements, 2);
        assert_eq!(store.activity().transactions, before.transactions);
    }
}

#[tokio::test]
async fn definitions_go_once_they_are_old_and_no_job_has_them() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let store = open(&database).await;
    insert_ended(&database, 1);
    // Its id says that it was made today; its definition was touched three days ago.
    database.query(
        "INSERT INTO flowmill.jobs (id, workflow, definition, created_at, level, status)
         SELECT (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0')
             || '70008000000000000000')::uuid, 'w', 'in use', now(), 1, 3",
    );
    database.query(
        "INSERT INTO flowmill.definitions
         SELECT hash, 'w.yaml', 'text', (now() AT TIME ZONE 'UTC')::date - days
         FROM (VALUES ('unused', 3), ('used lately', 2), ('in use', 3), ('h', 9)) d (hash, days)",
    );
    assert_eq!(store.expire(SECOND, 9, any_time()).await.unwrap(), 1);
    let left = "SELECT string_agg(hash, ', ' ORDER BY hash) FROM flowmill.definitions";
    assert_eq!(database.value(left), "in use, used lately");
}
