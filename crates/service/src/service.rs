//! The service itself: what it is made of, and the requests it only passes on to the store.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::host::Host;
use engine::watch::Telemetry;
use jiff::Timestamp;
use jobs::job::{Job, JobId};
use jobs::store::{CancelRequested, Claimant, Counts, Error, Filter, JobStore, Page};
use jobs::webhook::Webhook;
use lang::workflow::CaptureLevel;
use llm::model::Models;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, Semaphore, SetOnce};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalog::{Catalog, LoadedWorkflow};
use crate::completion::completed;
use crate::expiry;
use crate::limits::Accounts;
use crate::live::LiveRun;
use crate::retired_versions::RetiredVersions;
use crate::runs::later;
use crate::store_health::StoreHealth;
use crate::waiting::Waiting;
use crate::webhooks::{self, Webhooks};
use crate::worker;

/// What a service is made of.
#[derive(Debug)]
pub struct Config {
    /// Keeps the jobs.
    pub store: Arc<dyn JobStore>,
    /// Answers the prompts.
    pub models: Arc<dyn Models>,
    /// Clock and ids.
    pub host: Arc<dyn Host>,
    /// Tells others how jobs ended; `None`: nobody is told anything.
    pub webhooks: Option<Webhooks>,
    /// What API keys have spent and may still; `None`: nobody counts.
    pub accounts: Option<Arc<Accounts>>,
    /// Limits and times.
    pub settings: Settings,
}

/// Limits and times.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Runs at once; more of them wait in the store.
    pub max_running: usize,
    /// Jobs that may wait; more are refused. `None`: any number.
    pub max_queued: Option<usize>,
    /// No other process uses the store while this one does: whatever ran in it when this one began was
    /// left by a dead one, and goes on at once instead of when its lease has lapsed.
    pub exclusive_store: bool,
    /// How long a job stays with a process that gives no sign of life.
    pub lease: Duration,
    /// Starts of a run of which none completes a node before it is given up as one that takes its process
    /// down. A node that completes, or an item of a fan-out, lets them be counted anew.
    pub max_starts: u32,
    /// For runs that ask for no deadline of their own.
    pub default_deadline: Option<Duration>,
    /// Fan-out items in flight at once, in each run.
    pub fan_out: usize,
    /// Events and deltas a watcher may lag behind a run before it is sent to the store for them (where
    /// it does not find the deltas). Memory is taken only while somebody watches.
    pub event_buffer: usize,
    /// Jobs are forgotten this long after their end. Zero: as soon as somebody has read how they ended;
    /// those that nobody asks for are kept for [`UNREAD_KEPT`](crate::UNREAD_KEPT). A webhook that was
    /// delivered counts as reading, and until it is settled the job stays.
    pub retention: Duration,
    /// Bytes the store may take; beyond it the jobs that ended first are forgotten before their time.
    pub max_store_bytes: Option<u64>,
    /// Most that telemetry may keep of any run, whatever its workflow allows.
    pub capture: CaptureLevel,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_running: 16_384,
            max_queued: Some(100_000),
            exclusive_store: false,
            lease: Duration::from_secs(30),
            max_starts: 5,
            default_deadline: None,
            fan_out: 16,
            event_buffer: 256,
            retention: Duration::from_secs(7 * 24 * 60 * 60),
            max_store_bytes: None,
            capture: CaptureLevel::Full,
        }
    }
}

/// Why the service should get no requests.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// It is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] Error),
}

