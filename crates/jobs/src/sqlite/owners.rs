//! The unfinished jobs of each owner.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;

use super::fault::Failure;
use super::tables::Tables;
use crate::job::NewJob;
use crate::store::{Error, OwnerLimits, SubmitOptions, Unfinished};

impl Tables<'_> {
    /// Whether the owner of a job may have one more.
    pub(super) fn admit_owner(
        &self,
        job: &NewJob,
        options: &SubmitOptions,
    ) -> Result<Result<(), Error>, Failure> {
        let limits = options.owner_limits;
        let Some(owner) = job
            .owner
            .as_deref()
            .filter(|_| limits != OwnerLimits::default())
        else {
            return Ok(Ok(()));
        };
        let jobs = unfinished(self.connection, Some(owner))?.remove(owner);
        Ok(limits.admit(jobs.unwrap_or_default(), options.claim.is_none()))
    }
}

pub(super) fn unfinished(
    connection: &Connection,
    owner: Option<&str>,
) -> rusqlite::Result<BTreeMap<Arc<str>, Unfinished>> {
    let mut counted: BTreeMap<Arc<str>, Unfinished> = BTreeMap::new();
    let of_owner = match owner {
        Some(_) => "INDEXED BY jobs_by_owner WHERE owner = ?1",
        None => "INDEXED BY jobs_by_status WHERE ?1 IS NULL AND owner IS NOT NULL",
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT owner, status, count(*) FROM jobs {of_owner} AND status IN (0, 1, 2, 6)
         GROUP BY owner, status"
    ))?;
    let mut rows = statement.query([owner])?;
    while let Some(row) = rows.next()? {
        let jobs = counted.entry(row.get(0)?).or_default();
        jobs.count(row.get(1)?, row.get(2)?);
    }
    Ok(counted)
}
