//! What the use cases of a service share, each part a type of its own that keeps its own
//! invariants.
//!
//! The handle [`Service`] stands here, too, so that each use case is a file with an `impl Service`;
//! what a service is made of, and its tasks, are put together in `service`.

use std::sync::Arc;

use engine::host::Host;
use engine::watch::Telemetry;
use jobs::job::{Job, JobId};
use jobs::signals::{Signal, Signals};
use jobs::store::{CancelRequested, Error, JobStore};
use llm::model::Models;

use crate::expiry::ReadJobs;
use crate::followers::Followers;
use crate::in_flight::InFlight;
use crate::lifecycle::Lifecycle;
use crate::live::{Backing, LiveRun};
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
    /// To and from the replicas that share the store.
    pub(crate) signals: Arc<dyn Signals>,
    /// Clients that watch jobs or wait for them, whose runs are not here.
    pub(crate) followers: Followers,
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

    /// Tells the other replicas, where there can be any.
    pub(crate) fn publish(&self, signal: Signal) {
        if self.store.is_shared() {
            self.signals.publish(signal);
        }
    }

    /// A run whose job is stored and ours is here.
    pub(crate) fn register(&self, run: &Arc<LiveRun>) {
        self.runs.register(run);
        self.followers.arrived(run.id());
    }

    /// A job waits in the store: for a slot here, or where none is free elsewhere.
    pub(crate) fn job_waits(&self) {
        self.slots.job_waits();
        let is_claimed_here =
            self.slots.has_free() && self.lease_is_relied_on() && !self.lifecycle.is_draining();
        if !is_claimed_here {
            self.publish(Signal::JobsWaiting);
        }
    }

    /// A run of this process has ended, and that is stored. Clients of other replicas may follow it.
    pub(crate) fn has_ended(&self, job: &Job, is_followed: bool) {
        self.lifecycle.run_ended();
        if is_followed {
            self.publish(Signal::Ended(job.id));
        }
        if job.webhook.is_some() {
            self.delivery_may_be_due();
        }
    }

    /// A job with a webhook may have ended.
    fn delivery_may_be_due(&self) {
        self.deliveries.may_be_due();
        if self.deliveries.webhooks().is_none() || self.lifecycle.is_draining() {
            self.publish(Signal::DeliveriesDue);
        }
    }

    /// As [`Service::cancel`]. To be done to its end.
    pub(crate) async fn cancel(&self, id: JobId) -> Result<CancelRequested, Error> {
        let found = self.store.request_cancel(id, self.host.now()).await?;
        match found {
            CancelRequested::Cancelling => {
                if self.runs.get(id).is_none() {
                    self.publish(Signal::Cancel(id));
                }
                self.runs.cancel(id);
            }
            CancelRequested::Cancelled => {
                self.in_flight.dequeue(id);
                self.delivery_may_be_due();
                self.followers.may_have_changed(id);
                self.publish(Signal::Ended(id));
            }
            CancelRequested::Ended(_) => {}
        }
        Ok(found)
    }
}
