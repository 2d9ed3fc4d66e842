//! The service put together, and the requests that it passes on to the store.

use std::sync::Arc;

use engine::host::Host;
use engine::watch::Telemetry;
use jobs::job::{Job, JobId};
use jobs::signals::Signals;
use jobs::store::{
    CancelRequested, Counts, Error, Filter, JobStore, Page, ReplicaId, ReplicaState,
};
use llm::model::Models;

use crate::access::Access;
use crate::beats;
use crate::catalog::Catalog;
use crate::completion::completed;
use crate::expiry;
use crate::followers::Followers;
use crate::in_flight::InFlight;
use crate::lifecycle::Lifecycle;
use crate::limits::{Accounts, KeyUsage};
use crate::live::Backing;
use crate::registry::RunRegistry;
use crate::relied_on_models::{LeaseGuard, ReliedOnModels};
use crate::replica_lease::ReplicaLease;
use crate::settings::Settings;
use crate::shared::{Service, Shared};
use crate::signals_heard;
use crate::slots::RunSlots;
use crate::store_health::StoreHealth;
use crate::tails;
use crate::webhooks::config::Webhooks;
use crate::webhooks::delivery;
use crate::webhooks::queue::DeliveryQueue;
use crate::worker;
use crate::workflows::Workflows;

/// What a service is made of.
#[derive(Debug)]
pub struct Config {
    /// Keeps the jobs.
    pub store: Arc<dyn JobStore>,
    /// To and from the replicas that share the store;
    /// [`NoSignals`](jobs::signals::NoSignals) where there are none.
    pub signals: Arc<dyn Signals>,
    /// Answers the prompts.
    pub models: Arc<dyn Models>,
    /// Clock and ids.
    pub host: Arc<dyn Host>,
    /// Delivers webhooks; `None` where there are none.
    pub webhooks: Option<Webhooks>,
    /// Counts what API keys use; `None` where keys are not in use.
    pub accounts: Option<Arc<Accounts>>,
    /// Limits and times.
    pub settings: Settings,
}

