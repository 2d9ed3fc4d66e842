//! Saving the progress of running jobs, and ending them, many at once. A row that is missing in the
//! answer of a statement is a lease that does not hold.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use tokio_postgres::types::Type;

use super::commands::{Answer, Checkpoint, Finish, Outcome};
use super::fault::Failure;
use super::reading::whole_jobs;
use super::sessions::{Param, Session, Transaction};
use super::values::{JOB_COLUMNS, Time, job, signed, storable};
use crate::id::ReplicaId;
use crate::job::{Job, JobId, Status};
use crate::json::Json;
use crate::store::{Error, Lease, MAX_EVENTS, StoredEvent};

/// The rows of leases are locked: a claim of another replica comes before or after.
const SAVE: &str = "
    WITH held AS MATERIALIZED (
        SELECT a.job FROM flowmill.active a
        JOIN unnest($1::uuid[], $2::int8[], $3::uuid[]) AS l (job, token, replica)
            ON l.job = a.job AND l.token = a.token AND l.replica = a.replica
        WHERE a.status IN (1, 2)
        ORDER BY a.job
        FOR SHARE OF a
    ), progressed AS (
        INSERT INTO flowmill.progress (job, data)
        SELECT job, data FROM unnest($4::uuid[], $5::text[]) AS p (job, data) JOIN held USING (job)
        ON CONFLICT (job) DO UPDATE SET data = excluded.data
    ), appended AS (
        INSERT INTO flowmill.events (job, id, kind, data)
        SELECT job, id, kind, data
        FROM unnest($6::uuid[], $7::int8[], $8::text[], $9::text[]) AS e (job, id, kind, data)
        JOIN held USING (job)
        ON CONFLICT DO NOTHING
    )
    SELECT job FROM held";

/// A job that was not asked to stop does not end as cancelled (5). `$17`: a webhook is due by the
/// clock of the server, whatever the time of the end: deliveries are claimed by that clock.
const END: &str = "
    WITH ending AS (
        SELECT * FROM unnest($1::uuid[], $2::int8[], $3::uuid[], $4::int2[], $5::timestamptz[],
            $6::int8[], $7::text[], $8::text[], $9::text[], $10::int8[]) AS l (job, token, replica,
            status, completed_at, execution_ms, error, problem, usage, bytes)
    ), stopped AS (
        DELETE FROM flowmill.active a USING ending l
        WHERE a.job = l.job AND a.token = l.token AND a.replica = l.replica
            AND a.status IN (1, 2) AND (a.status = 2 OR l.status <> 5)
        RETURNING a.job, a.started_at, a.attempts
    ), added AS (
        SELECT l.*, s.started_at, s.attempts, l.bytes
            + coalesce((SELECT sum(octet_length(e.data)) FROM flowmill.events e WHERE e.job = l.job), 0)
            + coalesce((SELECT pg_column_size(p.data) FROM flowmill.progress p WHERE p.job = l.job), 0)
            AS more
        FROM ending l JOIN stopped s ON s.job = l.job
    ), ended AS (
        UPDATE flowmill.jobs j SET status = l.status, started_at = l.started_at,
            completed_at = l.completed_at, execution_ms = l.execution_ms, error = l.error,
            problem = l.problem, usage = l.usage, attempts = l.attempts, end_token = l.token,
            end_replica = l.replica, bytes = j.bytes + l.more
        FROM added l WHERE j.id = l.job
        RETURNING j.*
    ), told AS (
        UPDATE flowmill.webhooks h SET state = 1,
            due_at = CASE WHEN $17 THEN now() ELSE j.completed_at END
        FROM ended j WHERE h.job = j.id AND j.owes_webhook
        RETURNING h.*
    ), kept AS (
        INSERT INTO flowmill.outputs (job, data)
        SELECT job, data FROM unnest($11::uuid[], $12::text[]) AS o (job, data)
        JOIN stopped USING (job)
    ), appended AS (
        INSERT INTO flowmill.events (job, id, kind, data)
        SELECT job, id, kind, data
        FROM unnest($13::uuid[], $14::int8[], $15::text[], $16::text[]) AS e (job, id, kind, data)
        JOIN stopped USING (job)
        ON CONFLICT DO NOTHING
    ), counted AS (
        INSERT INTO flowmill.tally AS t (slot, ended, bytes)
        SELECT pg_backend_pid() % 1024, count(*), coalesce(sum(more), 0) FROM added
        ON CONFLICT (slot) DO UPDATE
            SET ended = t.ended + excluded.ended, bytes = t.bytes + excluded.bytes
    )
    SELECT {JOB_COLUMNS} FROM ended j
    LEFT JOIN (SELECT NULL::int2 AS status, NULL::timestamptz AS started_at, 0 AS attempts) a ON true
    LEFT JOIN told h ON h.job = j.id";

