//! A run while it is in this process: what it saves, and who waits for it or watches it.
//!
//! An event is shown only after it is stored, so that a client that resumes from its id finds it
//! again, here or in another process. While the run is not watched, events wait for the next
//! checkpoint; a watcher, or many events at once, have them stored right away (`event_log`). Where
//! other replicas share the store, they wait no longer than [`MAX_AGE`], since clients there watch the
//! run, too (`remote_watch`).
//!
//! A run may begin before its job is stored. Until then it has no lease, and whatever it would
//! store waits for one, so that nothing of it is shown and it does not end (`run_record`).

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use engine::event::{EventKind, RunEvent, SealedEvent};
use engine::host::Host;
use engine::observer::Observer;
use engine::progress::{Checkpoint, CheckpointError, Progress};
use engine::watch::RunObserver;
use jobs::job::{Ending, Job, JobId, NewJob};
use jobs::json::Json;
use jobs::signals::Signals;
use jobs::store::{Error, JobStore, PROGRESS_EVENT, ReplicaId, StoredEvent};
use serde::Serialize;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::backoff::Retries;
use crate::event_log::{EventLog, LiveEvent};
use crate::events::{Event, FinalEvent, name_of};
use crate::numbered::Numbered;
use crate::remote_watch::{COLLECT, RemoteWatch};
use crate::run_record::RunRecord;
use crate::store_health::StoreHealth;

/// A longer wait for the next attempt at a model is worth a line in the log.
const LONG_WAIT_MS: u64 = 60_000;

/// The longest time for which events are not stored, where other replicas share the store.
const MAX_AGE: Duration = Duration::from_secs(1);

/// What all runs of a process use.
#[derive(Debug)]
pub(crate) struct Backing {
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) store_health: Arc<StoreHealth>,
    pub(crate) host: Arc<dyn Host>,
    /// Events and deltas a watcher may lag behind.
    pub(crate) event_buffer: usize,
    /// Where other replicas share the store.
    pub(crate) signals: Option<Arc<dyn Signals>>,
}

pub(crate) struct LiveRun {
    backing: Arc<Backing>,
    id: JobId,
    workflow: Arc<str>,
    /// How far its job is on its way into the store.
    pub(crate) record: RunRecord,
    log: Mutex<EventLog>,
    /// Held during a write to the store: events are stored in their order.
    writing: tokio::sync::Mutex<()>,
    /// There are events to be stored at once.
    unsaved: Notify,
    /// There are events to be stored within [`MAX_AGE`].
    ages: Notify,
    /// Where other replicas share the store.
    remote: Option<RemoteWatch>,
    /// The job is to end as cancelled.
    pub(crate) cancel: CancellationToken,
    /// The run is to stop here without an end.
    pub(crate) abandon: CancellationToken,
    /// Once it has left this process: the job, if it ended here.
    end: OnceLock<Option<Job>>,
    left: Notify,
    /// Telemetry, where it watches the run.
    telemetry: OnceLock<Arc<dyn RunObserver>>,
}

impl std::fmt::Debug for LiveRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveRun")
            .field("id", &self.id)
            .field("workflow", &self.workflow)
            .finish_non_exhaustive()
    }
}

impl LiveRun {
    /// `last_event` is the id of the last one stored, or 0; `abandon` stops it without an end.
    pub(crate) fn new(
        backing: &Arc<Backing>,
        abandon: CancellationToken,
        id: JobId,
        workflow: Arc<str>,
        record: RunRecord,
        last_event: u64,
    ) -> Self {
        Self {
            backing: backing.clone(),
            id,
            workflow,
            record,
            log: Mutex::new(EventLog::new(last_event, backing.event_buffer)),
            writing: tokio::sync::Mutex::default(),
            unsaved: Notify::new(),
            ages: Notify::new(),
            remote: backing
                .signals
                .as_ref()
                .map(|signals| RemoteWatch::new(signals.clone(), id)),
            cancel: CancellationToken::new(),
            abandon,
            end: OnceLock::new(),
            left: Notify::new(),
            telemetry: OnceLock::new(),
        }
    }

    /// Telemetry watches the run from now on. To be called once.
    pub(crate) fn watched_by(&self, telemetry: Arc<dyn RunObserver>) {
        // A second one could only come with a second execution of the same lease, which there is
        // not.
        let _ = self.telemetry.set(telemetry);
    }

    pub(crate) fn telemetry(&self) -> Option<&Arc<dyn RunObserver>> {
        self.telemetry.get()
    }

    /// The client that waited for the run no longer does.
    pub(crate) fn handed_over(&self) {
        if let Some(telemetry) = self.telemetry() {
            telemetry.handed_over();
        }
    }

    pub(crate) fn id(&self) -> JobId {
        self.id
    }

    pub(crate) fn workflow(&self) -> &Arc<str> {
        &self.workflow
    }

