//! Claiming jobs, and what a lease permits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::fault::{Failure, is_unreadable};
use super::reading::whole_job;
use super::tables::Tables;
use super::values::{
    JOB_COLUMN_COUNT, JOB_COLUMNS, JOB_TABLES, Time, WORKLOAD, WORKLOAD_JOINS, job, limit,
};
use crate::fairness;
use crate::job::{Ending, Job, JobId, Status, Transition, Workload};
use crate::json::Json;
use crate::store::{
    CancelRequested, Claimed, Error, Lease, PROGRESS_EVENT, ReplicaId, StoredEvent, claim_job,
};

impl Tables<'_> {
    pub(super) fn claim(
        &mut self,
        by: ReplicaId,
        most: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Failure> {
        if !self.begin_claim(by, now)? {
            return Ok(Vec::new());
        }
        let mut due = self.lapsed(most)?;
        due.extend(self.collect::<i64>(
            "SELECT seq FROM jobs INDEXED BY jobs_by_status WHERE status = 0 ORDER BY id LIMIT ?1",
            [limit(most - due.len())],
            |row| row.get(0),
        )?);
        self.claim_all(due, by, now)
    }

    pub(super) fn claim_fairly(
        &mut self,
        by: ReplicaId,
        most: usize,
        running: &BTreeMap<Arc<str>, usize>,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Failure> {
        if !self.begin_claim(by, now)? {
            return Ok(Vec::new());
        }
        let lapsed = self.lapsed(most)?;
        let mut claimed = self.claim_all(lapsed, by, now)?;
        let mut running = running.clone();
        fairness::count(&mut running, &claimed);
        let most = most - claimed.len();
        let mut queues = Vec::new();
        let mut seqs = HashMap::new();
        for workflow in self.waiting_workflows()? {
            let queue: Vec<(JobId, i64)> = self.collect(
                "SELECT id, seq FROM jobs INDEXED BY jobs_by_workflow
                 WHERE workflow = ?1 AND status = 0 ORDER BY id LIMIT ?2",
                params![workflow, limit(most)],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            seqs.extend(queue.iter().copied());
            queues.push((workflow, queue.into_iter().map(|(id, _)| id)));
        }
        let due = fairness::deal(queues, &running, most)
            .into_iter()
            .map(|id| seqs[&id])
            .collect();
        claimed.extend(self.claim_all(due, by, now)?);
        Ok(claimed)
    }

    /// Workflows with queued jobs: one step through the index for each known workflow.
    fn waiting_workflows(&self) -> rusqlite::Result<Vec<Arc<str>>> {
        self.collect(
            "WITH RECURSIVE known (workflow) AS (
                 SELECT min(workflow) FROM jobs INDEXED BY jobs_by_workflow
                 UNION ALL
                 SELECT (SELECT min(workflow) FROM jobs INDEXED BY jobs_by_workflow
                         WHERE workflow > known.workflow)
                 FROM known WHERE known.workflow IS NOT NULL
             )
             SELECT workflow FROM known WHERE EXISTS (
                 SELECT 1 FROM jobs INDEXED BY jobs_by_workflow
                 WHERE workflow = known.workflow AND status = 0
             )",
            [],
            |row| row.get(0),
        )
    }

    pub(super) fn claim_overdue(
        &mut self,
        by: ReplicaId,
        most: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Failure> {
        if !self.holders.replicas().is_alive(by) {
            return Ok(Vec::new());
        }
        let due = self.collect(
            "SELECT seq FROM jobs INDEXED BY jobs_by_deadline
             WHERE status IN (0, 6) AND deadline <= ?1
             ORDER BY deadline, id LIMIT ?2",
            params![Time(now), limit(most)],
            |row| row.get(0),
        )?;
        self.claim_all(due, by, now)
    }

    fn claim_all(
        &mut self,
        due: Vec<i64>,
        by: ReplicaId,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Failure> {
        let mut all = Vec::with_capacity(due.len());
        for seq in due {
            match self.claim_row(seq, by, now) {
                Ok(Some(claimed)) => all.push(claimed),
                // A part of it is not there.
                Ok(None) => self.fail_unreadable(seq, now, "a part of its record is missing")?,
                Err(error) if is_unreadable(&error) => {
                    self.fail_unreadable(seq, now, &error.to_string())?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !all.is_empty() {
            self.note_claim(by);
        }
        Ok(all)
    }

    /// Ends a job whose record cannot be read, so that it does not block the others.
    fn fail_unreadable(&mut self, seq: i64, now: Timestamp, reason: &str) -> rusqlite::Result<()> {
        tracing::error!(
            row = seq,
            reason,
            "the record of a job cannot be read; the job ends as failed"
        );
        let found = self.find(
            "SELECT status, owes_webhook IS NOT NULL FROM jobs WHERE seq = ?1",
            [seq],
            |row| Ok((row.get::<_, Status>(0)?, row.get(1)?)),
        )?;
        let Some((from, owes_webhook)) = found else {
            return Ok(());
        };
        self.execute(
            "UPDATE jobs SET status = ?2, completed_at = ?3, error = ?4, worker = NULL
             WHERE seq = ?1",
            params![seq, Status::Failed, Time(now), UNREADABLE],
        )?;
        self.forget_wait(seq, from)?;
        if owes_webhook {
            self.make_delivery_due(seq, now)?;
        }
        self.moved(Some(from), Some(Status::Failed));
        Ok(())
    }

    fn claim_row(
        &mut self,
        seq: i64,
        by: ReplicaId,
        now: Timestamp,
    ) -> rusqlite::Result<Option<Claimed>> {
        let found = self.find(
            &format!(
                "SELECT {JOB_COLUMNS}, j.token, {WORKLOAD},
                     (SELECT max(id) FROM events WHERE job = j.seq), j.starts,
                     EXISTS (SELECT 1 FROM events
                         WHERE job = j.seq AND id > j.claimed_at_event AND kind = ?2)
                 FROM {JOB_TABLES} {WORKLOAD_JOINS}
                 WHERE j.seq = ?1"
            ),
            params![seq, PROGRESS_EVENT],
            |row| {
                let workload = Workload {
                    inputs: row.get(JOB_COLUMN_COUNT + 1)?,
                    options: row.get(JOB_COLUMN_COUNT + 2)?,
                    progress: row.get(JOB_COLUMN_COUNT + 3)?,
                };
                let last_event: Option<u64> = row.get(JOB_COLUMN_COUNT + 4)?;
                let made_progress: bool = row.get(JOB_COLUMN_COUNT + 6)?;
                let starts = if made_progress {
                    0
                } else {
                    row.get(JOB_COLUMN_COUNT + 5)?
                };
                Ok((
                    job(row)?,
                    row.get(JOB_COLUMN_COUNT)?,
                    workload,
                    last_event.unwrap_or(0),
                    starts,
                ))
            },
        )?;
        let Some((mut job, token, workload, last_event, starts)): Option<(_, _, _, _, u32)> = found
        else {
            return Ok(None);
        };
        let starts = starts + 1;
        let from = job.status;
        let Some(lease) = claim_job(&mut job, token, by, now) else {
            return Ok(None);
        };
        let wake_ups = self.hand_out_wake_ups(seq)?;
        self.execute(
            "UPDATE jobs SET status = ?2, started_at = ?3, attempts = ?4, token = ?5, worker = ?6,
                 starts = ?7, claimed_at_event = ?8
             WHERE seq = ?1",
            params![
                seq,
                job.status,
                job.started_at.map(Time),
                job.attempts,
                lease.token,
                by,
                starts,
                last_event,
            ],
        )?;
        self.forget_wait(seq, from)?;
        self.moved(Some(from), Some(job.status));
        Ok(Some(Claimed {
            job,
            lease,
            workload,
            last_event,
            starts,
            was_lost: matches!(from, Status::Running | Status::Cancelling),
            wake_ups,
        }))
    }

    pub(super) fn checkpoint(
        &mut self,
        lease: &Lease,
        progress: Option<&Json>,
        events: &[StoredEvent],
    ) -> Result<(), Failure> {
        let HeldJob { seq, .. } = self.held(lease)?;
        if let Some(progress) = progress {
            self.save_progress(seq, progress)?;
        }
        Ok(self.append(seq, events)?)
    }

    pub(super) fn finish(
        &mut self,
        lease: &Lease,
        ending: &Ending,
        events: &[StoredEvent],
    ) -> Result<Job, Failure> {
        let Some((running, seq, owes_webhook)) = self.find::<(Job, i64, bool)>(
            &format!(
                "SELECT {JOB_COLUMNS}, j.seq, j.owes_webhook IS NOT NULL FROM {JOB_TABLES}
                 WHERE j.id = ?1 AND j.token = ?2 AND j.worker = ?3 AND j.status IN (1, 2)"
            ),
            params![lease.job, lease.token, lease.replica],
            |row| {
                Ok((
                    job(row)?,
                    row.get(JOB_COLUMN_COUNT)?,
                    row.get(JOB_COLUMN_COUNT + 1)?,
                ))
            },
        )?
        else {
            return self.ended_before(lease);
        };
        let from = running.status;
        let status = from
            .after(Transition::End(ending.end))
            .ok_or(Error::NotCancelling(lease.job))?;
        self.append(seq, events)?;
        if let Some(outputs) = &ending.outputs {
            self.save_outputs(seq, outputs)?;
        }
        self.execute(
            "UPDATE jobs SET status = ?2, completed_at = ?3, execution_time_ms = ?4, error = ?5,
                 problem = ?6, usage = ?7
             WHERE seq = ?1",
            params![
                seq,
                status,
                Time(ending.at),
                ending.execution_time_ms,
                ending.error,
                ending.problem,
                ending.usage,
            ],
        )?;
        let webhook = if owes_webhook {
            self.make_delivery_due(seq, ending.at)?;
            self.stored_job(seq)?.webhook
        } else {
            running.webhook.clone()
        };
        self.moved(Some(from), Some(status));
        let job = ended(running, status, ending);
        Ok(Job { webhook, ..job })
    }

    /// The answer to an ending that is repeated: an ended job keeps the worker and the token of its
    /// last claim.
    fn ended_before(&self, lease: &Lease) -> Result<Job, Failure> {
        let is_ours = self
            .connection
            .prepare_cached(
                "SELECT 1 FROM jobs WHERE id = ?1 AND token = ?2 AND worker = ?3 AND status BETWEEN 3 AND 5",
            )?
            .exists(params![lease.job, lease.token, lease.replica])?;
        if !is_ours {
            return Err(Error::LeaseLost(lease.job).into());
        }
        whole_job(self.connection, lease.job)?.ok_or(Error::LeaseLost(lease.job).into())
    }

    pub(super) fn hand_back(&mut self, lease: &Lease) -> Result<(), Failure> {
        let HeldJob {
            seq, status: from, ..
        } = self.held(lease)?;
        let status = from
            .after(Transition::HandBack)
            .ok_or(Error::LeaseLost(lease.job))?;
        self.execute(
            "UPDATE jobs SET status = ?2, attempts = attempts - 1, starts = starts - 1,
                 token = token + 1, worker = NULL
             WHERE seq = ?1",
            params![seq, status],
        )?;
        if status != Status::Pending {
            self.holders.some_may_have_lapsed();
        }
        self.moved(Some(from), Some(status));
        Ok(())
    }

    pub(super) fn request_cancel(
        &mut self,
        id: JobId,
        now: Timestamp,
    ) -> Result<CancelRequested, Failure> {
        let HeldJob {
            seq,
            status: from,
            owes_webhook,
        } = self
            .find(
                "SELECT seq, status, owes_webhook IS NOT NULL FROM jobs WHERE id = ?1",
                [id],
                held,
            )?
            .ok_or(Error::NotFound)?;
        let Some(to) = from.after(Transition::RequestCancel) else {
            return Ok(CancelRequested::Ended(from));
        };
        let completed_at = to.is_final().then_some(Time(now));
        self.execute(
            "UPDATE jobs SET status = ?2, completed_at = ?3 WHERE seq = ?1",
            params![seq, to, completed_at],
        )?;
        self.forget_wait(seq, from)?;
        if to.is_final() && owes_webhook {
            self.make_delivery_due(seq, now)?;
        }
        self.moved(Some(from), Some(to));
        Ok(if to.is_final() {
            CancelRequested::Cancelled
        } else {
            CancelRequested::Cancelling
        })
    }

    /// The job of a lease that is still valid.
    pub(super) fn held(&self, lease: &Lease) -> Result<HeldJob, Failure> {
        self.find(
            "SELECT seq, status, owes_webhook IS NOT NULL FROM jobs
             WHERE id = ?1 AND token = ?2 AND worker = ?3 AND status IN (1, 2)",
            params![lease.job, lease.token, lease.replica],
            held,
        )?
        .ok_or_else(|| {
            // Whoever has the job now may not be alive.
            self.holders.some_may_have_lapsed();
            Failure::Refused(Error::LeaseLost(lease.job))
        })
    }

    /// A job without its outputs.
    pub(super) fn stored_job(&self, seq: i64) -> rusqlite::Result<Job> {
        self.connection
            .prepare_cached(&format!(
                "SELECT {JOB_COLUMNS} FROM {JOB_TABLES} WHERE j.seq = ?1"
            ))?
            .query_row([seq], job)
    }
}

/// The `error` of a job that was set aside.
const UNREADABLE: &str =
    "The job's record in the store cannot be read, so it was not executed; submit it anew.";

/// What every change of a job needs to know of it.
pub(super) struct HeldJob {
    pub(super) seq: i64,
    pub(super) status: Status,
    owes_webhook: bool,
}

fn held(row: &Row<'_>) -> rusqlite::Result<HeldJob> {
    Ok(HeldJob {
        seq: row.get(0)?,
        status: row.get(1)?,
        owes_webhook: row.get(2)?,
    })
}

/// A job with its ending.
pub(super) fn ended(job: Job, status: Status, ending: &Ending) -> Job {
    Job {
        status,
        completed_at: Some(ending.at),
        execution_time_ms: Some(ending.execution_time_ms),
        outputs: ending.outputs.clone(),
        error: ending.error.clone(),
        problem: ending.problem.clone(),
        usage: ending.usage.clone(),
        ..job
    }
}
