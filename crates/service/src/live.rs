//! A run while it is in this process: its events on their way into the store and to those who watch.
//!
//! An event is told only after it is stored, so that whoever resumes from its id finds it again, here
//! or at another process. While nobody watches, events wait for the next checkpoint; somebody who
//! watches, or many events at once, have them stored right away. Deltas are never stored: they pass
//! through in order, for those who watch at that moment.
//!
//! A run may begin before its job is stored. Until then it has no lease, and whatever it would store
//! waits for one: so nothing of it is told, and it does not end.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use engine::event::{EventKind, RunEvent, SealedEvent};
use engine::host::Host;
use engine::observer::Observer;
use engine::progress::{Checkpoint, CheckpointError, Progress};
use engine::watch::RunObserver;
use jobs::job::{Ending, Job, JobId, NewJob};
use jobs::json::Json;
use jobs::store::{Claimant, Error, JobStore, Lease, MAX_EVENTS, PROGRESS_EVENT, StoredEvent};
use serde::Serialize;
use tokio::sync::{Notify, SetOnce, broadcast, oneshot};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::events::{Event, FinalEvent};
use crate::numbered::Numbered;
use crate::runs::{Accepted, SubmitError};
use crate::service::Shared;
use crate::store_health::StoreHealth;

/// A longer wait for the next attempt at a model is worth a line in the log.
const LONG_WAIT_MS: u64 = 60_000;

/// Events that wait at most before they are stored without anybody watching.
const UNSAVED: usize = 64;

/// Events after which the whole progress is saved again: stores drop the oldest ones of a job, and those
/// since the last whole progress are needed to go on from it.
const REPLAYED: u64 = MAX_EVENTS as u64 / 4;

/// The same in bytes of events, where the progress itself takes no more than that.
const REPLAYED_BYTES: usize = 1 << 20;

pub(crate) struct LiveRun {
    store: Arc<dyn JobStore>,
    store_health: Arc<StoreHealth>,
    host: Arc<dyn Host>,
    id: JobId,
    workflow: Arc<str>,
    lease: SetOnce<Lease>,
    /// Somebody waits for the lease.
    wants_lease: Notify,
    /// The job, until it is being stored, where that waits for the run: see `admission`.
    unstored: Mutex<Option<Unstored>>,
    log: Mutex<Log>,
    /// Held during a write to the store: events are stored in their order.
    writing: tokio::sync::Mutex<()>,
    /// There are events to be stored.
    unsaved: Notify,
    event_buffer: usize,
    /// The job is to end as cancelled.
    pub(crate) cancel: CancellationToken,
    /// The run is to stop here without an end.
    pub(crate) abandon: CancellationToken,
    /// Once it has left this process: the job, if it ended here.
    end: OnceLock<Option<Job>>,
    left: Notify,
    /// Who watches it beside those who asked for it.
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

#[derive(Debug)]
struct Log {
    last_id: u64,
    saved_id: u64,
    since_progress: SinceProgress,
    /// In order: events to be stored, and deltas that must not overtake them.
    waiting: VecDeque<QueuedEvent>,
    /// Made for the first who watches.
    watchers: Option<broadcast::Sender<LiveEvent>>,
    /// A place that is kept for whoever asked for the run.
    reserved_watcher: Option<broadcast::Receiver<LiveEvent>>,
    closed: bool,
}

#[derive(Debug)]
enum QueuedEvent {
    Event(StoredEvent),
    Delta(LiveEvent),
}

/// A job that is not stored yet, and whoever waits for that.
#[derive(Debug)]
pub(crate) struct Unstored {
    pub(crate) job: Box<NewJob>,
    pub(crate) reply: Reply,
}

/// Tells whoever asked for a job what became of it.
pub(crate) type Reply = oneshot::Sender<Result<Accepted, SubmitError>>;

/// What those who watch are told.
#[derive(Debug, Clone)]
pub(crate) enum LiveEvent {
    /// An event, stored by now. `previous` is the id of the one stored before it: who has not seen that
    /// has missed something.
    Event { previous: u64, event: StoredEvent },
    /// A delta, and the id of the event before it.
    Delta { after: u64, event: Event },
}

impl LiveRun {
    /// `last_event` is the id of the last one stored, or 0.
    pub(crate) fn new(shared: &Shared, id: JobId, workflow: Arc<str>, last_event: u64) -> Self {
        Self {
            store: shared.store.clone(),
            store_health: shared.store_health.clone(),
            host: shared.host.clone(),
            id,
            workflow,
            lease: SetOnce::new(),
            wants_lease: Notify::new(),
            unstored: Mutex::default(),
            log: Mutex::new(Log {
                last_id: last_event,
                saved_id: last_event,
                since_progress: SinceProgress {
                    last_event: 0,
                    // How much that was before is not known.
                    bytes: if last_event == 0 { 0 } else { REPLAYED_BYTES },
                    progress_bytes: 0,
                },
                waiting: VecDeque::new(),
                watchers: None,
                reserved_watcher: None,
                closed: false,
            }),
            writing: tokio::sync::Mutex::default(),
            unsaved: Notify::new(),
            event_buffer: shared.settings.event_buffer,
            cancel: CancellationToken::new(),
            abandon: shared.abandon_runs.child_token(),
            end: OnceLock::new(),
            left: Notify::new(),
            telemetry: OnceLock::new(),
        }
    }