/// Of a job that has had more than it keeps, the oldest, if the lease holds or the job ended under it.
const TRIM: &str = "
    DELETE FROM flowmill.events e
    USING unnest($1::uuid[], $2::int8[], $3::uuid[], $4::int8[]) AS l (job, token, replica, last)
    WHERE e.job = l.job AND e.id <= l.last
        AND (EXISTS (SELECT FROM flowmill.active a
                WHERE a.job = l.job AND a.token = l.token AND a.replica = l.replica)
            OR EXISTS (SELECT FROM flowmill.jobs j
                WHERE j.id = l.job AND j.end_token = l.token AND j.end_replica = l.replica))";

/// Saves what runs have done; returns the jobs whose leases held.
pub(super) async fn save(
    transaction: &Transaction<'_>,
    all: &[&Checkpoint],
) -> Result<HashSet<JobId>, Failure> {
    if all.is_empty() {
        return Ok(HashSet::new());
    }
    let leases = LeaseRows::of(all.iter().map(|one| &one.lease));
    let (progressed, progress): (Vec<JobId>, Vec<&Json>) = all
        .iter()
        .filter_map(|one| Some((one.lease.job, one.progress.as_ref()?)))
        .unzip();
    let mut events = EventRows::default();
    for one in all {
        events.add(one.lease.job, &one.events);
    }
    let progress: [Param<'_>; 2] = [
        (&progressed, Type::UUID_ARRAY),
        (&progress, Type::TEXT_ARRAY),
    ];
    let params = [&leases.params()[..], &progress, &events.params()].concat();
    let appended = all.iter().map(|one| (&one.lease, &one.events[..]));
    let (held, trimmed) = futures_util::join!(
        transaction.query(SAVE, &params),
        trim(transaction, appended)
    );
    let held = held?;
    trimmed?;
    let held: Result<_, tokio_postgres::Error> = held.iter().map(|row| row.try_get(0)).collect();
    Ok(held?)
}