/// Why the service should receive no requests.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// It is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Service {
    /// Starts the service; it works until [`Service::drain`] has ended.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn new(config: Config) -> Self {
        Self::observed(config, None)
    }

    /// As [`Service::new`], with telemetry that watches the runs.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn observed(config: Config, telemetry: Option<Arc<dyn Telemetry>>) -> Self {
        let Config {
            store,
            signals,
            models,
            host,
            webhooks,
            accounts,
            settings,
        } = config;
        let replica_lease = Arc::new(ReplicaLease::new(settings.lease));
        let is_shared = store.is_shared();
        let models = if is_shared {
            let guard = LeaseGuard {
                lease: replica_lease.clone(),
                host: host.clone(),
            };
            Arc::new(ReliedOnModels { models, guard })
        } else {
            models
        };
        let store_health = Arc::<StoreHealth>::default();
        let (read_jobs, to_forget) = expiry::read_jobs(&settings);
        let replica = ReplicaId(host.new_id());
        if let Some(accounts) = &accounts {
            accounts.set_replica(replica);
        }
        let shared = Arc::new(Shared {
            workflows: Workflows::default(),
            runs: RunRegistry::new(replica),
            replica_lease,
            backing: Arc::new(Backing {
                store: store.clone(),
                store_health: store_health.clone(),
                host: host.clone(),
                event_buffer: settings.event_buffer,
                signals: is_shared.then(|| signals.clone()),
            }),
            signals,
            followers: Followers::new(settings.event_buffer),
            // Until the worker has looked.
            slots: RunSlots::new(
                settings.max_running,
                store.is_durable() || settings.exclusive_store,
            ),
            in_flight: InFlight::new(accounts.clone(), is_shared),
            deliveries: DeliveryQueue::new(webhooks.clone()),
            read_jobs,
            lifecycle: Lifecycle::default(),
            settings,
            store,
            store_health,
            host,
            models,
            telemetry,
        });
        let workers = &shared.lifecycle.workers;
        workers.spawn(beats::keep_beating(shared.clone()));
        if is_shared {
            workers.spawn(beats::watch_lease(shared.clone()));
            workers.spawn(signals_heard::listen(shared.clone()));
        }
        workers.spawn(tails::follow_jobs(shared.clone()));
        if let Some(accounts) = accounts.filter(|accounts| accounts.are_shared()) {
            let (signals, stopped) = (shared.signals.clone(), shared.lifecycle.stopped.clone());
            workers.spawn(async move { accounts.serve_demand(&*signals, &stopped).await });
        }
        workers.spawn(worker::work(shared.clone()));
        workers.spawn(expiry::forget_jobs(
            shared.store.clone(),
            shared.host.clone(),
            shared.settings.clone(),
            shared.lifecycle.stopped.clone(),
            to_forget,
        ));
        workers.close();
        if let Some(webhooks) = webhooks {
            let deliverer = delivery::deliver(shared.clone(), webhooks);
            shared.deliveries.deliverer.spawn(deliverer);
        }
        shared.deliveries.deliverer.close();
        Self { shared }
    }

    /// Whether the end of a job can be read more than once.
    pub fn keeps_results(&self) -> bool {
        !self.shared.settings.retention.is_zero()
    }

    /// The workflows that are served.
    pub fn catalog(&self) -> &Catalog {
        &self.shared.workflows.catalog
    }

    /// Clock and ids.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.shared.host
    }

    /// The models that answer.
    pub fn models(&self) -> &Arc<dyn Models> {
        &self.shared.models
    }

    /// Whether it should receive requests: the store was writable within the last second.
    pub async fn ready(&self) -> Result<(), NotReady> {
        if self.is_stopping() {
            return Err(NotReady::Draining);
        }
        let Shared {
            store,
            store_health,
            host,
            ..
        } = &*self.shared;
        Ok(store_health.is_ready(&**store, &**host).await?)
    }

    /// How many jobs wait, run and have ended, according to the store.
    pub async fn counts(&self) -> Result<Counts, Error> {
        self.shared.store.counts().await
    }

    /// What one API key, or each of them, has spent, has left and has in flight. Where the store is
    /// shared, the runs in flight are those of all its replicas.
    pub async fn usage(&self, access: &Access, key: Option<&str>) -> Result<Vec<KeyUsage>, Error> {
        let mut usage = access.usage(key).await?;
        if self.shared.store.is_shared() {
            let unfinished = self.shared.store.unfinished(key).await?;
            for one in &mut usage {
                one.has_in_flight(unfinished.get(&one.key).copied().unwrap_or_default());
            }
        }
        Ok(usage)
    }

    /// The replicas that share the store and are alive.
    pub async fn replicas(&self) -> Result<Vec<ReplicaState>, Error> {
        self.shared.store.replicas().await
    }

    /// How many runs there are in this process.
    pub fn runs_here(&self) -> usize {
        self.shared.runs.len()
    }

    /// From now on the service is not ready, so that load balancers send it no more requests. Those
    /// that come all the same are accepted until [`drain`](Self::drain).
    pub fn prepare_to_stop(&self) {
        self.shared.lifecycle.begin_stop();
    }

    /// Whether the service is shutting down or about to.
    pub fn is_stopping(&self) -> bool {
        self.shared.lifecycle.is_stopping()
    }

    /// Whether the service accepts no new runs because it is shutting down.
    pub fn is_draining(&self) -> bool {
        self.shared.lifecycle.is_draining()
    }

    /// One job. Does not count as reading it; see [`was_read`](Self::was_read).
    pub async fn get(&self, id: JobId) -> Result<Option<Job>, Error> {
        self.shared.store.get(id).await
    }

    /// A client was sent this job: where jobs are not kept, one that has ended is removed. To be
    /// called only when all of it is on its way.
    pub fn was_read(&self, job: &Job) {
        self.shared.read_jobs.was_read(job);
    }

    /// The workflow of a job of this key; `None` where the job belongs to another key or does not
    /// exist. Does not count as reading the job.
    pub async fn workflow_of_own(&self, id: JobId, owner: &str) -> Result<Option<Arc<str>>, Error> {
        let job = self.shared.store.get(id).await?;
        let own = job.filter(|job| job.owner.as_deref() == Some(owner));
        Ok(own.map(|job| job.workflow))
    }

    /// The jobs before `cursor`, newest first, without outputs.
    pub async fn list(
        &self,
        filter: &Filter,
        cursor: Option<JobId>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.shared.store.list(filter, cursor, limit).await
    }

    /// Cancels a job, and aborts its model calls at once where it runs here. Completes even if this
    /// is dropped.
    pub async fn cancel(&self, id: JobId) -> Result<CancelRequested, Error> {
        let shared = self.shared.clone();
        completed(&self.shared.lifecycle.tasks, async move {
            shared.cancel(id).await
        })
        .await
    }

    /// Removes an ended job.
    pub async fn delete(&self, id: JobId) -> Result<(), Error> {
        self.shared.store.delete(id).await
    }
}