/// A handle; clones share the service.
#[derive(Debug, Clone)]
pub struct Service {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) store_health: Arc<StoreHealth>,
    pub(crate) models: Arc<dyn Models>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) webhooks: Option<Webhooks>,
    pub(crate) accounts: Option<Arc<Accounts>>,
    /// The places of jobs that wait in the store.
    pub(crate) waiting: Waiting,
    pub(crate) settings: Settings,
    pub(crate) telemetry: Option<Arc<dyn Telemetry>>,
    pub(crate) claimant: Claimant,
    pub(crate) catalog: Catalog,
    retired: RetiredVersions,
    runs: Mutex<Runs>,
    /// One permit per run.
    pub(crate) slots: Arc<Semaphore>,
    /// Jobs may be waiting in the store: new ones must not overtake them.
    pub(crate) backlog: AtomicBool,
    /// Wakes the worker: a job waits, or a slot is free for one that does.
    pub(crate) wake: Notify,
    /// It is to get no requests any more.
    pub(crate) stopping: AtomicBool,
    /// It takes no new runs any more.
    pub(crate) draining: AtomicBool,
    /// Runs that ended here.
    pub(crate) ended: AtomicUsize,
    /// Runs that were given back to the store.
    pub(crate) handed_back: AtomicUsize,
    /// Runs, and submissions that may still become runs.
    pub(crate) tasks: TaskTracker,
    /// All runs are to stop here without an end, also those that are about to begin.
    pub(crate) abandon_runs: CancellationToken,
    /// The worker and the expiry.
    pub(crate) workers: TaskTracker,
    /// What an earlier process left in the store is ours by now.
    pub(crate) taken_over: SetOnce<()>,
    /// A webhook may be due.
    pub(crate) wake_deliveries: Notify,
    /// No delivery is to begin any more.
    pub(crate) stop_delivering: CancellationToken,
    /// The deliverer.
    pub(crate) deliverer: TaskTracker,
    /// Nothing is to be done any more.
    pub(crate) stopped: CancellationToken,
    /// Takes jobs whose end was read, where none is to be kept.
    read: UnboundedSender<JobId>,
}

#[derive(Debug, Default)]
struct Runs {
    here: BTreeMap<JobId, Arc<LiveRun>>,
    /// How many of them each workflow has.
    by_workflow: BTreeMap<Arc<str>, usize>,
    /// Jobs that were cancelled while they were not here: one may have been claimed and be about to come.
    cancelled: HashSet<JobId>,
    /// Jobs that are being stored and claimed, by the time from which their leases count.
    arriving: BTreeSet<(Timestamp, JobId)>,
    /// The time by which leases are being claimed at the moment.
    claiming_at: Option<Timestamp>,
    /// A run came whose lease was half over.
    has_old_leases: bool,
}

impl Runs {
    fn count_down(&mut self, workflow: &Arc<str>) {
        if let Some(runs) = self.by_workflow.get_mut(workflow) {
            *runs -= 1;
            if *runs == 0 {
                self.by_workflow.remove(workflow);
            }
        }
    }
}

