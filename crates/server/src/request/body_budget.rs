//! The memory that request bodies share while they arrive.

use tokio::sync::{Semaphore, SemaphorePermit};

/// A body of up to this many bytes reserves nothing: a connection reads that much ahead anyway.
const SMALL: usize = 64 << 10;

/// Bytes behind each permit of the shared semaphore.
const STEP: usize = 64 << 10;

/// Bodies of the largest size that may arrive at the same time.
const LARGE_BODIES: usize = 25;

/// Less memory is left than a body needs.
#[derive(Debug)]
pub(crate) struct Exhausted;

/// The memory for all request bodies that are arriving. Without this bound, many clients that each
/// slowly send a little less than the limit would fill the memory.
#[derive(Debug)]
pub(crate) struct BodyBudget(Semaphore);

impl BodyBudget {
    pub(crate) fn new(max_body_bytes: usize) -> Self {
        let steps = max_body_bytes.saturating_mul(LARGE_BODIES) / STEP;
        Self(Semaphore::new(
            steps.clamp(LARGE_BODIES, Semaphore::MAX_PERMITS),
        ))
    }

    /// An empty reservation, for a body of which nothing has arrived yet.
    pub(crate) fn reservation(&self) -> BodyReservation<'_> {
        BodyReservation {
            budget: &self.0,
            permits: None,
        }
    }
}

/// One body's part of the budget. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct BodyReservation<'a> {
    budget: &'a Semaphore,
    permits: Option<SemaphorePermit<'a>>,
}

impl BodyReservation<'_> {
    /// Extends the reservation to a body of `bytes` in total.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let needed = bytes.saturating_sub(SMALL).div_ceil(STEP);
        let held = self
            .permits
            .as_ref()
            .map_or(0, SemaphorePermit::num_permits);
        let Some(missing) = needed.checked_sub(held).filter(|missing| *missing > 0) else {
            return Ok(());
        };
        let missing = u32::try_from(missing).map_err(|_| Exhausted)?;
        let more = self.budget.try_acquire_many(missing);
        let more = more.map_err(|_| Exhausted)?;
        match &mut self.permits {
            Some(permits) => permits.merge(more),
            None => self.permits = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_bodies_take_none_and_large_ones_give_theirs_back() {
        let budget = BodyBudget(Semaphore::new(3));
        let mut small = budget.reservation();
        small.grow_to(SMALL).expect("it needs none");
        assert_eq!(budget.0.available_permits(), 3);
        let mut large = budget.reservation();
        large.grow_to(SMALL + 1).expect("one step");
        large.grow_to(SMALL + STEP).expect("the same step");
        assert_eq!(budget.0.available_permits(), 2);
        large.grow_to(SMALL + 3 * STEP).expect("all of it");
        assert_eq!(budget.0.available_permits(), 0);
        assert!(small.grow_to(SMALL + 1).is_err());
        drop(large);
        assert_eq!(budget.0.available_permits(), 3);
    }
}
