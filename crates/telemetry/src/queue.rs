//! A way to the exporter that never blocks and never grows beyond its bounds. What does not fit is dropped
//! and counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntCounter;
use tokio::sync::mpsc;

use crate::export::Seldom;

/// Counts what a sink has to do without, and says so the first time, the 10th, the 100th, …
#[derive(Debug)]
pub(crate) struct Drops {
    sink: &'static str,
    /// What is dropped, for people.
    what: &'static str,
    counter: IntCounter,
    told: Mutex<Seldom>,
}

impl Drops {
    pub(crate) fn new(sink: &'static str, what: &'static str, counter: IntCounter) -> Self {
        Self {
            sink,
            what,
            counter,
            told: Mutex::default(),
        }
    }

    /// One more.
    pub(crate) fn count(&self) {
        self.counter.inc();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dropped) = told.now() {
            tracing::warn!(
                sink = self.sink,
                dropped,
                "telemetry is dropped, since the sink does not keep up: {}",
                self.what
            );
        }
    }
}

/// Bytes and entries that may be on their way, or waiting at the other end.
#[derive(Debug)]
pub(crate) struct Budget {
    max_bytes: usize,
    max_entries: usize,
    bytes: AtomicUsize,
    entries: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(max_entries: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            max_bytes,
            max_entries,
            bytes: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
        })
    }

    /// How many there are.
    pub(crate) fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// A place for one more entry, if there is one.
    pub(crate) fn take_entry(self: &Arc<Self>) -> Option<Place> {
        let was = self.entries.fetch_add(1, Ordering::Relaxed);
        let place = Place {
            budget: self.clone(),
        };
        // Otherwise its drop gives back what was taken too much.
        let fits = was < self.max_entries && self.bytes.load(Ordering::Relaxed) < self.max_bytes;
        fits.then_some(place)
    }

    /// Room for so many bytes, if there is any.
    pub(crate) fn take_bytes(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let was = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let room = Room {
            budget: self.clone(),
            bytes,
        };
        (was.saturating_add(bytes) <= self.max_bytes).then_some(room)
    }
}

/// One entry's place; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    budget: Arc<Budget>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.budget.entries.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Room for bytes; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Entries on their way. Their number is bounded by the places they hold.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    pub(crate) budget: Arc<Budget>,
    pub(crate) dropped: Drops,
    sender: mpsc::UnboundedSender<T>,
}

impl<T> Queue<T> {
    pub(crate) fn new(budget: Arc<Budget>, dropped: Drops) -> (Self, mpsc::UnboundedReceiver<T>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let queue = Self {
            budget,
            dropped,
            sender,
        };
        (queue, receiver)
    }

    /// Passes something on whose place was taken before.
    pub(crate) fn send(&self, entry: T) {
        if self.sender.send(entry).is_err() {
            // The exporter has ended: the process is about to.
            self.dropped.count();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_bytes_are_bounded_and_given_back() {
        let budget = Budget::new(2, 100);
        let first = budget.take_entry().expect("room");
        let _second = budget.take_entry().expect("room");
        assert!(budget.take_entry().is_none());
        drop(first);
        let third = budget.take_entry();
        assert!(third.is_some());
        let room = budget.take_bytes(90).expect("room");
        assert!(budget.take_bytes(20).is_none());
        drop(room);
        assert!(budget.take_bytes(100).is_some());
    }

    /// Log lines, kept.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(piece);
            Ok(piece.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_dropped_is_said_while_it_is_counted() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        let counter = IntCounter::new("dropped", "Dropped.").unwrap();
        let drops = Drops::new("mlflow", "runs", counter.clone());
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..100 {
                drops.count();
            }
        });
        assert_eq!(counter.get(), 100);
        let told = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(told.lines().count(), 3, "{told}");
        for dropped in ["dropped=1", "dropped=10", "dropped=100"] {
            assert!(told.contains(dropped), "{told}");
        }
    }
}
