//! The memory that request bodies share while they arrive.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Up to here a body needs no room of what all share: it is no more than a connection reads ahead anyway.
const SMALL: usize = 64 << 10;

/// What one step of growth takes, and what the shared room is counted in.
pub(crate) const STEP: usize = 64 << 10;

/// As much as it would take is not left.
#[derive(Debug)]
pub(super) struct NoRoom;

/// A body's part of the memory that all bodies share while they arrive; given back when it is dropped. Without
/// that bound many clients that each send a little less than the limit, slowly, would fill the memory.
#[derive(Debug)]
pub(super) struct Room<'a> {
    shared: &'a Semaphore,
    taken: Option<SemaphorePermit<'a>>,
}

impl<'a> Room<'a> {
    pub(super) fn new(shared: &'a Semaphore) -> Self {
        Self {
            shared,
            taken: None,
        }
    }

    /// Makes it enough for that many bytes, if there are so many left.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let wanted = bytes.saturating_sub(SMALL).div_ceil(STEP);
        let has = self.taken.as_ref().map_or(0, SemaphorePermit::num_permits);
        let Some(more) = wanted.checked_sub(has).filter(|more| *more > 0) else {
            return Ok(());
        };
        let more = u32::try_from(more).map_err(|_| NoRoom)?;
        let more = self.shared.try_acquire_many(more);
        let more = more.map_err(|_| NoRoom)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_bodies_take_none_and_large_ones_give_theirs_back() {
        let shared = Semaphore::new(3);
        let mut small = Room::new(&shared);
        small.grow(SMALL).expect("it needs none");
        assert_eq!(shared.available_permits(), 3);
        let mut large = Room::new(&shared);
        large.grow(SMALL + 1).expect("one step");
        large.grow(SMALL + STEP).expect("the same step");
        assert_eq!(shared.available_permits(), 2);
        large.grow(SMALL + 3 * STEP).expect("all of it");
        assert_eq!(shared.available_permits(), 0);
        assert!(small.grow(SMALL + 1).is_err());
        drop(large);
        assert_eq!(shared.available_permits(), 3);
    }
}