impl Service {
    /// Starts the service; it works until [`Service::drain`] has ended.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn new(config: Config) -> Self {
        Self::observed(config, None)
    }

    /// As [`Service::new`], with somebody who watches the runs.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn observed(config: Config, telemetry: Option<Arc<dyn Telemetry>>) -> Self {
        let Config {
            store,
            models,
            host,
            webhooks,
            accounts,
            settings,
        } = config;
        let claimant = Claimant {
            worker: host.new_id().to_string().into(),
            lease_for: settings.lease,
        };
        let (read, to_forget) = unbounded_channel();
        let shared = Arc::new(Shared {
            slots: Arc::new(Semaphore::new(
                settings.max_running.min(Semaphore::MAX_PERMITS),
            )),
            claimant,
            // Until the worker has looked.
            backlog: AtomicBool::new(store.is_durable() || settings.exclusive_store),
            store,
            store_health: Arc::default(),
            models,
            host,
            webhooks,
            accounts,
            waiting: Waiting::default(),
            settings,
            telemetry,
            catalog: Catalog::default(),
            retired: RetiredVersions::default(),
            runs: Mutex::default(),
            wake: Notify::new(),
            stopping: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            ended: AtomicUsize::new(0),
            handed_back: AtomicUsize::new(0),
            tasks: TaskTracker::new(),
            abandon_runs: CancellationToken::new(),
            workers: TaskTracker::new(),
            taken_over: SetOnce::new(),
            wake_deliveries: Notify::new(),
            stop_delivering: CancellationToken::new(),
            deliverer: TaskTracker::new(),
            stopped: CancellationToken::new(),
            read,
        });
        let workers = &shared.workers;
        workers.spawn(worker::work(shared.clone()));
        workers.spawn(expiry::forget_jobs(shared.clone(), to_forget));
        workers.close();
        if let Some(webhooks) = shared.webhooks.clone() {
            let deliverer = webhooks::deliver(shared.clone(), webhooks);
            shared.deliverer.spawn(deliverer);
        }
        shared.deliverer.close();
        Self { shared }
    }

    /// Whether how a job ended can be asked for more than once.
    pub fn keeps_results(&self) -> bool {
        !self.shared.settings.retention.is_zero()
    }

    /// The workflows that are served.
    pub fn catalog(&self) -> &Catalog {
        &self.shared.catalog
    }

    /// Clock and ids.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.shared.host
    }

    /// The models that answer.
    pub fn models(&self) -> &Arc<dyn Models> {
        &self.shared.models
    }

    /// Whether it should get requests: the store can be written, as was found out within the last second.
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

    /// How many jobs wait, run and have ended, as the store has it.
    pub async fn counts(&self) -> Result<Counts, Error> {
        self.shared.store.counts().await
    }

    /// From now on it is not ready, so that whoever spreads requests over servers sends none here any
    /// more; those that come all the same are still taken until [`drain`](Self::drain).
    pub fn prepare_to_stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
    }

    /// Whether it is about to shut down, or does.
    pub fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::SeqCst)
    }

    /// Whether it takes no new runs, because it is shutting down.
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    /// One job. Does not count as reading it; see [`was_read`](Self::was_read).
    pub async fn get(&self, id: JobId) -> Result<Option<Job>, Error> {
        self.shared.store.get(id).await
    }

    /// Somebody got this job as it is: where none is to be kept, one that has ended is forgotten. To be called
    /// only when the whole of it is on its way to them.
    pub fn was_read(&self, job: &Job) {
        self.shared.was_read(job);
    }

    /// The workflow of a job that this key made; `None` where it did not, or there is no such job. Does not
    /// count as reading the job.
    pub async fn workflow_of_own(&self, id: JobId, owner: &str) -> Result<Option<Arc<str>>, Error> {
        let job = self.shared.store.get(id).await?;
        let own = job.filter(|job| job.owner.as_deref() == Some(owner));
        Ok(own.map(|job| job.workflow))
    }

    /// Jobs, newest first, those older than `cursor`; without outputs.
    pub async fn list(
        &self,
        filter: &Filter,
        cursor: Option<JobId>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.shared.store.list(filter, cursor, limit).await
    }

    /// Stops a job; aborts its model calls at once where it runs here. Done to its end even if this is dropped.
    pub async fn cancel(&self, id: JobId) -> Result<CancelRequested, Error> {
        let shared = self.shared.clone();
        completed(&self.shared.tasks, async move { shared.cancel(id).await }).await
    }

    /// Forgets an ended job.
    pub async fn delete(&self, id: JobId) -> Result<(), Error> {
        self.shared.store.delete(id).await
    }
}

