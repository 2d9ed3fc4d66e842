//! A way to the exporter that never blocks and never grows beyond its bounds. What does not fit is dropped
//! and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntCounter;
use tokio::sync::mpsc;

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
    pub(crate) dropped: IntCounter,
    sender: mpsc::UnboundedSender<T>,
}

impl<T> Queue<T> {
    pub(crate) fn new(
        budget: Arc<Budget>,
        dropped: IntCounter,
    ) -> (Self, mpsc::UnboundedReceiver<T>) {
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
            self.dropped.inc();
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
}
