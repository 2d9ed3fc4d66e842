//! The verbs that read one job, or count them.

use std::sync::Arc;

use super::PostgresStore;
use super::reading;
use crate::job::{Definition, Job, JobId, Workload};
use crate::store::{Counts, Error, StoredEvent};

impl PostgresStore {
    pub(super) async fn get(&self, id: JobId) -> Result<Option<Job>, Error> {
        self.sessions
            .run(move |session| {
                Box::pin(async move { Ok(reading::whole_jobs(session, &[id]).await?.remove(&id)) })
            })
            .await
    }

    pub(super) async fn workload(&self, id: JobId) -> Result<Option<Workload>, Error> {
        self.sessions
            .run(move |session| Box::pin(reading::workload(session, id)))
            .await
    }

    pub(super) async fn definition(&self, hash: &str) -> Result<Option<Arc<Definition>>, Error> {
        let hash: Arc<str> = hash.into();
        self.sessions
            .run(move |session| {
                let hash = hash.clone();
                Box::pin(async move { reading::definition(session, &hash).await })
            })
            .await
    }

    pub(super) async fn events(
        &self,
        id: JobId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, Error> {
        self.sessions
            .run(move |session| Box::pin(reading::events(session, id, after, limit)))
            .await
    }

    pub(super) async fn counts(&self) -> Result<Counts, Error> {
        self.sessions
            .run(|session| Box::pin(reading::counts(session)))
            .await
    }
}
