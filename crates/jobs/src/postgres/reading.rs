//! Reading jobs and what belongs to them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::types::Type;

use super::fault::Failure;
use super::sessions::Session;
use super::values::{JOB_COLUMN_COUNT, JOB_COLUMNS, JOB_TABLES, job, signed, text, unsigned};
use crate::job::{Definition, Job, JobId, Status, Workload};
use crate::store::{Counts, StoredEvent};

/// Jobs with their outputs.
pub(super) async fn whole_jobs(
    session: &Session,
    ids: &[JobId],
) -> Result<HashMap<JobId, Job>, Failure> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = session
        .query(
            &format!(
                "SELECT {JOB_COLUMNS}, o.data FROM {JOB_TABLES}
                 LEFT JOIN flowmill.outputs o ON o.job = j.id
                 WHERE j.id = ANY ($1::uuid[])"
            ),
            &[(&ids, Type::UUID_ARRAY)],
        )
        .await?;
    let jobs = rows.iter().map(|row| {
        let outputs = row.try_get(JOB_COLUMN_COUNT)?;
        let job = Job {
            outputs,
            ..job(row)?
        };
        Ok((job.id, job))
    });
    Ok(jobs.collect::<Result<_, tokio_postgres::Error>>()?)
}

pub(super) async fn workload(session: &Session, id: JobId) -> Result<Option<Workload>, Failure> {
    let rows = session
        .query(
            "SELECT w.inputs, w.options, p.data FROM flowmill.work w
             LEFT JOIN flowmill.progress p ON p.job = w.job WHERE w.job = $1",
            &[(&id, Type::UUID)],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(Workload {
        inputs: row.try_get(0)?,
        options: row.try_get(1)?,
        progress: row.try_get(2)?,
    }))
}

pub(super) async fn definition(
    session: &Session,
    hash: &Arc<str>,
) -> Result<Option<Arc<Definition>>, Failure> {
    let rows = session
        .query(
            "SELECT name, text FROM flowmill.definitions WHERE hash = $1",
            &[(&&**hash, Type::TEXT)],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(Arc::new(Definition {
        hash: hash.clone(),
        name: text(row, 0)?,
        text: text(row, 1)?,
    })))
}

pub(super) async fn events(
    session: &Session,
    id: JobId,
    after: u64,
    limit: usize,
) -> Result<Vec<StoredEvent>, Failure> {
    let rows = session
        .query(
            "SELECT id, kind, data FROM flowmill.events
             WHERE job = $1 AND id > $2 ORDER BY id LIMIT $3",
            &[
                (&id, Type::UUID),
                // What a client sends as its last event may be any number.
                (&signed(after), Type::INT8),
                (&signed(limit), Type::INT8),
            ],
        )
        .await?;
    let event = |row: &tokio_postgres::Row| {
        Ok::<_, tokio_postgres::Error>(StoredEvent {
            id: unsigned(row.try_get(0)?),
            kind: Cow::Owned(row.try_get(1)?),
            data: row.try_get(2)?,
        })
    };
    Ok(rows.iter().map(event).collect::<Result<_, _>>()?)
}

pub(super) async fn counts(session: &Session) -> Result<Counts, Failure> {
    let rows = session
        .query(
            "SELECT status, count(*) FROM flowmill.active GROUP BY status
             UNION ALL SELECT NULL, coalesce(sum(ended), 0)::int8 FROM flowmill.tally",
            &[],
        )
        .await?;
    let mut counts = Counts::default();
    for row in &rows {
        let status: Option<Status> = row.try_get(0)?;
        let number = usize::try_from(row.try_get::<_, i64>(1)?).unwrap_or_default();
        match status {
            Some(Status::Pending) => counts.pending += number,
            Some(Status::Waiting) => counts.waiting += number,
            Some(Status::Running | Status::Cancelling) => counts.running += number,
            Some(Status::Completed | Status::Failed | Status::Cancelled) | None => {
                counts.ended += number;
            }
        }
    }
    Ok(counts)
}
