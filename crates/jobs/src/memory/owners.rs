//! The unfinished jobs of each owner. They are counted when somebody asks: a process that has the
//! store to itself rarely does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::tables::Tables;
use crate::job::NewJob;
use crate::store::{Error, OwnerLimits, SubmitOptions, Unfinished};

impl Tables {
    /// Refuses a job whose owner may not have one more.
    pub(super) fn admit_owner(&self, job: &NewJob, options: &SubmitOptions) -> Result<(), Error> {
        let limits = options.owner_limits;
        let Some(owner) = job
            .owner
            .as_deref()
            .filter(|_| limits != OwnerLimits::default())
        else {
            return Ok(());
        };
        let jobs = self.unfinished(Some(owner)).remove(owner);
        limits.admit(jobs.unwrap_or_default(), options.claim.is_none())
    }

    pub(super) fn unfinished(&self, owner: Option<&str>) -> BTreeMap<Arc<str>, Unfinished> {
        let running = self.held_by.values().flat_map(BTreeSet::iter);
        let unfinished = self.pending.iter().chain(&self.waiting).chain(running);
        let mut counted: BTreeMap<Arc<str>, Unfinished> = BTreeMap::new();
        for job in unfinished.filter_map(|id| self.jobs.get(id)) {
            let head = &job.head;
            if let Some(of) = &head.owner
                && owner.is_none_or(|owner| **of == *owner)
            {
                counted.entry(of.clone()).or_default().count(head.status, 1);
            }
        }
        counted
    }
}
