//! The sweep over the tables of a job store, after what was done to it.

use super::database::Database;

/// Each rule with the rows that break it, in one statement and so at one moment. `job` is what is
/// told of them.
const RULES: &[(&str, &str)] = &[
    (
        "it runs, and its replica is not alive",
        "SELECT a.job::text FROM flowmill.active a WHERE a.status IN (1, 2) AND NOT EXISTS (
             SELECT FROM flowmill.replicas r
             WHERE r.id = a.replica AND NOT r.is_dead AND r.lease_until > now())",
    ),
    (
        "it waits, and a replica holds it",
        "SELECT job::text FROM flowmill.active WHERE status IN (0, 6) AND replica IS NOT NULL",
    ),
    (
        "it is active and has a status that is none of an active job",
        "SELECT job::text FROM flowmill.active WHERE status NOT IN (0, 1, 2, 6)",
    ),
    (
        "it is active and has no record, or has ended",
        "SELECT a.job::text FROM flowmill.active a LEFT JOIN flowmill.jobs j ON j.id = a.job
         WHERE j.id IS NULL OR j.status IS NOT NULL",
    ),
    (
        "it has neither ended nor is it active",
        "SELECT j.id::text FROM flowmill.jobs j LEFT JOIN flowmill.active a ON a.job = j.id
         WHERE j.status IS NULL AND a.job IS NULL",
    ),
    (
        "it has a status that is none of an ended job, or no time of its end",
        "SELECT id::text FROM flowmill.jobs
         WHERE status IS NOT NULL AND (status NOT IN (3, 4, 5) OR completed_at IS NULL)",
    ),
    (
        "it was started more often than it was claimed",
        "SELECT job::text FROM flowmill.active
         WHERE attempts < 0 OR starts < 0 OR attempts > token",
    ),
    (
        "it is parked and waits for nothing, or waits and is not parked",
        "SELECT coalesce(a.job, w.job)::text FROM flowmill.waits w
         FULL JOIN (SELECT job FROM flowmill.active WHERE status = 6) a ON a.job = w.job
         WHERE a.job IS NULL OR w.job IS NULL",
    ),
    (
        "it has no inputs",
        "SELECT j.id::text FROM flowmill.jobs j LEFT JOIN flowmill.work w ON w.job = j.id
         WHERE w.job IS NULL",
    ),
    (
        "it was deleted, and something of it is left",
        "SELECT o.job::text FROM (
             SELECT job FROM flowmill.work UNION SELECT job FROM flowmill.progress
             UNION SELECT job FROM flowmill.outputs UNION SELECT job FROM flowmill.events
             UNION SELECT job FROM flowmill.webhooks UNION SELECT job FROM flowmill.wake_ups
             UNION SELECT job FROM flowmill.idempotency_keys WHERE gone IS NULL
         ) o LEFT JOIN flowmill.jobs j ON j.id = o.job WHERE j.id IS NULL",
    ),
    (
        "its definition is gone",
        "SELECT j.id::text FROM flowmill.jobs j
         LEFT JOIN flowmill.definitions d ON d.hash = j.definition WHERE d.hash IS NULL",
    ),
    (
        "it has outputs and did not complete",
        "SELECT o.job::text FROM flowmill.outputs o JOIN flowmill.jobs j ON j.id = o.job
         WHERE j.status IS DISTINCT FROM 3",
    ),
    (
        "its webhook is due before its end, or not due after it",
        "SELECT h.job::text FROM flowmill.webhooks h JOIN flowmill.jobs j ON j.id = h.job
         WHERE (h.state = 0) <> (j.status IS NULL) OR (h.state = 1) <> (h.due_at IS NOT NULL)",
    ),
    (
        "the number of ended jobs is wrong",
        "SELECT counted || ' counted, ' || there || ' there' FROM
             (SELECT coalesce(sum(ended), 0) AS counted FROM flowmill.tally) t,
             (SELECT count(*) AS there FROM flowmill.jobs WHERE status IS NOT NULL) j
         WHERE counted <> there",
    ),
    (
        "the number of bytes is wrong",
        "SELECT counted || ' counted, ' || there || ' there' FROM
             (SELECT coalesce(sum(bytes), 0) AS counted FROM flowmill.tally) t,
             (SELECT coalesce(sum(bytes), 0) AS there FROM flowmill.jobs) j
         WHERE counted <> there",
    ),
];

/// What is wrong with the jobs of the store in that database: one line per job and rule, none if all
/// is well. What runs has a replica that is alive by the server's clock, everything else waits or
/// has ended, nothing is left of what was deleted, and what is counted is there.
///
/// # Panics
/// When the server does not answer.
pub fn sweep(database: &Database<'_>) -> Vec<String> {
    let rules = RULES
        .iter()
        .map(|(rule, rows)| format!("SELECT '{rule}', broken.* FROM ({rows}) AS broken (job)"));
    let sql = rules.collect::<Vec<_>>().join("\nUNION ALL\n");
    let broken = database.query(&sql);
    let line = |row: Vec<String>| format!("{}: {}", row[1], row[0]);
    broken.into_iter().map(line).collect()
}
