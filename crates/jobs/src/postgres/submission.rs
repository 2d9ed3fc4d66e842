//! Storing jobs, with their ends or without, many at once.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::commands::{Answer, Ended, Outcome, Submission};
use super::endings::EventRows;
use super::fault::Failure;
use super::known::Known;
use super::meta::{self, allow_skew, define};
use super::reading::whole_jobs;
use super::sessions::{Session, Transaction};
use super::values::{JOB_COLUMNS, JOB_TABLES, Time, job, signed, storable};
use crate::id::ReplicaId;
use crate::job::{Job, JobId};
use crate::store::{Claimed, Error, Lease, MAX_EVENTS, Submitted, claim_job};
use crate::webhook::{Delivery, DeliveryState};

/// A job that is stored already stays as it is, and its id is not returned.
const INSERT_JOBS: &str = "
    WITH new AS (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[],
            $6::timestamptz[], $7::timestamptz[], $8::uuid[], $9::int4[], $10::int8[], $11::uuid[],
            $12::bool[], $13::int2[], $14::timestamptz[], $15::int8[], $16::text[], $17::text[],
            $18::text[]) AS n (id, workflow, owner, definition, metadata, created_at, deadline,
            retried_from, level, bytes, replica, owes_webhook, status, completed_at, execution_ms,
            error, problem, usage)
    ), inserted AS (
        INSERT INTO flowmill.jobs (id, workflow, owner, definition, metadata, created_at, deadline,
            retried_from, level, bytes, owes_webhook, status, completed_at, execution_ms, error,
            problem, usage, started_at, attempts, end_token, end_replica)
        SELECT id, workflow, owner, definition, metadata, created_at, deadline, retried_from, level,
            bytes, owes_webhook, status, completed_at, execution_ms, error, problem, usage,
            CASE WHEN status IS NOT NULL THEN created_at END,
            CASE WHEN status IS NOT NULL THEN 1 ELSE 0 END,
            CASE WHEN status IS NOT NULL THEN 1 END,
            CASE WHEN status IS NOT NULL THEN replica END
        FROM new
        ON CONFLICT (id) DO NOTHING
        RETURNING id
    ), queued AS (
        INSERT INTO flowmill.active (job, workflow, owner, deadline, level, status, token, replica,
            attempts, starts, started_at)
        SELECT id, workflow, owner, deadline, level, claimed, claimed, replica, claimed, claimed,
            CASE WHEN replica IS NOT NULL THEN created_at END
        FROM (SELECT *, CASE WHEN replica IS NULL THEN 0 ELSE 1 END AS claimed FROM new) n
        JOIN inserted USING (id)
        WHERE status IS NULL
    ), counted AS (
        INSERT INTO flowmill.tally AS t (slot, ended, bytes)
        SELECT pg_backend_pid() % 1024, count(status), coalesce(sum(bytes), 0)
        FROM new JOIN inserted USING (id)
        ON CONFLICT (slot) DO UPDATE
            SET ended = t.ended + excluded.ended, bytes = t.bytes + excluded.bytes
    )
    SELECT id FROM inserted";

const INSERT_WORK: &str = "
    INSERT INTO flowmill.work (job, inputs, options)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[])
    ON CONFLICT DO NOTHING";

const INSERT_PROGRESS: &str = "
    INSERT INTO flowmill.progress (job, data) SELECT * FROM unnest($1::uuid[], $2::text[])
    ON CONFLICT DO NOTHING";

const INSERT_OUTPUTS: &str = "
    INSERT INTO flowmill.outputs (job, data) SELECT * FROM unnest($1::uuid[], $2::text[])
    ON CONFLICT DO NOTHING";

const INSERT_EVENTS: &str = "
    INSERT INTO flowmill.events (job, id, kind, data)
    SELECT * FROM unnest($1::uuid[], $2::int8[], $3::text[], $4::text[])
    ON CONFLICT DO NOTHING";

/// `$8`: due by the clock of the server, not by that of the replica.
const INSERT_WEBHOOKS: &str = "
    INSERT INTO flowmill.webhooks (job, shown, host, url, secret, state, due_at)
    SELECT job, shown, host, url, secret, state,
        CASE WHEN due_at IS NOT NULL AND $8 THEN now() ELSE due_at END
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int2[],
        $7::timestamptz[]) AS n (job, shown, host, url, secret, state, due_at)
    ON CONFLICT DO NOTHING";