    /// It is watched from now on. To be called once.
    pub(crate) fn watched_by(&self, telemetry: Arc<dyn RunObserver>) {
        // A second one could only come with a second execution of the same lease, which there is not.
        let _ = self.telemetry.set(telemetry);
    }

    pub(crate) fn telemetry(&self) -> Option<&Arc<dyn RunObserver>> {
        self.telemetry.get()
    }

    /// Whoever waited for it no longer does.
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

    /// The job is stored and ours. To be called once.
    pub(crate) fn grant(&self, lease: Lease) {
        // A second lease could only be another one of the same job; the store decides which holds.
        let _ = self.lease.set(lease);
    }

    /// Waits until the job is stored.
    pub(crate) async fn lease(&self) -> &Lease {
        self.wants_lease.notify_one();
        self.lease.wait().await
    }

    /// Its job is stored when somebody wants its lease, or after a while; or with its end if that is
    /// earlier.
    pub(crate) fn hold(&self, unstored: Unstored) {
        *self.unstored() = Some(unstored);
    }

    /// Whoever gets it has to store it; nobody else need wait to do that.
    pub(crate) fn take_unstored(&self) -> Option<Unstored> {
        self.wants_lease.notify_one();
        self.unstored().take()
    }

    /// Waits until the job should be stored.
    pub(crate) async fn lease_wanted(&self) {
        self.wants_lease.notified().await;
    }

