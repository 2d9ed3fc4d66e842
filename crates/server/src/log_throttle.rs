//! Limits how often a log line that strangers can cause is written.

use std::time::Duration;

/// The shortest time between two lines.
const INTERVAL: Duration = Duration::from_secs(60);

/// Counts events of one kind, and says when a line about them is due: at the first, then once a
/// minute.
#[derive(Debug, Default)]
pub(crate) struct LogThrottle {
    last_line: Option<Duration>,
    events: u64,
}

impl LogThrottle {
    /// Counts an event at `now`, the time since the start. When a line is due: the number of events
    /// since the last one.
    pub(crate) fn note(&mut self, now: Duration) -> Option<u64> {
        self.events += 1;
        if self
            .last_line
            .is_some_and(|last| now.saturating_sub(last) < INTERVAL)
        {
            return None;
        }
        self.last_line = Some(now);
        Some(std::mem::take(&mut self.events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_once_a_minute() {
        let mut throttle = LogThrottle::default();
        let mut at = |seconds| throttle.note(Duration::from_secs(seconds));
        assert_eq!(at(10), Some(1));
        assert_eq!((at(11), at(69)), (None, None));
        assert_eq!(at(70), Some(3));
        assert_eq!(at(71), None);
    }
}
