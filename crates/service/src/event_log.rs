//! The events of a run that is here: those on their way into the store, and those who watch.
//!
//! An event is shown only after it is stored. Deltas are never stored: they pass through in order,
//! for those who watch at that moment.

use std::collections::VecDeque;

use jobs::store::{MAX_EVENTS, StoredEvent};
use tokio::sync::broadcast::{Receiver, Sender};

use crate::events::Event;

/// Events that wait at most before they are stored without anybody watching.
const UNSAVED: usize = 64;

/// Events after which the whole progress is saved again: stores drop the oldest ones of a job, and
/// those since the last whole progress are needed to go on from it.
const REPLAYED: u64 = MAX_EVENTS as u64 / 4;

/// The same in bytes of events, where the progress itself takes no more than that.
const REPLAYED_BYTES: usize = 1 << 20;

/// What those who watch a run are shown.
#[derive(Debug, Clone)]
pub(crate) enum LiveEvent {
    /// An event, stored by now. `previous` is the id of the one stored before it: a watcher that
    /// has not seen that one has missed something.
    Event { previous: u64, event: StoredEvent },
    /// A delta, and the id of the event before it.
    Delta { after: u64, event: Event },
}

#[derive(Debug)]
pub(crate) struct EventLog {
    last_id: u64,
    saved_id: u64,
    since_progress: SinceProgress,
    /// In order: events to be stored, and deltas that must not overtake them.
    queue: VecDeque<QueuedEvent>,
    /// Events and deltas a watcher may lag behind.
    buffer: usize,
    /// Made for the first who watches.
    watchers: Option<Sender<LiveEvent>>,
    /// For the client that asked for the run, which can only come when it has begun.
    reserved_watcher: Option<Receiver<LiveEvent>>,
    is_closed: bool,
}

#[derive(Debug)]
enum QueuedEvent {
    Event(StoredEvent),
    Delta(LiveEvent),
}

impl EventLog {
    /// `last_event` is the id of the last one stored, or 0.
    pub(crate) fn new(last_event: u64, buffer: usize) -> Self {
        Self {
            last_id: last_event,
            saved_id: last_event,
            since_progress: SinceProgress {
                last_event: 0,
                // How much that was before is not known.
                bytes: if last_event == 0 { 0 } else { REPLAYED_BYTES },
                progress_bytes: 0,
            },
            queue: VecDeque::new(),
            buffer,
            watchers: None,
            reserved_watcher: None,
            is_closed: false,
        }
    }

    pub(crate) fn last_id(&self) -> u64 {
        self.last_id
    }

    /// Whether events or deltas wait for the store.
    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watchers
            .as_ref()
            .is_some_and(|watchers| watchers.receiver_count() > 0)
    }

    /// From now on everything that happens; `None` when nothing will any more.
    pub(crate) fn watch(&mut self) -> Option<Receiver<LiveEvent>> {
        (!self.is_closed).then(|| self.watchers().subscribe())
    }

    /// Reserves a watcher that will see the whole run, its first deltas too.
    pub(crate) fn reserve_watcher(&mut self) {
        self.reserved_watcher = Some(self.watchers().subscribe());
    }

    pub(crate) fn take_reserved_watcher(&mut self) -> Option<Receiver<LiveEvent>> {
        self.reserved_watcher.take()
    }

    /// Lets everybody who watches go.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.watchers = None;
    }

    /// The id of an event that follows. Its text depends on who watches, so it is appended
    /// afterwards.
    pub(crate) fn begin_event(&mut self, id: u64) {
        self.last_id = id;
    }

    /// Queues an event; whether it should be stored at once. `replayed` bytes of it are needed to
    /// go on from the progress that was saved last.
    pub(crate) fn append(&mut self, event: StoredEvent, replayed: usize) -> bool {
        self.since_progress.bytes += replayed;
        self.queue.push_back(QueuedEvent::Event(event));
        self.is_watched() || self.queue.len() >= UNSAVED
    }

    /// Shows a delta, after the events that wait for the store.
    pub(crate) fn append_delta(&mut self, event: Event) {
        let after = self.last_id;
        let delta = LiveEvent::Delta { after, event };
        if self.queue.is_empty() {
            self.show(delta);
        } else if self.queue.len() < self.buffer {
            self.queue.push_back(QueuedEvent::Delta(delta));
        }
    }

    /// Shows the last event, which was stored with all that waited.
    pub(crate) fn end(&mut self, last: StoredEvent) {
        let id = last.id;
        self.queue.push_back(QueuedEvent::Event(last));
        self.saved(Some(id));
    }

    /// The events to be stored.
    pub(crate) fn unsaved(&self) -> Vec<StoredEvent> {
        let event = |queued: &QueuedEvent| match queued {
            QueuedEvent::Event(event) => Some(event.clone()),
            QueuedEvent::Delta(_) => None,
        };
        self.queue.iter().filter_map(event).collect()
    }

    /// Shows the events up to that id, and the deltas before the next one.
    pub(crate) fn saved(&mut self, up_to: Option<u64>) {
        let saved = up_to.unwrap_or(self.saved_id);
        while let Some(next) = self.queue.pop_front() {
            let shown = match next {
                QueuedEvent::Event(event) if event.id > saved => {
                    self.queue.push_front(QueuedEvent::Event(event));
                    return;
                }
                QueuedEvent::Event(event) => {
                    let previous = std::mem::replace(&mut self.saved_id, event.id);
                    LiveEvent::Event { previous, event }
                }
                QueuedEvent::Delta(delta) => delta,
            };
            self.show(shown);
        }
    }

    /// Whether the whole progress is to be saved again, whose last event is this one.
    pub(crate) fn is_progress_due(&self, last_event: u64) -> bool {
        self.since_progress.is_due(last_event)
    }

    /// The whole progress was saved.
    pub(crate) fn progress_saved(&mut self, last_event: u64, progress_bytes: usize) {
        self.since_progress = SinceProgress {
            last_event,
            bytes: 0,
            progress_bytes,
        };
    }

    fn watchers(&mut self) -> &Sender<LiveEvent> {
        let buffer = self.buffer.max(1);
        self.watchers.get_or_insert_with(|| Sender::new(buffer))
    }

    fn show(&self, event: LiveEvent) {
        if let Some(watchers) = &self.watchers {
            // It fails when nobody watches any more, which is nobody's loss.
            let _ = watchers.send(event);
        }
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
    /// Whether to save it again: before the store drops events that are needed to go on from it,
    /// and when those have come to as much as itself. So what is written of it is never more than a
    /// multiple of what the nodes produced.
    fn is_due(&self, last_event: u64) -> bool {
        last_event >= self.last_event + REPLAYED
            || self.bytes >= self.progress_bytes.max(REPLAYED_BYTES)
    }
}
