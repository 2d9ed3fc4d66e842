//! Databases with many jobs in them, and how many rows a verb reads there.

use std::time::Duration;

use jobs::postgres::PostgresStore;
use testing::postgres::Database;

use super::open;

/// Inserts ended jobs, each with work, outputs, two events, progress and 100 bytes in the tally: those
/// of a series of numbers, which end one second after another, the last one an hour ago.
pub(crate) fn insert_ended(database: &Database<'_>, jobs: u32) {
    database.query(&format!(
        "WITH new AS (
             INSERT INTO flowmill.jobs (id, workflow, definition, created_at, level, status,
                 completed_at, bytes)
             SELECT lpad(to_hex(n), 32, '0')::uuid, 'w', 'h', now(), 1, 3,
                 now() - interval '1 hour' + (n - {jobs}) * interval '1 second', 100
             FROM generate_series(1, {jobs}) n RETURNING id),
         work AS (INSERT INTO flowmill.work (job, inputs) SELECT id, '{{}}' FROM new),
         progress AS (INSERT INTO flowmill.progress SELECT id, '{{}}' FROM new),
         outputs AS (INSERT INTO flowmill.outputs SELECT id, '{{}}' FROM new),
         events AS (
             INSERT INTO flowmill.events
             SELECT id, event, 'node_started', '{{}}' FROM new, generate_series(1, 2) event),
         wake_ups AS (
             INSERT INTO flowmill.wake_ups SELECT id, 'k', NULL, now(), false FROM new),
         keys AS (
             INSERT INTO flowmill.idempotency_keys SELECT 's', id::text, 'f', now(), id FROM new)
         INSERT INTO flowmill.tally VALUES (0, {jobs}, {jobs} * 100)"
    ));
}

/// Makes webhooks of ended jobs due, the job with the least id first.
pub(crate) fn make_due(database: &Database<'_>, host: &str, jobs: &str) {
    database.query(&format!(
        "WITH owing AS (
             UPDATE flowmill.jobs SET owes_webhook = true
             WHERE id IN (SELECT lpad(to_hex(n), 32, '0')::uuid FROM generate_series({jobs}) n)
             RETURNING id, completed_at)
         INSERT INTO flowmill.webhooks (job, shown, host, state, due_at)
         SELECT id, 'https://{host}/', '{host}', 1, completed_at FROM owing"
    ));
}

/// Tables whose statistics stay as they are.
pub(crate) fn without_autovacuum(database: &Database<'_>) {
    for table in ["jobs", "active", "webhooks", "events"] {
        database.query(&format!(
            "ALTER TABLE flowmill.{table} SET (autovacuum_enabled = false)"
        ));
    }
}

/// How many rows and entries of indexes a verb reads: the store's connections report them when they
/// end.
pub(crate) async fn rows_read<T>(
    database: &Database<'_>,
    verb: impl AsyncFnOnce(&PostgresStore) -> T,
) -> (i64, T) {
    let store = open(database).await;
    let before = read(database);
    let done = verb(&store).await;
    drop(store);
    let connected = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for _ in 0..1_000 {
        if database.count(connected) == 0 {
            return (read(database) - before, done);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the connections of the store are still open");
}

fn read(database: &Database<'_>) -> i64 {
    database.count(
        "SELECT (SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables)
             + (SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes)",
    )
}
