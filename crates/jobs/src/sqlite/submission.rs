//! Storing a job, once per idempotency key.

use jiff::Timestamp;
use rusqlite::params;

use super::contents::Hashes;
use super::fault::Failure;
use super::leases::ended;
use super::reading::whole_job;
use super::tables::{NewJobs, Tables};
use super::values::Time;
use crate::job::{
    Definition, Ending, Idempotency, Job, JobId, NewJob, Status, Transition, Workload,
};
use crate::store::{
    Claimed, Error, IDEMPOTENCY_KEPT, Lease, ReplicaId, StoredEvent, SubmitOptions, Submitted,
    claim_job, later,
};

impl Tables<'_> {
    pub(super) fn submit(
        &mut self,
        new: &NewJob,
        hashes: &Hashes,
        options: &SubmitOptions,
    ) -> Result<Submitted, Failure> {
        if let Some(idempotency) = &new.idempotency
            && let Some(found) = self.find_key(idempotency, new)?
        {
            return Ok(found);
        }
        let pending = self.counts.pending;
        if options.claim.is_none() && options.max_pending.is_some_and(|most| pending >= most) {
            return if self.is_stored(new.id)? {
                Ok(Submitted::New(None))
            } else {
                Err(Error::QueueFull { pending }.into())
            };
        }
        if let Err(limited) = self.admit_owner(new, options)?
            && !self.is_stored(new.id)?
        {
            return Err(limited.into());
        }
        let mut job = new.pending_job();
        let by = options.claim;
        let lease = by.and_then(|by| claim_job(&mut job, 0, by, new.created_at));
        let Some(seq) = self.insert(new, hashes, &job, lease)? else {
            return Ok(Submitted::New(self.claimed_before(lease, new)?));
        };
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
        self.moved(None, Some(job.status));
        if let Some(by) = by {
            self.note_claim(by);
        }
        Ok(Submitted::New(
            lease.map(|lease| first_claim(job, lease, new)),
        ))
    }

    fn is_stored(&self, id: JobId) -> rusqlite::Result<bool> {
        let stored = self.find("SELECT 1 FROM jobs WHERE id = ?1", [id], |_| Ok(()))?;
        Ok(stored.is_some())
    }

    /// The claim that a submission is repeated with, if it still holds.
    fn claimed_before(
        &self,
        lease: Option<Lease>,
        new: &NewJob,
    ) -> Result<Option<Box<Claimed>>, Failure> {
        let Some(lease) = lease else { return Ok(None) };
        match self.held(&lease) {
            Ok(held) => Ok(Some(first_claim(self.stored_job(held.seq)?, lease, new))),
            Err(Failure::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn submit_ended(
        &mut self,
        new: &NewJob,
        hashes: &Hashes,
        by: ReplicaId,
        ending: &Ending,
        events: &[StoredEvent],
    ) -> Result<Job, Failure> {
        let mut job = new.pending_job();
        let lease = claim_job(&mut job, 0, by, new.created_at).expect("it waits");
        let status = job
            .status
            .after(Transition::End(ending.end))
            .ok_or(Error::NotCancelling(job.id))?;
        let job = ended(job, status, ending);
        let Some(seq) = self.insert(new, hashes, &job, Some(lease))? else {
            let stored = whole_job(self.connection, new.id)?;
            return stored.ok_or(Failure::Refused(Error::NotFound));
        };
        self.append(seq, events)?;
        if let Some(outputs) = &ending.outputs {
            self.save_outputs(seq, outputs)?;
        }
        self.moved(None, Some(status));
        if new.webhook.is_none() {
            return Ok(job);
        }
        self.make_delivery_due(seq, ending.at)?;
        let webhook = self.stored_job(seq)?.webhook;
        Ok(Job { webhook, ..job })
    }

    /// What a key was used for, if it is still remembered.
    fn find_key(
        &self,
        idempotency: &Idempotency,
        new: &NewJob,
    ) -> rusqlite::Result<Option<Submitted>> {
        let used = self.find(
            "SELECT k.fingerprint, k.used_at, j.id, k.gone, k.status
             FROM idempotency_keys k LEFT JOIN jobs j ON j.seq = k.job
             WHERE k.scope = ?1 AND k.key = ?2",
            [&idempotency.scope, &idempotency.key],
            |row| {
                let gone: Option<JobId> = row.get(3)?;
                Ok(UsedKey {
                    fingerprint: row.get(0)?,
                    at: row.get::<_, Time>(1)?.0,
                    job: row.get(2)?,
                    forgotten: gone.zip(row.get(4)?),
                })
            },
        )?;
        let remembered = |used: &UsedKey| new.created_at < later(used.at, IDEMPOTENCY_KEPT);
        let Some(used) = used.filter(remembered) else {
            return Ok(None);
        };
        if used.job == Some(new.id) {
            // The submission is repeated.
            return Ok(None);
        }
        if !idempotency.is_for(&used.fingerprint) {
            return Ok(Some(Submitted::KeyReused));
        }
        if let Some((job, status)) = used.forgotten {
            return Ok(Some(Submitted::Forgotten { job, status }));
        }
        let job = match used.job {
            Some(id) => whole_job(self.connection, id)?,
            None => None,
        };
        Ok(job.map(|job| Submitted::Existing(Box::new(job))))
    }

    /// Stores a job with its webhook and workload. Returns the number of the row, or `None` if the job
    /// is stored already.
    fn insert(
        &mut self,
        new: &NewJob,
        hashes: &Hashes,
        job: &Job,
        lease: Option<Lease>,
    ) -> rusqlite::Result<Option<i64>> {
        let definition = self.definition_with_one_more_job(&new.definition)?;
        let inserted = self.execute(
            "INSERT INTO jobs (id, workflow, definition, status, metadata, created_at, started_at,
                 completed_at, execution_time_ms, error, problem, usage, deadline, owner,
                 retried_from, attempts, token, worker, owes_webhook, starts)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                 ?18, ?19, ?16)
             ON CONFLICT (id) DO NOTHING",
            params![
                job.id,
                job.workflow,
                definition,
                job.status,
                job.metadata,
                Time(job.created_at),
                job.started_at.map(Time),
                job.completed_at.map(Time),
                job.execution_time_ms,
                job.error,
                job.problem,
                job.usage,
                job.deadline.map(Time),
                job.owner,
                job.retried_from,
                job.attempts,
                lease.map_or(0, |lease| lease.token),
                lease.map(|lease| lease.replica),
                new.webhook.as_ref().map(|_| 1),
            ],
        )?;
        if inserted == 0 {
            if let Some(counted) = self.new_jobs.get_mut(&new.definition.hash) {
                counted.jobs -= 1;
            }
            return Ok(None);
        }
        let seq = self.connection.last_insert_rowid();
        self.save_workload(seq, &new.workload, hashes)?;
        if let Some(webhook) = &new.webhook {
            self.save_webhook(seq, webhook)?;
        }
        self.allow_skew(job)?;
        Ok(Some(seq))
    }

    fn save_workload(
        &self,
        seq: i64,
        workload: &Workload,
        hashes: &Hashes,
    ) -> rusqlite::Result<()> {
        match &hashes.inputs {
            None => self.execute(
                "INSERT INTO work (job, inputs, options) VALUES (?1, ?2, ?3)",
                params![seq, workload.inputs, workload.options],
            )?,
            Some(hash) => {
                let shared = self.share(hash, &workload.inputs)?;
                self.execute(
                    "INSERT INTO work (job, inputs, options, shared) VALUES (?1, '', ?2, ?3)",
                    params![seq, workload.options, shared],
                )?
            }
        };
        match (&workload.progress, &hashes.progress) {
            (None, _) => Ok(()),
            (Some(progress), None) => self.save_progress(seq, progress),
            (Some(progress), Some(hash)) => {
                let shared = self.share(hash, progress)?;
                self.execute(
                    "INSERT INTO progress (job, data, shared) VALUES (?1, '', ?2)",
                    params![seq, shared],
                )?;
                Ok(())
            }
        }
    }

    /// Looks each definition up once per transaction.
    fn definition_with_one_more_job(&mut self, definition: &Definition) -> rusqlite::Result<i64> {
        if let Some(known) = self.new_jobs.get_mut(&definition.hash) {
            known.jobs += 1;
            return Ok(known.seq);
        }
        let known = self.find(
            "SELECT seq FROM definitions WHERE hash = ?1",
            [&definition.hash],
            |row| row.get(0),
        )?;
        let seq = match known {
            Some(seq) => seq,
            None => self.save_definition(definition)?,
        };
        let counted = NewJobs { seq, jobs: 1 };
        self.new_jobs.insert(definition.hash.clone(), counted);
        Ok(seq)
    }

    fn save_definition(&self, definition: &Definition) -> rusqlite::Result<i64> {
        self.execute(
            "INSERT INTO definitions (hash, name, jobs) VALUES (?1, ?2, 0)",
            params![definition.hash, definition.name],
        )?;
        let seq = self.connection.last_insert_rowid();
        self.execute(
            "INSERT INTO definition_texts (definition, text) VALUES (?1, ?2)",
            params![seq, definition.text],
        )?;
        Ok(seq)
    }
}

fn first_claim(job: Job, lease: Lease, new: &NewJob) -> Box<Claimed> {
    Box::new(Claimed {
        job,
        lease,
        workload: new.workload.clone(),
        last_event: 0,
        starts: 1,
        was_lost: false,
        wake_ups: Vec::new(),
    })
}

/// A row of `idempotency_keys`.
struct UsedKey {
    fingerprint: String,
    at: Timestamp,
    /// The job, while it exists.
    job: Option<JobId>,
    /// The job and how it ended, once it has been deleted.
    forgotten: Option<(JobId, Status)>,
}
