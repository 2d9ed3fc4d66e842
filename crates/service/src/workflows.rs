//! Every workflow that a job may have: those that are served, and retired versions of them.

use std::sync::Arc;

use jobs::job::Job;
use jobs::store::{Error, JobStore};

use crate::catalog::{Catalog, LoadedWorkflow};
use crate::retired_versions::RetiredVersions;

#[derive(Debug, Default)]
pub(crate) struct Workflows {
    pub(crate) catalog: Catalog,
    retired: RetiredVersions,
}

impl Workflows {
    /// The workflow with the definition of a job: the current one, or the one stored with the job.
    pub(crate) async fn of_job(
        &self,
        store: &dyn JobStore,
        job: &Job,
    ) -> Result<Option<Arc<LoadedWorkflow>>, Error> {
        let hash = &job.definition_hash;
        match self.catalog.with_hash(hash) {
            Some(current) => Ok(Some(current)),
            None => self.retired.find(store, hash).await,
        }
    }
}
