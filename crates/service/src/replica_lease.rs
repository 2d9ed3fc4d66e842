//! The lease of this process on the jobs it runs.
//!
//! A replica registers, and beats three times within its lease. It relies on the lease only for as
//! long as no other replica can have been given its jobs, counted from *before* the beat was sent on
//! the monotonic clock: a shared store judges by its own clock, and the answer may have taken long. A
//! margin before that it begins no model call any more, and at the end it gives up its runs. One that
//! was declared dead meanwhile gives them up at once and registers again, as another.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Of the lease: the margin in which nothing new is begun, at least [`LEAST_MARGIN`].
const MARGIN: u32 = 10;
const LEAST_MARGIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct ReplicaLease {
    lasts: Duration,
    /// On the host's monotonic clock; `None` before the first registration and once it is given up.
    ends_at: Mutex<Option<Duration>>,
    was_renewed: Notify,
}

impl ReplicaLease {
    pub(crate) fn new(lasts: Duration) -> Self {
        Self {
            lasts,
            ends_at: Mutex::new(None),
            was_renewed: Notify::new(),
        }
    }

    pub(crate) fn lasts(&self) -> Duration {
        self.lasts
    }

    /// How long to wait between two beats.
    pub(crate) fn beat_every(&self) -> Duration {
        self.lasts / 3
    }

    /// A beat that was sent at that time, or a registration, was answered.
    pub(crate) fn renewed(&self, sent_at: Duration) {
        *self.ends_at() = Some(sent_at.saturating_add(self.lasts));
        self.was_renewed.notify_waiters();
    }

    /// The jobs that are here may be given to others from now on.
    pub(crate) fn give_up(&self) {
        *self.ends_at() = None;
    }

    /// Whether the lease holds at that time, with a margin: whether something may be begun.
    pub(crate) fn is_relied_on(&self, now: Duration) -> bool {
        let margin = (self.lasts / MARGIN).max(LEAST_MARGIN).min(self.lasts / 2);
        let ends_at = *self.ends_at();
        ends_at.is_some_and(|ends_at| now.saturating_add(margin) < ends_at)
    }

    /// The time until it ends without another renewal; `None` where it has been given up.
    pub(crate) fn left(&self, now: Duration) -> Option<Duration> {
        let ends_at = *self.ends_at();
        ends_at.map(|ends_at| ends_at.saturating_sub(now))
    }

    /// Waits for a renewal after this call.
    pub(crate) fn renewal(&self) -> Notified<'_> {
        self.was_renewed.notified()
    }

    /// Whole whoever panicked: each change is one assignment.
    fn ends_at(&self) -> MutexGuard<'_, Option<Duration>> {
        self.ends_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn second(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn nothing_is_begun_before_the_first_registration() {
        let lease = ReplicaLease::new(LEASE);
        assert!(!lease.is_relied_on(second(0)));
        assert_eq!(lease.left(second(0)), None);
    }

    #[test]
    fn the_lease_counts_from_before_the_beat_and_is_relied_on_until_a_margin_before_its_end() {
        let lease = ReplicaLease::new(LEASE);
        lease.renewed(second(100));
        assert!(lease.is_relied_on(second(126)));
        assert!(!lease.is_relied_on(second(127)), "a tenth is left");
        assert_eq!(lease.left(second(127)), Some(second(3)));
        assert_eq!(lease.left(second(131)), Some(second(0)));
        lease.renewed(second(110));
        assert!(lease.is_relied_on(second(127)));
    }

    #[test]
    fn a_short_lease_keeps_half_of_itself_at_most_as_margin() {
        let lease = ReplicaLease::new(second(2));
        lease.renewed(second(0));
        assert!(lease.is_relied_on(Duration::from_millis(900)));
        assert!(!lease.is_relied_on(second(1)));
    }

    #[test]
    fn a_lease_that_was_given_up_is_not_relied_on() {
        let lease = ReplicaLease::new(LEASE);
        lease.renewed(second(0));
        lease.give_up();
        assert!(!lease.is_relied_on(second(1)));
    }
}