impl Shared {
    /// As [`Service::cancel`]. To be done to its end.
    pub(crate) async fn cancel(&self, id: JobId) -> Result<CancelRequested, Error> {
        let found = self.store.request_cancel(id, self.host.now()).await?;
        match found {
            CancelRequested::Cancelling => self.cancel_run(id),
            CancelRequested::Cancelled => {
                self.waiting.take(id);
                self.wake_deliveries.notify_one();
            }
            CancelRequested::Ended(_) => {}
        }
        Ok(found)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// The run of a job, where it is here.
    pub(crate) fn running(&self, id: JobId) -> Option<Arc<LiveRun>> {
        self.runs().here.get(&id).cloned()
    }

    /// Every run that is here.
    pub(crate) fn all_running(&self) -> Vec<Arc<LiveRun>> {
        self.runs().here.values().cloned().collect()
    }

    /// Notes a run. An earlier one of the same job has lost its lease to it and stops.
    pub(crate) fn register(&self, run: &Arc<LiveRun>) {
        let mut runs = self.runs();
        if runs.cancelled.remove(&run.id()) {
            run.cancel.cancel();
        }
        if let Some(lease) = run.granted() {
            let half_over = later(self.host.now(), self.settings.lease / 2);
            runs.has_old_leases |= lease.expires_at < half_over;
        }
        let of_workflow = runs.by_workflow.entry(run.workflow().clone());
        *of_workflow.or_default() += 1;
        if let Some(earlier) = runs.here.insert(run.id(), run.clone()) {
            earlier.abandon.cancel();
            runs.count_down(earlier.workflow());
        }
    }

    pub(crate) fn unregister(&self, run: &Arc<LiveRun>) {
        let mut runs = self.runs();
        if runs
            .here
            .get(&run.id())
            .is_some_and(|current| Arc::ptr_eq(current, run))
        {
            runs.here.remove(&run.id());
            runs.count_down(run.workflow());
        }
    }

    /// How many runs each workflow has here.
    pub(crate) fn running_by_workflow(&self) -> BTreeMap<Arc<str>, usize> {
        self.runs().by_workflow.clone()
    }

    /// Somebody was given a job: where none is to be kept, one that has ended is forgotten. One whose
    /// webhook is owed waits for that.
    pub(crate) fn was_read(&self, job: &Job) {
        let owes_nothing = job
            .webhook
            .as_ref()
            .is_none_or(|delivery| delivery.state.is_settled());
        if job.status.is_final() && owes_nothing {
            self.was_told(job.id);
        }
    }

    /// Somebody knows how a job ended, and nobody else has to be told.
    pub(crate) fn was_told(&self, id: JobId) {
        if self.settings.retention.is_zero() {
            // It fails when the service has ended; the next process forgets the job in its time.
            let _ = self.read.send(id);
        }
    }

    /// For a job that names no webhook.
    pub(crate) fn own_webhook(&self) -> Option<Webhook> {
        self.webhooks.as_ref()?.of_the_server()
    }

    /// Tells the run of a job that the store has as cancelling, even if it is not here quite yet.
    fn cancel_run(&self, id: JobId) {
        let mut runs = self.runs();
        match runs.here.get(&id) {
            Some(run) => run.cancel.cancel(),
            None => {
                runs.cancelled.insert(id);
            }
        }
    }

    /// Runs that come from now on learn of a cancel by their claim or their first heartbeat, and those
    /// that are here have their leases renewed.
    pub(crate) fn forget_arrivals(&self) {
        let mut runs = self.runs();
        runs.cancelled.clear();
        runs.has_old_leases = false;
    }

    /// Whether a run has come since its lease was half over, which a renewal has not mended yet.
    pub(crate) fn has_old_leases(&self) -> bool {
        self.runs().has_old_leases
    }

    /// A job is being stored, with a lease from that time on. The clock may have been set back since a claim
    /// that is under way was made: the lease must not have lapsed by the time of that claim.
    pub(crate) fn arrives(&self, id: JobId, at: Timestamp) -> Claimant {
        let mut runs = self.runs();
        runs.arriving.insert((at, id));
        let set_back = runs
            .claiming_at
            .and_then(|claiming_at| Duration::try_from(claiming_at.duration_since(at)).ok());
        Claimant {
            lease_for: self.claimant.lease_for + set_back.unwrap_or_default(),
            ..self.claimant.clone()
        }
    }

    /// Leases that have lapsed by that time are being claimed, or no longer.
    pub(crate) fn claims(&self, at: Option<Timestamp>) {
        self.runs().claiming_at = at;
    }

    /// It was stored and its run is registered, or it was not.
    pub(crate) fn has_arrived(&self, id: JobId, at: Timestamp) {
        self.runs().arriving.remove(&(at, id));
    }

    pub(crate) fn oldest_arrival(&self) -> Option<Timestamp> {
        self.runs().arriving.first().map(|(at, _)| *at)
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The workflow with the definition of a job: the current one, or the one stored with the job.
    pub(crate) async fn workflow_of(
        &self,
        job: &Job,
    ) -> Result<Option<Arc<LoadedWorkflow>>, Error> {
        let hash = &job.definition_hash;
        match self.catalog.with_hash(hash) {
            Some(current) => Ok(Some(current)),
            None => self.retired.find(&*self.store, hash).await,
        }
    }
}
