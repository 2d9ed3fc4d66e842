//! The requests per minute that this process may let in where several share a store. It takes several
//! at once from the bucket of all, and gives back what it has no use for.

use std::num::NonZeroU32;
use std::time::Duration;

use jobs::allotment::{Allotment, RequestWindow, RequestWish};

use super::rate::Window;

/// For how long requests stay that were granted and did not come.
const IDLE: Duration = Duration::from_secs(1);

/// Other replicas give requests back: until then the store is not asked again.
const LONGEST_REFUSAL: Duration = Duration::from_secs(1);
const SHORTEST_REFUSAL: Duration = Duration::from_millis(50);

/// Requests of a key that may be let in.
#[derive(Debug, Default)]
pub(super) struct RequestShare {
    granted: u32,
    /// Those that wait for an answer.
    waiting: u32,
    /// Let in since the last second began, and in the second before.
    recent: u32,
    before: u32,
    second: u64,
    used_at: Duration,
    refused_until: Duration,
    window: RequestWindow,
}

impl RequestShare {
    /// A request waits for an answer, or does not any more.
    pub(super) fn waits(&mut self, waits: bool) {
        self.waiting = if waits {
            self.waiting.saturating_add(1)
        } else {
            self.waiting.saturating_sub(1)
        };
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Lets a request in, or says how long it is refused. `None`: the store has to be asked.
    pub(super) fn take(
        &mut self,
        most: NonZeroU32,
        now: Duration,
    ) -> Option<Result<Window, Duration>> {
        if self.granted == 0 {
            let refused = self.refused_until.checked_sub(now);
            return refused.filter(|left| !left.is_zero()).map(Err);
        }
        self.granted -= 1;
        self.used_at = now;
        self.turn_to(now.as_secs());
        self.recent = self.recent.saturating_add(1);
        Some(Ok(Window {
            most: most.get(),
            left: self
                .window
                .left
                .saturating_add(self.granted)
                .min(most.get()),
            full_in: self.window.full_in,
        }))
    }

    fn turn_to(&mut self, second: u64) {
        if second != self.second {
            let is_next = second == self.second + 1;
            self.before = if is_next { self.recent } else { 0 };
            self.recent = 0;
            self.second = second;
        }
    }

    /// What to ask for.
    pub(super) fn wish(
        &mut self,
        per_minute: Option<NonZeroU32>,
        now: Duration,
    ) -> Option<RequestWish> {
        let per_minute = per_minute?;
        let is_idle = now.saturating_sub(self.used_at) >= IDLE;
        let unused = if is_idle { self.granted } else { 0 };
        self.granted -= unused;
        // As many as were granted have not gone on yet.
        let need = self.waiting.saturating_sub(self.granted);
        if unused == 0 && need == 0 {
            return None;
        }
        self.turn_to(now.as_secs());
        Some(RequestWish {
            per_minute,
            unused,
            need,
            spare: if need > 0 {
                self.recent.max(self.before)
            } else {
                0
            },
        })
    }

    pub(super) fn answered(&mut self, allotment: &Allotment, now: Duration) {
        self.granted = self.granted.saturating_add(allotment.requests);
        self.used_at = now;
        self.window = allotment.window;
        let refusal = allotment.window.next_in;
        self.refused_until = if self.granted == 0 && self.waiting > 0 {
            now.saturating_add(refusal.clamp(SHORTEST_REFUSAL, LONGEST_REFUSAL))
        } else {
            Duration::ZERO
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    fn most() -> NonZeroU32 {
        NonZeroU32::new(60).unwrap()
    }

    fn answer(share: &mut RequestShare, granted: u32, window: RequestWindow) {
        let allotment = Allotment {
            requests: granted,
            window,
            ..Allotment::default()
        };
        share.answered(&allotment, second(10));
    }

    #[test]
    fn requests_are_let_in_as_granted_and_a_refusal_holds_for_a_while() {
        let mut share = RequestShare::default();
        assert!(share.take(most(), second(10)).is_none());
        share.waits(true);
        let wish = share.wish(Some(most()), second(10)).unwrap();
        assert_eq!(wish.need, 1);
        let window = RequestWindow {
            left: 7,
            ..RequestWindow::default()
        };
        answer(&mut share, 2, window);
        assert!(
            share.wish(Some(most()), second(10)).is_none(),
            "it has not gone on yet"
        );
        let left = |share: &mut RequestShare| {
            let taken = share.take(most(), second(10));
            taken.unwrap().unwrap().left
        };
        assert_eq!((left(&mut share), left(&mut share)), (8, 7));
        assert!(share.take(most(), second(10)).is_none());
        let window = RequestWindow {
            next_in: Duration::from_millis(800),
            ..RequestWindow::default()
        };
        answer(&mut share, 0, window);
        let refused = share.take(most(), Duration::from_millis(10_300));
        assert_eq!(refused, Some(Err(Duration::from_millis(500))));
        assert!(share.take(most(), second(11)).is_none(), "it asks again");
    }

    #[test]
    fn requests_that_do_not_come_are_given_back() {
        let mut share = RequestShare::default();
        answer(&mut share, 3, RequestWindow::default());
        assert!(share.take(most(), second(10)).is_some());
        assert!(share.wish(Some(most()), second(10)).is_none());
        let wish = share.wish(Some(most()), second(11)).unwrap();
        assert_eq!(wish.unused, 2);
        assert!(share.take(most(), second(11)).is_none());
    }
}
