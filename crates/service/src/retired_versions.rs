//! Versions of workflows that are no longer served, loaded from the definitions stored with their
//! jobs.

use std::collections::VecDeque;
use std::sync::Arc;

use jobs::store::{Error, JobStore};
use tokio::sync::Mutex;

use crate::catalog::LoadedWorkflow;

/// Versions kept for the next job that needs one; runs keep the versions they use themselves.
const KEPT: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct RetiredVersions {
    /// The one used last is the last one. Locked while one is loaded, so that ten thousand jobs of
    /// one version that continue after a restart load it once.
    loaded: Mutex<VecDeque<Arc<LoadedWorkflow>>>,
}

impl RetiredVersions {
    /// The version with this hash; `None` where the store does not have it or this version of
    /// flowmill refuses it.
    pub(crate) async fn find(
        &self,
        store: &dyn JobStore,
        hash: &str,
    ) -> Result<Option<Arc<LoadedWorkflow>>, Error> {
        let mut loaded = self.loaded.lock().await;
        let has_hash = |version: &Arc<LoadedWorkflow>| &*version.definition.hash == hash;
        let found = if let Some(position) = loaded.iter().position(has_hash) {
            loaded.remove(position)
        } else {
            let definition = store.definition(hash).await?;
            let version = definition
                .as_deref()
                .and_then(LoadedWorkflow::from_definition);
            version.map(Arc::new)
        };
        if let Some(version) = &found {
            loaded.push_back(version.clone());
            if loaded.len() > KEPT {
                loaded.pop_front();
            }
        }
        Ok(found)
    }
}