/// Stores jobs, which come in the order of their ids; returns those that are new. All statements are
/// sent at once.
pub(super) async fn insert(
    transaction: &Transaction<'_>,
    all: &[&Submission],
    known: &Known,
) -> Result<HashSet<JobId>, Failure> {
    if all.is_empty() {
        return Ok(HashSet::new());
    }
    let (defined, allowed, inserted, work, progress, ends, webhooks) = futures_util::join!(
        define(transaction, all, known),
        allow_skew(transaction, all, known),
        insert_jobs(transaction, all),
        insert_work(transaction, all),
        insert_progress(transaction, all),
        insert_ends(transaction, all),
        insert_webhooks(transaction, all),
    );
    defined?;
    allowed?;
    let inserted = inserted?;
    work?;
    progress?;
    ends?;
    webhooks?;
    Ok(inserted)
}

/// Notes what a commit has made certain.
pub(super) fn learn(all: &[&Submission], inserted: &HashSet<JobId>, known: &Known) {
    meta::learn(all, known);
    let queued = all
        .iter()
        .filter(|one| one.claim.is_none() && one.ended.is_none())
        .filter(|one| inserted.contains(&one.new.id));
    known.add_pending(queued.count());
}

async fn insert_jobs(
    transaction: &Transaction<'_>,
    all: &[&Submission],
) -> Result<HashSet<JobId>, Failure> {
    let news = || all.iter().map(|one| &one.new);
    let ends = || all.iter().map(|one| one.ended.as_ref());
    let ids: Vec<JobId> = news().map(|new| new.id).collect();
    let workflows: Vec<&str> = news().map(|new| &*new.workflow).collect();
    let owners: Vec<Option<&str>> = news().map(|new| new.owner.as_deref()).collect();
    let definitions: Vec<&str> = news().map(|new| &*new.definition.hash).collect();
    let metadata: Vec<_> = news().map(|new| new.metadata.as_ref()).collect();
    let created_at: Vec<Time> = news().map(|new| Time(new.created_at)).collect();
    let deadlines: Vec<Option<Time>> = news().map(|new| new.deadline.map(Time)).collect();
    let retried_from: Vec<_> = news().map(|new| new.retried_from).collect();
    let levels: Vec<i32> = news()
        .map(|new| i32::try_from(new.level).unwrap_or(i32::MAX))
        .collect();
    let bytes: Vec<i64> = all.iter().map(|one| one.bytes()).collect();
    let replicas: Vec<Option<ReplicaId>> = all.iter().map(|one| one.claim).collect();
    let owes: Vec<bool> = news().map(|new| new.webhook.is_some()).collect();
    let statuses: Vec<_> = ends().map(|end| end.map(|end| end.status)).collect();
    let completed_at: Vec<_> = ends()
        .map(|end| end.map(|end| Time(end.ending.at)))
        .collect();
    let execution_ms: Vec<_> = ends()
        .map(|end| end.map(|end| signed(end.ending.execution_time_ms)))
        .collect();
    let errors: Vec<Option<Cow<'_, str>>> = ends()
        .map(|end| {
            end.and_then(|end| end.ending.error.as_deref())
                .map(storable)
        })
        .collect();
    let problems: Vec<_> = ends()
        .map(|end| end.and_then(|end| end.ending.problem.as_ref()))
        .collect();
    let usage: Vec<_> = ends()
        .map(|end| end.and_then(|end| end.ending.usage.as_ref()))
        .collect();
    let rows = transaction
        .query(
            INSERT_JOBS,
            &[
                (&ids, Type::UUID_ARRAY),
                (&workflows, Type::TEXT_ARRAY),
                (&owners, Type::TEXT_ARRAY),
                (&definitions, Type::TEXT_ARRAY),
                (&metadata, Type::TEXT_ARRAY),
                (&created_at, Type::TIMESTAMPTZ_ARRAY),
                (&deadlines, Type::TIMESTAMPTZ_ARRAY),
                (&retried_from, Type::UUID_ARRAY),
                (&levels, Type::INT4_ARRAY),
                (&bytes, Type::INT8_ARRAY),
                (&replicas, Type::UUID_ARRAY),
                (&owes, Type::BOOL_ARRAY),
                (&statuses, Type::INT2_ARRAY),
                (&completed_at, Type::TIMESTAMPTZ_ARRAY),
                (&execution_ms, Type::INT8_ARRAY),
                (&errors, Type::TEXT_ARRAY),
                (&problems, Type::TEXT_ARRAY),
                (&usage, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    let ids: Result<_, tokio_postgres::Error> = rows.iter().map(|row| row.try_get(0)).collect();
    Ok(ids?)
}

async fn insert_work(transaction: &Transaction<'_>, all: &[&Submission]) -> Result<(), Failure> {
    let news = || all.iter().map(|one| &one.new);
    let ids: Vec<JobId> = news().map(|new| new.id).collect();
    let inputs: Vec<_> = news().map(|new| &new.workload.inputs).collect();
    let options: Vec<_> = news().map(|new| new.workload.options.as_ref()).collect();
    transaction
        .execute(
            INSERT_WORK,
            &[
                (&ids, Type::UUID_ARRAY),
                (&inputs, Type::TEXT_ARRAY),
                (&options, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    Ok(())
}

async fn insert_progress(
    transaction: &Transaction<'_>,
    all: &[&Submission],
) -> Result<(), Failure> {
    let (ids, progress): (Vec<JobId>, Vec<_>) = all
        .iter()
        .filter_map(|one| Some((one.new.id, one.new.workload.progress.as_ref()?)))
        .unzip();
    if !ids.is_empty() {
        let params = &[
            (&ids as _, Type::UUID_ARRAY),
            (&progress as _, Type::TEXT_ARRAY),
        ];
        transaction.execute(INSERT_PROGRESS, params).await?;
    }
    Ok(())
}

/// Outputs and events of the jobs that have ended.
async fn insert_ends(transaction: &Transaction<'_>, all: &[&Submission]) -> Result<(), Failure> {
    let ends = || {
        all.iter()
            .filter_map(|one| Some((one.new.id, one.ended.as_ref()?)))
    };
    let outputs = async {
        let (ids, outputs): (Vec<JobId>, Vec<_>) = ends()
            .filter_map(|(id, end)| Some((id, end.ending.outputs.as_ref()?)))
            .unzip();
        if !ids.is_empty() {
            let params = &[
                (&ids as _, Type::UUID_ARRAY),
                (&outputs as _, Type::TEXT_ARRAY),
            ];
            transaction.execute(INSERT_OUTPUTS, params).await?;
        }
        Ok::<_, Failure>(())
    };
    let events = async {
        let mut rows = EventRows::default();
        for (id, end) in ends() {
            let skipped = end.events.len().saturating_sub(MAX_EVENTS);
            rows.add(id, &end.events[skipped..]);
        }
        if !rows.is_empty() {
            transaction.execute(INSERT_EVENTS, &rows.params()).await?;
        }
        Ok::<_, Failure>(())
    };
    let (outputs, events) = futures_util::join!(outputs, events);
    outputs.and(events)
}

async fn insert_webhooks(
    transaction: &Transaction<'_>,
    all: &[&Submission],
) -> Result<(), Failure> {
    let hooks: Vec<_> = all
        .iter()
        .filter_map(|one| Some((one, one.new.webhook.as_ref()?)))
        .collect();
    if hooks.is_empty() {
        return Ok(());
    }
    let target = || hooks.iter().map(|(_, hook)| hook.target.as_ref());
    let ids: Vec<JobId> = hooks.iter().map(|(one, _)| one.new.id).collect();
    let shown: Vec<_> = hooks
        .iter()
        .map(|(_, hook)| storable(&hook.shown))
        .collect();
    let hosts: Vec<_> = hooks.iter().map(|(_, hook)| storable(&hook.host)).collect();
    let urls: Vec<_> = target()
        .map(|target| target.map(|target| target.url.reveal()))
        .collect();
    let secrets: Vec<_> = target()
        .map(|target| Some(target?.secret.as_ref()?.reveal()))
        .collect();
    let states: Vec<_> = hooks.iter().map(|(one, _)| one.delivery_state()).collect();
    let due_at: Vec<Option<Time>> = hooks
        .iter()
        .map(|(one, _)| one.ended.as_ref().map(|end| Time(end.ending.at)))
        .collect();
    let by_server = hooks
        .first()
        .is_some_and(|(one, _)| transaction.now(one.new.created_at).is_none());
    transaction
        .execute(
            INSERT_WEBHOOKS,
            &[
                (&ids, Type::UUID_ARRAY),
                (&shown, Type::TEXT_ARRAY),
                (&hosts, Type::TEXT_ARRAY),
                (&urls, Type::TEXT_ARRAY),
                (&secrets, Type::TEXT_ARRAY),
                (&states, Type::INT2_ARRAY),
                (&due_at, Type::TIMESTAMPTZ_ARRAY),
                (&by_server, Type::BOOL),
            ],
        )
        .await?;
    Ok(())
}

impl Submission {
    /// Bytes of its payloads.
    fn bytes(&self) -> i64 {
        let workload = &self.new.workload;
        let ending = self.ended.as_ref().map(|end| &end.ending);
        let texts = [
            Some(&workload.inputs),
            workload.options.as_ref(),
            workload.progress.as_ref(),
            self.new.metadata.as_ref(),
            ending.and_then(|ending| ending.outputs.as_ref()),
            ending.and_then(|ending| ending.problem.as_ref()),
            ending.and_then(|ending| ending.usage.as_ref()),
        ];
        let payloads: usize = texts
            .into_iter()
            .flatten()
            .map(|json| json.text().len())
            .sum();
        let events = self.ended.iter().flat_map(|end| &end.events);
        let events: usize = events.map(|event| event.data.text().len()).sum();
        signed(payloads + events)
    }

    fn delivery_state(&self) -> DeliveryState {
        match self.ended {
            Some(_) => DeliveryState::Pending,
            None => DeliveryState::Waiting,
        }
    }

    /// The answer if the job was new.
    pub(super) fn answer(&self) -> Answer {
        let mut job = self.new.pending_job();
        let lease = self
            .claim
            .and_then(|by| claim_job(&mut job, 0, by, self.new.created_at));
        match (&self.ended, lease) {
            (Some(end), _) => Answer::Ended(Box::new(with_end(job, end))),
            (None, lease) => {
                let claimed = lease.map(|lease| self.claimed(job, lease));
                Answer::Submitted(Submitted::New(claimed))
            }
        }
    }

    fn claimed(&self, job: Job, lease: Lease) -> Box<Claimed> {
        Box::new(Claimed {
            job,
            lease,
            workload: self.new.workload.clone(),
            last_event: 0,
            starts: 1,
            was_lost: false,
            wake_ups: Vec::new(),
        })
    }
}

fn with_end(job: Job, end: &Ended) -> Job {
    let Ended { status, ending, .. } = end;
    Job {
        status: *status,
        completed_at: Some(ending.at),
        execution_time_ms: Some(ending.execution_time_ms),
        outputs: ending.outputs.clone(),
        error: ending.error.as_deref().map(|error| storable(error).into()),
        problem: ending.problem.clone(),
        usage: ending.usage.clone(),
        webhook: job.webhook.map(|webhook| Delivery {
            state: DeliveryState::Pending,
            next_attempt_at: Some(ending.at),
            ..webhook
        }),
        ..job
    }
}

/// The answers to submissions of jobs that were stored before: the first answer was lost.
pub(super) async fn answers_again(
    session: &Session,
    all: &[&Submission],
) -> Result<Vec<Outcome>, Failure> {
    let ended: Vec<JobId> = all
        .iter()
        .filter(|one| one.ended.is_some())
        .map(|one| one.new.id)
        .collect();
    let claims: Vec<(Uuid, Uuid)> = all
        .iter()
        .filter(|one| one.ended.is_none())
        .filter_map(|one| Some((one.new.id.0, one.claim?.0)))
        .collect();
    let (mut ended, mut held) =
        futures_util::try_join!(whole_jobs(session, &ended), still_claimed(session, &claims))?;
    let answer = |one: &&Submission| {
        if one.ended.is_some() {
            let job = ended.remove(&one.new.id).ok_or(Error::NotFound)?;
            return Ok(Answer::Ended(Box::new(job)));
        }
        let claimed = held
            .remove(&one.new.id)
            .zip(one.claim)
            .map(|(job, replica)| {
                let lease = Lease {
                    job: job.id,
                    token: 1,
                    replica,
                };
                one.claimed(job, lease)
            });
        Ok(Answer::Submitted(Submitted::New(claimed)))
    };
    Ok(all.iter().map(answer).collect())
}

/// Of the first claims of jobs, those that still hold.
async fn still_claimed(
    session: &Session,
    claims: &[(Uuid, Uuid)],
) -> Result<HashMap<JobId, Job>, Failure> {
    if claims.is_empty() {
        return Ok(HashMap::new());
    }
    let (jobs, replicas): (Vec<Uuid>, Vec<Uuid>) = claims.iter().copied().unzip();
    let rows = session
        .query(
            &format!(
                "SELECT {JOB_COLUMNS} FROM {JOB_TABLES}
                 JOIN unnest($1::uuid[], $2::uuid[]) AS c (job, replica)
                     ON c.job = a.job AND c.replica = a.replica
                 WHERE a.token = 1 AND a.status IN (1, 2)"
            ),
            &[(&jobs, Type::UUID_ARRAY), (&replicas, Type::UUID_ARRAY)],
        )
        .await?;
    let jobs = rows.iter().map(|row| job(row).map(|job| (job.id, job)));
    Ok(jobs.collect::<Result<_, _>>()?)
}
