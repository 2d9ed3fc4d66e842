//! A queue to the exporter that never blocks and never grows beyond its bounds. What does not fit
//! is dropped and counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntCounter;
use tokio::sync::mpsc;

use crate::export::LogThrottle;

/// Counts what is dropped for a sink, and warns the first time, the 10th, the 100th, …
#[derive(Debug)]
pub(crate) struct DropCounter {
    sink: &'static str,
    /// What is dropped, as it is called in warnings.
    what: &'static str,
    counter: IntCounter,
    warnings: Mutex<LogThrottle>,
}

impl DropCounter {
    pub(crate) fn new(sink: &'static str, what: &'static str, counter: IntCounter) -> Self {
        Self {
            sink,
            what,
            counter,
            warnings: Mutex::default(),
        }
    }

    /// Counts one dropped entry.
    pub(crate) fn count(&self) {
        self.counter.inc();
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dropped) = warnings.due() {
            tracing::warn!(
                sink = self.sink,
                dropped,
                "telemetry is dropped because the sink cannot keep up: {}",
                self.what
            );
        }
    }
}

/// Limits of the bytes and entries in a queue, including those that its worker still holds.
#[derive(Debug)]
pub(crate) struct QueueBudget {
    max_bytes: usize,
    max_entries: usize,
    bytes: AtomicUsize,
    entries: AtomicUsize,
}

impl QueueBudget {
    pub(crate) fn new(max_entries: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            max_bytes,
            max_entries,
            bytes: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
        })
    }

    /// The current number of entries.
    pub(crate) fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Permission for one more entry, unless the queue is full.
    pub(crate) fn take_entry(self: &Arc<Self>) -> Option<EntryPermit> {
        let was = self.entries.fetch_add(1, Ordering::Relaxed);
        let permit = EntryPermit {
            budget: self.clone(),
        };
        // If it does not fit, dropping the permit gives the entry back.
        let fits = was < self.max_entries && self.bytes.load(Ordering::Relaxed) < self.max_bytes;
        fits.then_some(permit)
    }

    /// Permission for that many bytes, unless they do not fit.
    pub(crate) fn take_bytes(self: &Arc<Self>, bytes: usize) -> Option<BytePermit> {
        let was = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let permit = BytePermit {
            budget: self.clone(),
            bytes,
        };
        (was.saturating_add(bytes) <= self.max_bytes).then_some(permit)
    }
}

/// Permission for one entry; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct EntryPermit {
    budget: Arc<QueueBudget>,
}

impl Drop for EntryPermit {
    fn drop(&mut self) {
        self.budget.entries.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Permission for a number of bytes; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct BytePermit {
    budget: Arc<QueueBudget>,
    bytes: usize,
}

impl Drop for BytePermit {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Entries on their way. Their number is bounded by the permits that they hold.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    pub(crate) budget: Arc<QueueBudget>,
    pub(crate) dropped: DropCounter,
    sender: mpsc::UnboundedSender<T>,
}

impl<T> Queue<T> {
    pub(crate) fn new(
        budget: Arc<QueueBudget>,
        dropped: DropCounter,
    ) -> (Self, mpsc::UnboundedReceiver<T>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let queue = Self {
            budget,
            dropped,
            sender,
        };
        (queue, receiver)
    }

    /// Passes an entry on that holds its permits already.
    pub(crate) fn send(&self, entry: T) {
        if self.sender.send(entry).is_err() {
            // The exporter has ended, because the process is about to.
            self.dropped.count();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_bytes_are_bounded_and_given_back() {
        let budget = QueueBudget::new(2, 100);
        let first = budget.take_entry().expect("room");
        let _second = budget.take_entry().expect("room");
        assert!(budget.take_entry().is_none());
        drop(first);
        let third = budget.take_entry();
        assert!(third.is_some());
        let permit = budget.take_bytes(90).expect("room");
        assert!(budget.take_bytes(20).is_none());
        drop(permit);
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
        let drops = DropCounter::new("mlflow", "runs", counter.clone());
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
