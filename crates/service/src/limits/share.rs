//! What this process has of a key's limits where several processes share a store: amounts for model
//! calls, and requests. It spends what it has without asking, and asks the store for more.
//!
//! Calls in flight and what was paid since the last batch are within what is held. When a batch is made,
//! what was paid is taken off, since the store adds it to the sum; until the answer is there, no more is
//! held than what the store leaves in any case ([`jobs::allotment::Wish::keep`]).

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use jobs::allotment::{Allotment, Amounts, DailyLimits, RequestWish};
use jobs::store::ReplicaId;

use super::rate::Window;
use super::request_share::RequestShare;

/// For how long what is held stays where no call needs it.
const IDLE: Duration = Duration::from_secs(2);

/// Where more is asked for again within this time, more is set aside beyond what is needed; and less
/// where it lasts longer than ten times as long.
const ASKED_OFTEN: Duration = Duration::from_secs(1);

/// Most calls for which something is set aside before they come.
const MOST_SPARE_CALLS: u64 = 1_024;

#[derive(Debug)]
pub(super) struct Share {
    /// Whom the store has it set aside for.
    by: ReplicaId,
    held: Amounts,
    /// Paid since the last batch was made.
    paid: Amounts,
    /// Calls that wait, in the order of their coming.
    waiting: BTreeMap<u64, Amounts>,
    calls: u64,
    /// How many times what is needed is to be set aside beyond it, for calls to come.
    ahead: u64,
    asked_at: Duration,
    used_at: Duration,
    /// What is not needed is to be given back at once.
    gives_back: bool,
    /// The sum is wanted of what all replicas have spent.
    wants_sum: bool,
    answered_at: Option<Duration>,
    /// The last answer left calls waiting.
    is_refused: bool,
    /// What the others have set aside.
    others: Amounts,
    requests: RequestShare,
}

/// What is asked of the store for one key.
pub(super) struct Want {
    pub(super) keep: Amounts,
    pub(super) least: Amounts,
    pub(super) all: Amounts,
    pub(super) spare: Amounts,
    pub(super) requests: Option<RequestWish>,
}

impl Share {
    pub(super) fn new(by: ReplicaId) -> Self {
        Self {
            by,
            held: Amounts::default(),
            paid: Amounts::default(),
            waiting: BTreeMap::new(),
            calls: 0,
            ahead: 1,
            asked_at: Duration::ZERO,
            used_at: Duration::ZERO,
            gives_back: false,
            wants_sum: false,
            answered_at: None,
            is_refused: false,
            others: Amounts::default(),
            requests: RequestShare::default(),
        }
    }

    pub(super) fn by(&self) -> ReplicaId {
        self.by
    }

    /// The replica from before was taken for dead: what it held is not set aside any more.
    pub(super) fn begin_anew(&mut self, by: ReplicaId) {
        self.by = by;
        self.held = Amounts::default();
    }

    /// Whether a call fits into what is held.
    pub(super) fn fits(
        &mut self,
        limits: DailyLimits,
        reserved: Amounts,
        call: Amounts,
        now: Duration,
    ) -> bool {
        self.used_at = now;
        self.holds(limits, reserved.plus(call))
    }

    fn holds(&self, limits: DailyLimits, reserved: Amounts) -> bool {
        let held = DailyLimits {
            tokens: limits.tokens.map(|_| self.held.tokens),
            nano_usd: limits.nano_usd.map(|_| self.held.nano_usd),
        };
        held.allow(reserved.plus(self.paid))
    }

    /// The smallest call that waits.
    fn smallest(&self) -> Option<Amounts> {
        let waiting = self.waiting.values().copied();
        waiting.min_by_key(|call| (call.tokens, call.nano_usd))
    }

    fn lets_one_go(&self, limits: DailyLimits, reserved: Amounts) -> bool {
        let smallest = self.smallest();
        smallest.is_some_and(|call| self.holds(limits, reserved.plus(call)))
    }

    /// Whether it makes sense to ask the store at once for a call that waits.
    pub(super) fn may_ask(&self) -> bool {
        !self.is_refused
    }

    pub(super) fn pay(&mut self, amounts: Amounts) {
        self.paid = self.paid.plus(amounts);
    }

    /// A call waits, until [`leaves`](Self::leaves).
    pub(super) fn waits(&mut self, call: Amounts) -> u64 {
        // Nobody asks again for the calls that waited before.
        self.is_refused &= !self.waiting.is_empty();
        self.calls += 1;
        self.waiting.insert(self.calls, call);
        self.calls
    }

