//! Memory for answers that are being read, shared by all calls of a process.
//!
//! The first [`FREE`] bytes of each answer are not counted: nearly all answers are shorter. A
//! longer answer reserves the rest, and waits if nothing is left. The memory for one answer of the
//! greatest length is set apart for the one that waits first. So one of them can always be read to
//! its end and then frees its memory for the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of each answer that are not counted.
const FREE: usize = 64 << 10;
/// Memory is counted in pieces of this many bytes.
const UNIT: usize = 1 << 10;

/// The memory for all answers.
#[derive(Debug)]
pub(super) struct BodyBudget {
    shared: Arc<Semaphore>,
    /// For one answer at a time, whatever its length.
    last: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// The memory that one answer has reserved; dropping it gives that back.
#[derive(Debug)]
pub(crate) struct BodyReservation {
    budget: Arc<BodyBudget>,
    held: Option<OwnedSemaphorePermit>,
    last: Option<OwnedSemaphorePermit>,
}

impl BodyBudget {
    /// `total` bytes for all, of which any one answer takes `longest` at most.
    pub(super) fn new(total: usize, longest: usize) -> Self {
        let shared = (total.saturating_sub(longest) / UNIT).min(Semaphore::MAX_PERMITS);
        Self {
            shared: Arc::new(Semaphore::new(shared)),
            last: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// The reservation of a new answer.
    pub(super) fn share(self: &Arc<Self>) -> BodyReservation {
        BodyReservation {
            budget: Arc::clone(self),
            held: None,
            last: None,
        }
    }
}

impl BodyReservation {
    /// Waits until this answer can have that many bytes in total.
    pub(super) async fn grow(&mut self, bytes: usize) {
        if self.last.is_some() {
            return;
        }
        let more = units(bytes).saturating_sub(self.units());
        let Ok(more) = u32::try_from(more) else {
            return;
        };
        if more == 0 {
            return;
        }
        let budget = Arc::clone(&self.budget);
        let shared = Arc::clone(&budget.shared);
        if let Ok(permit) = Arc::clone(&shared).try_acquire_many_owned(more) {
            self.add(permit);
            return;
        }
        let _waiting = Waiting::begin(&budget.waiting);
        let last = Arc::clone(&budget.last);
        // Neither fails: nobody closes them.
        tokio::select! {
            biased;
            Ok(permit) = last.acquire_owned() => self.last = Some(permit),
            Ok(permit) = shared.acquire_many_owned(more) => self.add(permit),
            else => {}
        }
    }

    /// Gives back what is reserved beyond that many bytes.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let surplus = self.units().saturating_sub(units(bytes));
        if let Some(held) = &mut self.held
            && surplus > 0
        {
            drop(held.split(surplus));
        }
    }

    fn units(&self) -> usize {
        self.held
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn add(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
    }
}

fn units(bytes: usize) -> usize {
    bytes.saturating_sub(FREE).div_ceil(UNIT)
}

/// Counts the waiting answers, and logs once for all of them.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                "long answers of models take all memory that is set aside for them \
                 (--model-answer-memory); further ones wait"
            );
        }
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    const LONGEST: usize = 1 << 20;

    fn budget(answers: usize) -> Arc<BodyBudget> {
        Arc::new(BodyBudget::new(answers * LONGEST, LONGEST))
    }

    /// Whether that many bytes are available at once.
    fn grows(share: &mut BodyReservation, bytes: usize) -> bool {
        let mut growing = pin!(share.grow(bytes));
        let mut context = Context::from_waker(Waker::noop());
        growing.as_mut().poll(&mut context).is_ready()
    }

    #[test]
    fn long_answers_wait_for_one_another_and_short_ones_do_not() {
        let budget = budget(2);
        let mut shares: Vec<BodyReservation> = (0..3).map(|_| budget.share()).collect();
        assert!(grows(&mut shares[0], FREE + LONGEST));
        // What is kept back for one.
        assert!(grows(&mut shares[1], LONGEST));
        assert!(!grows(&mut shares[2], LONGEST));
        assert!(grows(&mut shares[2], FREE));
        shares.remove(0);
        assert!(grows(&mut shares[1], LONGEST));
    }

    #[test]
    fn one_of_many_half_read_answers_always_comes_to_its_end() {
        let budget = budget(3);
        let mut shares: Vec<BodyReservation> = (0..8).map(|_| budget.share()).collect();
        for share in &mut shares {
            assert!(grows(share, FREE + LONGEST / 4));
        }
        while !shares.is_empty() {
            let before = shares.len();
            shares.retain_mut(|share| !grows(share, FREE + LONGEST));
            assert!(shares.len() < before, "nobody goes on");
        }
    }

    #[test]
    fn what_is_no_longer_held_is_given_back() {
        let budget = budget(2);
        let mut one = budget.share();
        assert!(grows(&mut one, FREE + LONGEST));
        assert_eq!(budget.shared.available_permits(), 0);
        one.shrink(FREE + LONGEST / 2);
        assert_eq!(budget.shared.available_permits(), LONGEST / 2 / UNIT);
        one.shrink(0);
        assert_eq!(budget.shared.available_permits(), LONGEST / UNIT);
        drop(one);
        assert_eq!(budget.shared.available_permits(), LONGEST / UNIT);
    }
}