/// Ends jobs; returns those whose leases held and that could end so.
pub(super) async fn end(
    transaction: &Transaction<'_>,
    all: &[&Finish],
) -> Result<HashMap<JobId, Job>, Failure> {
    if all.is_empty() {
        return Ok(HashMap::new());
    }
    let endings = || all.iter().map(|one| &one.ending);
    let leases = LeaseRows::of(all.iter().map(|one| &one.lease));
    let statuses: Vec<Status> = all.iter().map(|one| one.status).collect();
    let completed_at: Vec<Time> = endings().map(|ending| Time(ending.at)).collect();
    let execution_ms: Vec<i64> = endings()
        .map(|ending| signed(ending.execution_time_ms))
        .collect();
    let errors: Vec<Option<Cow<'_, str>>> = endings()
        .map(|ending| ending.error.as_deref().map(storable))
        .collect();
    let problems: Vec<_> = endings().map(|ending| ending.problem.as_ref()).collect();
    let usage: Vec<_> = endings().map(|ending| ending.usage.as_ref()).collect();
    let bytes: Vec<i64> = all.iter().map(|one| one.bytes()).collect();
    let (complete, outputs): (Vec<JobId>, Vec<&Json>) = all
        .iter()
        .filter_map(|one| Some((one.lease.job, one.ending.outputs.as_ref()?)))
        .unzip();
    let mut events = EventRows::default();
    for one in all {
        events.add(one.lease.job, &one.events);
    }
    let endings: [Param<'_>; 9] = [
        (&statuses, Type::INT2_ARRAY),
        (&completed_at, Type::TIMESTAMPTZ_ARRAY),
        (&execution_ms, Type::INT8_ARRAY),
        (&errors, Type::TEXT_ARRAY),
        (&problems, Type::TEXT_ARRAY),
        (&usage, Type::TEXT_ARRAY),
        (&bytes, Type::INT8_ARRAY),
        (&complete, Type::UUID_ARRAY),
        (&outputs, Type::TEXT_ARRAY),
    ];
    let by_server = all
        .first()
        .is_some_and(|one| transaction.now(one.ending.at).is_none());
    let clock: [Param<'_>; 1] = [(&by_server, Type::BOOL)];
    let params = [&leases.params()[..], &endings, &events.params(), &clock].concat();
    let sql = END.replace("{JOB_COLUMNS}", JOB_COLUMNS);
    let appended = all.iter().map(|one| (&one.lease, &one.events[..]));
    let (rows, trimmed) = futures_util::join!(
        transaction.query(&sql, &params),
        trim(transaction, appended)
    );
    let rows = rows?;
    trimmed?;
    let outputs: HashMap<JobId, &Json> = complete.iter().copied().zip(outputs).collect();
    let ended = rows.iter().map(|row| {
        let mut job = job(row)?;
        job.outputs = outputs.get(&job.id).map(|outputs| (*outputs).clone());
        Ok((job.id, job))
    });
    Ok(ended.collect::<Result<_, tokio_postgres::Error>>()?)
}

async fn trim<'a>(
    transaction: &Transaction<'_>,
    appended: impl Iterator<Item = (&'a Lease, &'a [StoredEvent])>,
) -> Result<(), Failure> {
    let (leases, last): (Vec<&Lease>, Vec<i64>) = appended
        .filter_map(|(lease, events)| {
            let dropped = events.last()?.id.saturating_sub(MAX_EVENTS as u64);
            (dropped > 0).then_some((lease, signed(dropped)))
        })
        .unzip();
    if leases.is_empty() {
        return Ok(());
    }
    let leases = LeaseRows::of(leases.into_iter());
    let last: [Param<'_>; 1] = [(&last, Type::INT8_ARRAY)];
    let params = [&leases.params()[..], &last].concat();
    transaction.execute(TRIM, &params).await?;
    Ok(())
}

impl Finish {
    /// Bytes of what it adds to the job.
    fn bytes(&self) -> i64 {
        let ending = &self.ending;
        let texts = [&ending.outputs, &ending.problem, &ending.usage];
        let payloads: usize = texts
            .into_iter()
            .flatten()
            .map(|json| json.text().len())
            .sum();
        let events: usize = self
            .events
            .iter()
            .map(|event| event.data.text().len())
            .sum();
        signed(payloads + events)
    }
}

/// The answers to endings that were refused: of a job that ended under that very lease, the job.
pub(super) async fn answers_again(
    session: &Session,
    all: &[&Finish],
) -> Result<Vec<Outcome>, Failure> {
    let leases = LeaseRows::of(all.iter().map(|one| &one.lease));
    let rows = session
        .query(
            "SELECT l.job, a.job IS NOT NULL, j.id IS NOT NULL
             FROM unnest($1::uuid[], $2::int8[], $3::uuid[]) AS l (job, token, replica)
             LEFT JOIN flowmill.active a ON a.job = l.job AND a.token = l.token
                 AND a.replica = l.replica AND a.status IN (1, 2)
             LEFT JOIN flowmill.jobs j ON j.id = l.job AND j.end_token = l.token
                 AND j.end_replica = l.replica",
            &leases.params(),
        )
        .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let job: JobId = row.try_get(0)?;
        let is_held: bool = row.try_get(1)?;
        let has_ended: bool = row.try_get(2)?;
        found.insert(job, (is_held, has_ended));
    }
    let ended: Vec<JobId> = found
        .iter()
        .filter_map(|(job, (_, has_ended))| has_ended.then_some(*job))
        .collect();
    let mut ended = whole_jobs(session, &ended).await?;
    let answer = |one: &&Finish| {
        let job = one.lease.job;
        match (found.get(&job), ended.remove(&job)) {
            (_, Some(job)) => Ok(Answer::Ended(Box::new(job))),
            (Some((true, _)), None) if one.status == Status::Cancelled => {
                Err(Error::NotCancelling(job))
            }
            _ => Err(Error::LeaseLost(job)),
        }
    };
    Ok(all.iter().map(answer).collect())
}

/// Leases as columns: job, token, replica.
struct LeaseRows {
    jobs: Vec<JobId>,
    tokens: Vec<i64>,
    replicas: Vec<ReplicaId>,
}

impl LeaseRows {
    fn of<'a>(leases: impl Iterator<Item = &'a Lease> + Clone) -> Self {
        Self {
            jobs: leases.clone().map(|lease| lease.job).collect(),
            tokens: leases.clone().map(|lease| signed(lease.token)).collect(),
            replicas: leases.map(|lease| lease.replica).collect(),
        }
    }

    fn params(&self) -> [Param<'_>; 3] {
        [
            (&self.jobs, Type::UUID_ARRAY),
            (&self.tokens, Type::INT8_ARRAY),
            (&self.replicas, Type::UUID_ARRAY),
        ]
    }
}

/// Events as columns: job, id, kind, data.
#[derive(Default)]
pub(super) struct EventRows<'a> {
    jobs: Vec<JobId>,
    ids: Vec<i64>,
    kinds: Vec<&'a str>,
    data: Vec<&'a Json>,
}

impl<'a> EventRows<'a> {
    pub(super) fn add(&mut self, job: JobId, events: &'a [StoredEvent]) {
        for event in events {
            self.jobs.push(job);
            self.ids.push(signed(event.id));
            self.kinds.push(&event.kind);
            self.data.push(&event.data);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn params(&self) -> [Param<'_>; 4] {
        [
            (&self.jobs, Type::UUID_ARRAY),
            (&self.ids, Type::INT8_ARRAY),
            (&self.kinds, Type::TEXT_ARRAY),
            (&self.data, Type::TEXT_ARRAY),
        ]
    }
}