    /// From now on everything that happens; `None` when nothing will any more.
    pub(crate) fn watch(&self) -> Option<broadcast::Receiver<LiveEvent>> {
        let mut log = self.log();
        let receiver = log.watch()?;
        if log.has_queued() {
            self.unsaved.notify_one();
        }
        Some(receiver)
    }

    /// A client of another replica watches the run for the next seconds.
    pub(crate) fn is_watched_elsewhere(&self) {
        if let Some(remote) = &self.remote {
            remote.begin(self.backing.host.elapsed());
            if self.log().has_queued() {
                self.unsaved.notify_one();
            }
        }
    }

    /// Whether a client of another replica watches the run.
    pub(crate) fn has_remote_watch(&self) -> bool {
        self.remote_watch().is_some()
    }

    fn remote_watch(&self) -> Option<&RemoteWatch> {
        let remote = self.remote.as_ref()?;
        remote.holds(self.backing.host.elapsed()).then_some(remote)
    }

    /// Reserves a watcher that will see the whole run, its first deltas too, for a client that can
    /// come only when the run has begun.
    pub(crate) fn reserve_watcher(&self) {
        self.log().reserve_watcher();
    }

    /// The reserved watcher.
    pub(crate) fn take_reserved_watcher(&self) -> Option<broadcast::Receiver<LiveEvent>> {
        self.log().take_reserved_watcher()
    }

    /// Waits until the run leaves this process; `None` when it did so without an end.
    pub(crate) async fn ended(&self) -> Option<Job> {
        loop {
            let left = self.left.notified();
            if let Some(end) = self.end.get() {
                return end.clone();
            }
            left.await;
        }
    }

    /// Ends all waiting and watching.
    pub(crate) fn leave(&self, end: Option<Job>) {
        self.log().close();
        if self.end.set(end).is_ok() {
            self.left.notify_waiters();
        }
    }

    /// Stores events whenever they should not wait; returns when the lease is lost.
    pub(crate) async fn keep_saving(&self) -> Error {
        let save = async {
            loop {
                tokio::select! {
                    biased;
                    () = self.unsaved.notified() => {}
                    () = self.aged() => {}
                }
                if let Err(lost) = self.save(None).await {
                    return lost;
                }
            }
        };
        tokio::select! {
            biased;
            lost = save => lost,
            never = self.send_deltas() => never,
        }
    }

    /// Sends deltas to clients of other replicas that watch.
    async fn send_deltas(&self) -> Error {
        let Some(remote) = &self.remote else {
            return std::future::pending().await;
        };
        loop {
            remote.collects().await;
            self.backing.host.sleep(COLLECT).await;
            remote.send();
        }
    }

    /// Waits until events have waited as long as they may.
    async fn aged(&self) {
        self.ages.notified().await;
        self.backing.host.sleep(MAX_AGE).await;
    }

    /// Stores the end of the job with its last event, which shows `masked_outputs` in place of the
    /// job's own where some of them are sensitive.
    pub(crate) async fn finish(
        &self,
        ending: &Ending,
        masked_outputs: Option<Json>,
    ) -> Result<Job, Error> {
        let lease = self.record.lease().await;
        let _turn = self.writing.lock().await;
        let (events, last) = self.last_events(ending, masked_outputs);
        let mut retries = Retries::of_store();
        let job = loop {
            match self
                .backing
                .store
                .finish(&lease, ending.clone(), events.clone())
                .await
            {
                Err(error @ Error::Unavailable(_)) => self.try_again(&error, &mut retries).await,
                result => break result?,
            }
        };
        self.log().end(last);
        Ok(job)
    }

    /// The same for a job that is not stored yet, in one commit. It cannot be watched.
    pub(crate) async fn store_ended(
        &self,
        job: NewJob,
        by: ReplicaId,
        ending: Ending,
        masked_outputs: Option<Json>,
    ) -> Result<Job, Error> {
        let (events, _) = self.last_events(&ending, masked_outputs);
        self.backing
            .store
            .submit_ended(job, by, ending, events)
            .await
    }

    /// The events to be stored with the end, and the last of them.
    fn last_events(
        &self,
        ending: &Ending,
        masked_outputs: Option<Json>,
    ) -> (Vec<StoredEvent>, StoredEvent) {
        let log = self.log();
        let kind = FinalEvent::of(ending, masked_outputs);
        let (name, id, at) = (kind.name(), log.last_id() + 1, ending.at);
        let last = self.stored(&log, name, Numbered { id, at, kind });
        let mut events = log.unsaved();
        events.push(last.clone());
        (events, last)
    }

    /// Stores the events that wait, and progress where there is some.
    async fn save(&self, progress: Option<Json>) -> Result<(), Error> {
        let lease = self.record.lease().await;
        let _turn = self.writing.lock().await;
        let events = self.log().unsaved();
        if progress.is_none() && events.is_empty() {
            return Ok(());
        }
        let up_to = events.last().map(|event| event.id);
        let mut retries = Retries::of_store();
        loop {
            match self
                .backing
                .store
                .checkpoint(&lease, progress.clone(), events.clone())
                .await
            {
                Err(error @ Error::Unavailable(_)) => self.try_again(&error, &mut retries).await,
                result => break result?,
            }
        }
        self.log().saved(up_to);
        if up_to.is_some()
            && let Some(remote) = self.remote_watch()
        {
            remote.stored();
        }
        Ok(())
    }

