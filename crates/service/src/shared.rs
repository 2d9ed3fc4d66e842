//! What the use cases of a service share, each part a type of its own that keeps its own
//! invariants.
//!
//! The handle [`Service`] stands here, too, so that each use case is a file with an `impl Service`;
//! what a service is made of, and its tasks, are put together in `service`.

use std::sync::Arc;

use engine::host::Host;
use engine::watch::Telemetry;
use jobs::job::JobId;
use jobs::store::{CancelRequested, Error, JobStore};
use llm::model::Models;

use crate::expiry::ReadJobs;
use crate::in_flight::InFlight;
use crate::lifecycle::Lifecycle;
use crate::live::Backing;
use crate::registry::RunRegistry;
use crate::replica_lease::ReplicaLease;
use crate::settings::Settings;
use crate::slots::RunSlots;
use crate::store_health::StoreHealth;
use crate::webhooks::queue::DeliveryQueue;
use crate::workflows::Workflows;

/// A handle; clones share the service.
#[derive(Debug, Clone)]
pub struct Service {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) store_health: Arc<StoreHealth>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) models: Arc<dyn Models>,
    pub(crate) telemetry: Option<Arc<dyn Telemetry>>,
    pub(crate) workflows: Workflows,
    pub(crate) runs: RunRegistry,
    pub(crate) replica_lease: Arc<ReplicaLease>,
    /// For the runs of this process.
    pub(crate) backing: Arc<Backing>,
    pub(crate) slots: RunSlots,
    pub(crate) in_flight: InFlight,
    pub(crate) deliveries: DeliveryQueue,
    pub(crate) read_jobs: ReadJobs,
    pub(crate) lifecycle: Lifecycle,
}

impl Shared {
    /// Whether something may be begun under the lease of this process. Where no other process can
    /// have been given its jobs, it always may.
    pub(crate) fn lease_is_relied_on(&self) -> bool {
        !self.store.is_shared() || self.replica_lease.is_relied_on(self.host.elapsed())
    }

    /// As [`Service::cancel`]. To be done to its end.
    pub(crate) async fn cancel(&self, id: JobId) -> Result<CancelRequested, Error> {
        let found = self.store.request_cancel(id, self.host.now()).await?;
        match found {
            CancelRequested::Cancelling => self.runs.cancel(id),
            CancelRequested::Cancelled => {
                self.in_flight.dequeue(id);
                self.deliveries.may_be_due();
            }
            CancelRequested::Ended(_) => {}
        }
        Ok(found)
    }
}