    pub(super) fn leaves(&mut self, number: u64) {
        self.waiting.remove(&number);
    }

    /// With the next batch gives back what is not needed; returns whether that is anything.
    pub(super) fn give_back_soon(&mut self, reserved: Amounts) -> bool {
        self.gives_back = true;
        self.held != self.held.min(reserved)
    }

    /// Whether calls wait for what others have set aside.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused && !self.waiting.is_empty()
    }

    /// The sum is to be asked for, though nothing else is.
    pub(super) fn wants_sum(&mut self) {
        self.wants_sum = true;
    }

    /// Whether the store has said since then what all replicas have spent.
    pub(super) fn is_known_since(&self, since: Duration) -> bool {
        self.answered_at.is_some_and(|at| at >= since)
    }

    /// What the others had set aside when the store was asked last.
    pub(super) fn others(&self) -> Amounts {
        self.others
    }

    /// After an answer, whether it lets none of the calls go that wait.
    pub(super) fn note_refusal(&mut self, limits: DailyLimits, reserved: Amounts) {
        self.is_refused = !self.waiting.is_empty() && !self.lets_one_go(limits, reserved);
    }

    /// Whether calls or requests wait for the store.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.requests.is_waiting()
    }

    /// What to ask for, in a batch that also adds what was paid. `None` for nothing: then nothing was
    /// paid, either.
    pub(super) fn want(
        &mut self,
        limits: DailyLimits,
        reserved: Amounts,
        per_minute: Option<NonZeroU32>,
        now: Duration,
    ) -> Option<Want> {
        let requests = self.requests.wish(per_minute, now);
        let reserved = if limits.is_some() {
            reserved
        } else {
            Amounts::default()
        };
        let is_idle = self.gives_back || now.saturating_sub(self.used_at) >= IDLE;
        let gives_back = is_idle && self.held != self.held.min(reserved);
        // Where one fits by now, it was answered and has not gone on yet.
        let least = self
            .smallest()
            .filter(|_| !self.lets_one_go(limits, reserved));
        let paid = std::mem::take(&mut self.paid);
        let wants = least.is_some() || paid != Amounts::default() || gives_back;
        if !wants && requests.is_none() && !self.wants_sum {
            return None;
        }
        self.wants_sum = false;
        let want = if let Some(least) = least {
            self.look_ahead(now);
            let waiting = self.waiting.values().copied();
            let waiting = waiting.fold(Amounts::default(), Amounts::plus);
            let spare = waiting.times(self.ahead);
            Want {
                // A rest into which no call fits is for others.
                keep: reserved,
                least: reserved.plus(least),
                all: reserved.plus(waiting),
                spare: spare.min(least.times(MOST_SPARE_CALLS)),
                requests,
            }
        } else {
            let keep = if is_idle {
                reserved
            } else {
                self.held.minus(paid).max(reserved)
            };
            Want {
                keep,
                least: keep,
                all: keep,
                spare: Amounts::default(),
                requests,
            }
        };
        self.gives_back = false;
        self.held = want.keep;
        Some(want)
    }

    fn look_ahead(&mut self, now: Duration) {
        let since = now.saturating_sub(self.asked_at);
        if since < ASKED_OFTEN {
            self.ahead = (self.ahead * 2).min(MOST_SPARE_CALLS);
        } else if since > ASKED_OFTEN * 10 {
            self.ahead = 1;
        }
        self.asked_at = now;
    }

    /// What the store has set aside, and for whom.
    pub(super) fn answered(
        &mut self,
        by: ReplicaId,
        allotment: &Allotment,
        asked_requests: bool,
        now: Duration,
    ) {
        self.answered_at = Some(now);
        self.others = allotment.others;
        if by == self.by {
            self.held = allotment.held;
        }
        if asked_requests {
            self.requests.answered(allotment, now);
        }
    }

    /// Lets a request in. `None`: the store has to be asked.
    pub(super) fn request(
        &mut self,
        most: NonZeroU32,
        now: Duration,
    ) -> Option<Result<Window, Duration>> {
        self.requests.take(most, now)
    }

    /// A request waits for an answer, or does not any more.
    pub(super) fn request_waits(&mut self, waits: bool) {
        self.requests.waits(waits);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const LIMITS: DailyLimits = DailyLimits {
        tokens: Some(1_000),
        nano_usd: None,
    };
    const NOTHING: Amounts = Amounts {
        tokens: 0,
        nano_usd: 0,
    };

    fn tokens(tokens: u64) -> Amounts {
        Amounts {
            tokens,
            nano_usd: 0,
        }
    }

    fn second(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    fn replica() -> ReplicaId {
        ReplicaId(Uuid::from_u128(1))
    }

    /// A share that holds so much.
    fn holding(held: u64) -> Share {
        let mut share = Share::new(replica());
        grant(&mut share, held);
        share
    }

    fn grant(share: &mut Share, held: u64) {
        let allotment = Allotment {
            held: tokens(held),
            ..Allotment::default()
        };
        share.answered(replica(), &allotment, false, second(1));
    }

    #[test]
    fn a_call_fits_into_what_is_held_beside_those_in_flight_and_those_paid() {
        let mut share = holding(100);
        assert!(share.fits(LIMITS, tokens(40), tokens(60), second(1)));
        assert!(!share.fits(LIMITS, tokens(40), tokens(61), second(1)));
        share.pay(tokens(10));
        assert!(share.fits(LIMITS, tokens(40), tokens(50), second(1)));
        assert!(!share.fits(LIMITS, tokens(40), tokens(51), second(1)));
    }

    #[test]
    fn what_was_paid_is_told_and_the_rest_is_kept() {
        let mut share = holding(100);
        share.fits(LIMITS, NOTHING, tokens(30), second(1));
        share.pay(tokens(30));
        let want = share.want(LIMITS, tokens(20), None, second(1)).unwrap();
        assert_eq!((want.keep, want.all), (tokens(70), tokens(70)));
        // Before the answer it holds what it keeps.
        assert!(share.fits(LIMITS, tokens(20), tokens(50), second(1)));
        assert!(!share.fits(LIMITS, tokens(20), tokens(51), second(1)));
        assert!(
            share.want(LIMITS, tokens(20), None, second(1)).is_none(),
            "once"
        );
    }

    #[test]
    fn calls_that_wait_are_asked_for_and_a_rest_that_is_too_small_is_for_others() {
        let mut share = holding(100);
        let large = share.waits(tokens(200));
        share.waits(tokens(90));
        let want = share.want(LIMITS, tokens(40), None, second(1)).unwrap();
        assert_eq!(want.keep, tokens(40));
        assert_eq!((want.least, want.all), (tokens(130), tokens(330)));
        assert!(!share.fits(LIMITS, tokens(40), tokens(1), second(1)));
        share.leaves(large);
        let want = share.want(LIMITS, tokens(40), None, second(1)).unwrap();
        assert_eq!((want.least, want.all), (tokens(130), tokens(130)));
    }

    #[test]
    fn a_key_that_asks_often_sets_more_aside_and_one_that_asks_seldom_less() {
        let mut share = holding(0);
        let asked = |share: &mut Share, at| {
            let number = share.waits(tokens(10));
            let want = share.want(LIMITS, NOTHING, None, at).unwrap();
            share.leaves(number);
            want.spare.tokens
        };
        let first = asked(&mut share, second(100));
        assert_eq!(first, 10);
        let often: Vec<u64> = (0..3).map(|_| asked(&mut share, second(100))).collect();
        assert_eq!(often, [20, 40, 80]);
        assert_eq!(asked(&mut share, second(105)), 80);
        assert_eq!(asked(&mut share, second(120)), 10);
    }

    #[test]
    fn what_is_not_used_is_given_back() {
        let mut share = holding(100);
        share.fits(LIMITS, NOTHING, tokens(10), second(5));
        assert!(share.want(LIMITS, tokens(10), None, second(6)).is_none());
        let want = share.want(LIMITS, tokens(10), None, second(7)).unwrap();
        assert_eq!((want.keep, want.all), (tokens(10), tokens(10)));
        // At once where somebody else needs it.
        let mut share = holding(100);
        share.fits(LIMITS, NOTHING, tokens(10), second(5));
        share.give_back_soon(tokens(10));
        let want = share.want(LIMITS, tokens(10), None, second(5)).unwrap();
        assert_eq!(want.all, tokens(10));
    }

    #[test]
    fn what_was_set_aside_for_an_earlier_life_of_this_process_is_gone() {
        let mut share = holding(100);
        share.begin_anew(ReplicaId(Uuid::from_u128(2)));
        assert!(!share.fits(LIMITS, NOTHING, tokens(1), second(1)));
        // An answer that comes late is for the earlier one.
        grant(&mut share, 100);
        assert!(!share.fits(LIMITS, NOTHING, tokens(1), second(1)));
    }
}