    /// Waits for a store that does not answer: what is to be stored has been paid for.
    async fn try_again(&self, error: &Error, retries: &mut Retries) {
        self.backing.store_health.note(error, &*self.backing.host);
        tracing::error!(job = %self.id(), %error, "cannot store a run; retrying");
        retries.pause(&*self.backing.host).await;
    }

    /// Gives the job back to the store, with the events it has had here.
    pub(crate) async fn hand_back(&self) -> Result<(), Error> {
        self.save(None).await?;
        let mut retries = Retries::of_store();
        loop {
            match self
                .backing
                .store
                .hand_back(&self.record.lease().await)
                .await
            {
                Err(error @ Error::Unavailable(_)) => self.try_again(&error, &mut retries).await,
                result => return result,
            }
        }
    }

    /// An event to be stored. Where no reader of it is known, its JSON is not written yet.
    fn stored<K: Serialize + Send + Sync + 'static>(
        &self,
        log: &EventLog,
        kind: &'static str,
        event: Numbered<K>,
    ) -> StoredEvent {
        let is_read = self.remote.is_some() || self.backing.store.is_durable() || log.is_watched();
        StoredEvent {
            id: event.id,
            kind: Cow::Borrowed(kind),
            data: if is_read {
                event.written()
            } else {
                event.written_later()
            },
        }
    }

    fn log(&self) -> MutexGuard<'_, EventLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for LiveRun {
    fn observe(&self, event: &RunEvent) {
        let mut log = self.log();
        match &event.kind {
            // `finish` makes it from the ending, when that is final.
            EventKind::RunCompleted { .. }
            | EventKind::RunFailed { .. }
            | EventKind::RunCancelled { .. } => {}
            kind @ EventKind::LlmDelta { .. } => {
                if let Some(remote) = self.remote_watch() {
                    remote.collect(log.last_id(), event.at, kind);
                }
                if !log.is_watched() {
                    return;
                }
                let (name, kind) = (name_of(kind), kind.clone());
                let delta = Numbered {
                    id: event.id,
                    at: event.at,
                    kind,
                };
                log.append_delta(Event {
                    id: None,
                    kind: Cow::Borrowed(name),
                    data: delta.written(),
                });
            }
            kind => {
                if let EventKind::NodeRetried {
                    node,
                    reason,
                    wait_ms,
                    ..
                } = kind
                    && *wait_ms >= LONG_WAIT_MS
                {
                    tracing::warn!(
                        job = %self.id(), %node, %reason, wait_s = wait_ms / 1_000,
                        "a run waits more than a minute for its next model call"
                    );
                }
                if let Some(remote) = self.remote_watch() {
                    // Those that come before it.
                    remote.send();
                }
                log.begin_event(event.id);
                let (id, at) = (event.id, event.at);
                let is_sealed = matches!(
                    kind,
                    EventKind::NodeCompleted {
                        sealed: Some(_),
                        ..
                    }
                );
                let event = if is_sealed {
                    let kept = Numbered {
                        id,
                        at,
                        kind: SealedEvent::of(kind),
                    };
                    StoredEvent {
                        id,
                        kind: Cow::Borrowed(name_of(kind)),
                        data: kept.written(),
                    }
                } else {
                    let kind = kind.clone();
                    self.stored(&log, name_of(&event.kind), Numbered { id, at, kind })
                };
                let is_replayed = self.backing.store.is_durable() && event.kind == PROGRESS_EVENT;
                let replayed = if is_replayed {
                    event.data.text().len()
                } else {
                    0
                };
                let is_first = !log.has_queued();
                if log.append(event, replayed) || self.has_remote_watch() {
                    self.unsaved.notify_one();
                } else if is_first && self.remote.is_some() {
                    self.ages.notify_one();
                }
            }
        }
    }
}

#[async_trait]
impl Checkpoint for LiveRun {
    async fn save(&self, progress: &Progress) -> Result<(), CheckpointError> {
        let whole = Json::of(&progress.without_inputs());
        let bytes = whole.text().len();
        LiveRun::save(self, Some(whole))
            .await
            .map_err(|error| CheckpointError(error.to_string()))?;
        self.log().progress_saved(progress.last_event, bytes);
        Ok(())
    }

    async fn save_execution(&self, progress: &Progress) -> Result<(), CheckpointError> {
        let is_due = self.log().is_progress_due(progress.last_event);
        if is_due {
            return Checkpoint::save(self, progress).await;
        }
        LiveRun::save(self, None)
            .await
            .map_err(|error| CheckpointError(error.to_string()))
    }
}
