//! Storing a job, once per idempotency key.

use rusqlite::params;

use super::fault::Failure;
use super::leases::take;
use super::tables::{Tables, whole_job};
use super::values::Time;
use crate::job::{Definition, Idempotency, Job, NewJob, Status};
use crate::store::{Claimed, Error, IDEMPOTENCY_KEPT, Lease, SubmitOptions, Submitted, later};
use crate::webhook::Webhook;

impl Tables<'_> {
    pub(super) fn submit(
        &mut self,
        new: &NewJob,
        options: &SubmitOptions,
    ) -> Result<Submitted, Failure> {
        if let Some(idempotency) = &new.idempotency
            && let Some(found) = self.find_key(idempotency, new)?
        {
            return Ok(found);
        }
        let pending = self.counts.pending;
        if options.claim.is_none() && options.max_pending.is_some_and(|most| pending >= most) {
            return Err(Error::QueueFull { pending }.into());
        }
        let mut job = waiting(new);
        let by = options.claim.as_ref();
        let lease = by.and_then(|by| take(&mut job, 0, by, new.created_at));
        let worker = by.map(|by| &*by.worker);
        self.insert(new, &job, lease.as_ref(), worker)?;
        self.moved(None, Some(job.status));
        Ok(Submitted::New(lease.map(|lease| {
            Box::new(Claimed {
                job,
                lease,
                work: new.work.clone(),
                last_event: 0,
            })
        })))
    }

    /// What a key that is still remembered was used for.
    fn find_key(
        &self,
        idempotency: &Idempotency,
        new: &NewJob,
    ) -> rusqlite::Result<Option<Submitted>> {
        let used = self.find(
            "SELECT k.fingerprint, k.used_at, j.id FROM idempotency_keys k JOIN jobs j ON j.seq = k.job
             WHERE k.scope = ?1 AND k.key = ?2",
            [&idempotency.scope, &idempotency.key],
            |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, Time>(1)?.0,
                    row.get(2)?,
                ))
            },
        )?;
        match used {
            Some((_, at, _)) if new.created_at >= later(at, IDEMPOTENCY_KEPT) => Ok(None),
            Some((fingerprint, _, _)) if fingerprint != idempotency.fingerprint => {
                Ok(Some(Submitted::KeyReused))
            }
            Some((_, _, id)) => {
                let job = whole_job(self.connection, id)?;
                Ok(job.map(|job| Submitted::Existing(Box::new(job))))
            }
            None => Ok(None),
        }
    }

    fn insert(
        &self,
        new: &NewJob,
        job: &Job,
        lease: Option<&Lease>,
        worker: Option<&str>,
    ) -> rusqlite::Result<()> {
        let definition = self.definition_with_one_more_job(&new.definition)?;
        self.execute(
            "INSERT INTO jobs (id, workflow, definition, status, metadata, created_at, started_at,
                 deadline, owner, retried_from, attempts, token, worker, lease_expires_at,
                 owes_webhook)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                job.id,
                job.workflow,
                definition,
                job.status,
                job.metadata,
                Time(job.created_at),
                job.started_at.map(Time),
                job.deadline.map(Time),
                job.owner,
                job.retried_from,
                job.attempts,
                lease.map_or(0, |lease| lease.token),
                worker,
                lease.map(|lease| Time(lease.expires_at)),
                new.webhook.as_ref().map(|_| 1),
            ],
        )?;
        let seq = self.connection.last_insert_rowid();
        self.execute(
            "INSERT INTO work (job, inputs, options) VALUES (?1, ?2, ?3)",
            params![seq, new.work.inputs, new.work.options],
        )?;
        if let Some(webhook) = &new.webhook {
            self.save_webhook(seq, webhook)?;
        }
        if let Some(progress) = &new.work.progress {
            self.save_progress(seq, progress)?;
        }
        if let Some(key) = &new.idempotency {
            self.execute(
                "REPLACE INTO idempotency_keys (scope, key, fingerprint, used_at, job)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    key.scope,
                    key.key,
                    key.fingerprint,
                    Time(job.created_at),
                    seq
                ],
            )?;
        }
        self.allow_skew(job)
    }

    fn definition_with_one_more_job(&self, definition: &Definition) -> rusqlite::Result<i64> {
        let (seq, jobs): (i64, u64) = self
            .connection
            .prepare_cached(
                "INSERT INTO definitions (hash, name, jobs) VALUES (?1, ?2, 1)
                 ON CONFLICT (hash) DO UPDATE SET jobs = jobs + 1 RETURNING seq, jobs",
            )?
            .query_row(params![definition.hash, definition.name], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        if jobs == 1 {
            self.execute(
                "INSERT INTO definition_texts (definition, text) VALUES (?1, ?2)",
                params![seq, definition.text],
            )?;
        }
        Ok(seq)
    }
}

fn waiting(new: &NewJob) -> Job {
    Job {
        id: new.id,
        workflow: new.workflow.clone(),
        definition_hash: new.definition.hash.clone(),
        status: Status::Pending,
        metadata: new.metadata.clone(),
        created_at: new.created_at,
        started_at: None,
        completed_at: None,
        execution_time_ms: None,
        outputs: None,
        error: None,
        problem: None,
        usage: None,
        deadline: new.deadline,
        owner: new.owner.clone(),
        retried_from: new.retried_from,
        attempts: 0,
        webhook: new.webhook.as_ref().map(Webhook::untried),
    }
}
