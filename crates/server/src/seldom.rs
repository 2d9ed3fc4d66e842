//! Log lines that strangers can cause, written once a minute at most.

use std::time::Duration;

const PAUSE: Duration = Duration::from_secs(60);

/// Of one kind of event.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    told: Option<Duration>,
    held_back: u64,
}

impl Seldom {
    /// Notes one event at that time since the start. Where a line is due: how many events it stands for.
    pub(crate) fn note(&mut self, now: Duration) -> Option<u64> {
        self.held_back += 1;
        if self
            .told
            .is_some_and(|told| now.saturating_sub(told) < PAUSE)
        {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_once_a_minute() {
        let mut seldom = Seldom::default();
        let mut at = |seconds| seldom.note(Duration::from_secs(seconds));
        assert_eq!(at(10), Some(1));
        assert_eq!((at(11), at(69)), (None, None));
        assert_eq!(at(70), Some(3));
        assert_eq!(at(71), None);
    }
}