    fn unstored(&self) -> MutexGuard<'_, Option<Unstored>> {
        self.unstored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` until the job is stored.
    pub(crate) fn granted(&self) -> Option<&Lease> {
        self.lease.get()
    }

    /// From now on everything that happens; `None` when nothing will any more.
    pub(crate) fn watch(&self) -> Option<broadcast::Receiver<LiveEvent>> {
        let mut log = self.log();
        if log.closed {
            return None;
        }
        let receiver = log.watchers(self.event_buffer).subscribe();
        if !log.waiting.is_empty() {
            self.unsaved.notify_one();
        }
        Some(receiver)
    }

    /// Keeps a place from which the whole run will be seen, its first deltas too, for somebody who can
    /// only come when it has begun.
    pub(crate) fn reserve_watcher(&self) {
        let mut log = self.log();
        log.reserved_watcher = Some(log.watchers(self.event_buffer).subscribe());
    }

    /// The place that was kept.
    pub(crate) fn take_reserved_watcher(&self) -> Option<broadcast::Receiver<LiveEvent>> {
        self.log().reserved_watcher.take()
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

    /// Lets everybody who waits or watches go.
    pub(crate) fn leave(&self, end: Option<Job>) {
        let mut log = self.log();
        log.closed = true;
        log.watchers = None;
        drop(log);
        if self.end.set(end).is_ok() {
            self.left.notify_waiters();
        }
    }

    /// Stores events whenever they should not wait; returns when the job is no longer ours.
    pub(crate) async fn keep_saving(&self) -> Error {
        loop {
            self.unsaved.notified().await;
            if let Err(lost) = self.save(None).await {
                return lost;
            }
        }
    }

    /// Stores the end of the job, with its last event; that shows other outputs than the job's own where
    /// some of them are sensitive.
    pub(crate) async fn finish(
        &self,
        ending: &Ending,
        masked_outputs: Option<Json>,
    ) -> Result<Job, Error> {
        let lease = self.lease().await;
        let _turn = self.writing.lock().await;
        let (events, last) = self.last_events(ending, masked_outputs);
        let mut backoff = Backoff::for_store();
        let job = loop {
            match self
                .store
                .finish(lease, ending.clone(), events.clone())
                .await
            {
                Err(error @ Error::Unavailable(_)) => self.try_again(&error, &mut backoff).await,
                result => break result?,
            }
        };
        let mut log = self.log();
        let id = last.id;
        log.waiting.push_back(QueuedEvent::Event(last));
        log.saved(Some(id));
        Ok(job)
    }

    /// The same for a job that is not stored yet, in one go. Nobody can be watching.
    pub(crate) async fn store_ended(
        &self,
        job: NewJob,
        by: &Claimant,
        ending: Ending,
        masked_outputs: Option<Json>,
    ) -> Result<Job, Error> {
        let (events, _) = self.last_events(&ending, masked_outputs);
        self.store.submit_ended(job, by, ending, events).await
    }

    /// The events to be stored with the end, and the last of them.
    fn last_events(
        &self,
        ending: &Ending,
        masked_outputs: Option<Json>,
    ) -> (Vec<StoredEvent>, StoredEvent) {
        let log = self.log();
        let kind = FinalEvent::of(ending, masked_outputs);
        let (name, id, at) = (kind.name(), log.last_id + 1, ending.at);
        let last = self.stored(&log, name, Numbered { id, at, kind });
        let mut events = log.unsaved();
        events.push(last.clone());
        (events, last)
    }

    /// Stores the events that wait, and progress where there is some.
    async fn save(&self, progress: Option<Json>) -> Result<(), Error> {
        let lease = self.lease().await;
        let _turn = self.writing.lock().await;
        let events = self.log().unsaved();
        if progress.is_none() && events.is_empty() {
            return Ok(());
        }
        let up_to = events.last().map(|event| event.id);
        let mut backoff = Backoff::for_store();
        loop {
            match self
                .store
                .checkpoint(lease, progress.clone(), events.clone())
                .await
            {
                Err(error @ Error::Unavailable(_)) => self.try_again(&error, &mut backoff).await,
                result => break result?,
            }
        }
        self.log().saved(up_to);
        Ok(())
    }

    /// A store that does not answer is waited for: what is to be stored has been paid for.
    async fn try_again(&self, error: &Error, backoff: &mut Backoff) {
        self.store_health.note(error, &*self.host);
        tracing::error!(job = %self.id(), %error, "a run could not be stored; trying again");
        backoff.pause(&*self.host).await;
    }

    /// Gives the job back to the store, with the events it has had here.
    pub(crate) async fn hand_back(&self) -> Result<(), Error> {
        self.save(None).await?;
        let mut backoff = Backoff::for_store();
        loop {
            match self.store.hand_back(self.lease().await).await {
                Err(error @ Error::Unavailable(_)) => self.try_again(&error, &mut backoff).await,
                result => return result,
            }
        }
    }

    /// An event to be stored. Where nobody is known to read it, it is not written yet.
    fn stored<K: Serialize + Send + Sync + 'static>(
        &self,
        log: &Log,
        kind: &'static str,
        event: Numbered<K>,
    ) -> StoredEvent {
        let is_read = self.store.is_durable() || log.is_watched();
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

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn watchers(&mut self, buffer: usize) -> &broadcast::Sender<LiveEvent> {
        self.watchers
            .get_or_insert_with(|| broadcast::Sender::new(buffer.max(1)))
    }

    fn is_watched(&self) -> bool {
        self.watchers
            .as_ref()
            .is_some_and(|watchers| watchers.receiver_count() > 0)
    }

    fn unsaved(&self) -> Vec<StoredEvent> {
        let event = |waiting: &QueuedEvent| match waiting {
            QueuedEvent::Event(event) => Some(event.clone()),
            QueuedEvent::Delta(_) => None,
        };
        self.waiting.iter().filter_map(event).collect()
    }

    /// Tells of the events up to that id, and of the deltas before the next one.
    fn saved(&mut self, up_to: Option<u64>) {
        let saved = up_to.unwrap_or(self.saved_id);
        while let Some(next) = self.waiting.pop_front() {
            let live = match next {
                QueuedEvent::Event(event) if event.id > saved => {
                    self.waiting.push_front(QueuedEvent::Event(event));
                    return;
                }
                QueuedEvent::Event(event) => {
                    let previous = std::mem::replace(&mut self.saved_id, event.id);
                    LiveEvent::Event { previous, event }
                }
                QueuedEvent::Delta(live) => live,
            };
            self.tell(live);
        }
    }

    fn tell(&self, live: LiveEvent) {
        if let Some(watchers) = &self.watchers {
            // It fails when nobody watches any more, which is nobody's loss.
            let _ = watchers.send(live);
        }
    }
}

impl Observer for LiveRun {
    fn observe(&self, event: &RunEvent) {
        let mut log = self.log();
        match &event.kind {
            // Made of the ending, by `finish`, where it is known to be the end.
            EventKind::RunCompleted { .. }
            | EventKind::RunFailed { .. }
            | EventKind::RunCancelled { .. } => {}
            EventKind::LlmDelta { .. } if !log.is_watched() => {}
            kind @ EventKind::LlmDelta { .. } => {
                let after = log.last_id;
                let (name, kind) = (name(kind), kind.clone());
                let delta = Numbered {
                    id: event.id,
                    at: event.at,
                    kind,
                };
                let event = Event {
                    id: None,
                    kind: Cow::Borrowed(name),
                    data: delta.written(),
                };
                let live = LiveEvent::Delta { after, event };
                if log.waiting.is_empty() {
                    log.tell(live);
                } else if log.waiting.len() < self.event_buffer {
                    log.waiting.push_back(QueuedEvent::Delta(live));
                }
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
                        "a run waits long for the next attempt at its model"
                    );
                }
                log.last_id = event.id;
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
                        kind: Cow::Borrowed(name(kind)),
                        data: kept.written(),
                    }
                } else {
                    let kind = kind.clone();
                    self.stored(&log, name(&event.kind), Numbered { id, at, kind })
                };
                if self.store.is_durable() && event.kind == PROGRESS_EVENT {
                    log.since_progress.bytes += event.data.text().len();
                }
                log.waiting.push_back(QueuedEvent::Event(event));
                if log.is_watched() || log.waiting.len() >= UNSAVED {
                    self.unsaved.notify_one();
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
        self.log().since_progress = SinceProgress {
            last_event: progress.last_event,
            bytes: 0,
            progress_bytes: bytes,
        };
        Ok(())
    }

    async fn save_execution(&self, progress: &Progress) -> Result<(), CheckpointError> {
        let is_due = self.log().since_progress.is_due(progress.last_event);
        if is_due {
            return Checkpoint::save(self, progress).await;
        }
        LiveRun::save(self, None)
            .await
            .map_err(|error| CheckpointError(error.to_string()))
    }
}

/// What has been stored since the whole progress was.
#[derive(Debug, Clone, Copy)]
struct SinceProgress {
    /// The last event that the progress knows of.
    last_event: u64,
    /// Of events that the run would be brought up by.
    bytes: usize,
    /// Of the progress itself.
    progress_bytes: usize,
}

impl SinceProgress {
    /// Whether to save it again: before the store drops events that are needed to go on from it, and when
    /// those have come to as much as itself. So what is written of it is never more than a multiple of what
    /// the nodes produced.
    fn is_due(&self, last_event: u64) -> bool {
        last_event >= self.last_event + REPLAYED
            || self.bytes >= self.progress_bytes.max(REPLAYED_BYTES)
    }
}

/// `event` as it stands in JSON.
fn name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::RunStarted { .. } => "run_started",
        EventKind::NodeStarted { .. } => "node_started",
        EventKind::LlmDelta { .. } => "llm_delta",
        EventKind::NodeRetried { .. } => "node_retried",
        EventKind::NodeWarning { .. } => "node_warning",
        EventKind::NodeCompleted { .. } => "node_completed",
        EventKind::NodeFailed { .. } => "node_failed",
        EventKind::GateFailed { .. } => "gate_failed",
        EventKind::RunCompleted { .. } => "run_completed",
        EventKind::RunFailed { .. } => "run_failed",
        EventKind::RunCancelled { .. } => "run_cancelled",
    }
}
