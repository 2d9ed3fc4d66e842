//! What replicas set aside of the limits of a key, so that each can spend its part without asking, and
//! all of them together never more than the limit.
//!
//! At any time, what was spent today and what all living replicas have set aside are within the limit
//! together. A call in flight is part of what its replica has set aside; when it is paid, its replica
//! moves the amount from there to the sums, in one step. What is set aside belongs to no day: over
//! midnight it is still there for the calls in flight. A replica that is not alive has nothing set
//! aside.
//!
//! Requests per minute are a token bucket for all replicas together (GCRA): a replica takes several
//! tokens at once.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

const MINUTE_NS: i64 = 60_000_000_000;

/// Part of what is left that a replica may set aside beyond what it needs at once.
const SPARE_PART: u64 = 8;

/// What the limits per day count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Prompt and answer tokens.
    pub tokens: u64,
    /// Billionths of a US dollar.
    pub nano_usd: u64,
}

impl Amounts {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            nano_usd: self.nano_usd.saturating_add(other.nano_usd),
        }
    }

    /// What is left of it, at least nothing.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            nano_usd: self.nano_usd.saturating_sub(other.nano_usd),
        }
    }

    /// The smaller of each.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.min(other.tokens),
            nano_usd: self.nano_usd.min(other.nano_usd),
        }
    }

    /// The greater of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.max(other.tokens),
            nano_usd: self.nano_usd.max(other.nano_usd),
        }
    }

    /// That many times.
    #[must_use]
    pub fn times(self, factor: u64) -> Self {
        Self {
            tokens: self.tokens.saturating_mul(factor),
            nano_usd: self.nano_usd.saturating_mul(factor),
        }
    }

    fn part(self, of: u64) -> Self {
        Self {
            tokens: self.tokens / of,
            nano_usd: self.nano_usd / of,
        }
    }
}

/// The limits of a key per day; `None` for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DailyLimits {
    /// Of tokens.
    pub tokens: Option<u64>,
    /// Of billionths of a US dollar.
    pub nano_usd: Option<u64>,
}

impl DailyLimits {
    /// Whether something is limited.
    pub fn is_some(&self) -> bool {
        self.tokens.is_some() || self.nano_usd.is_some()
    }

    /// Whether so much is within them.
    pub fn allow(&self, amounts: Amounts) -> bool {
        self.tokens.is_none_or(|most| amounts.tokens <= most)
            && self.nano_usd.is_none_or(|most| amounts.nano_usd <= most)
    }

    /// What is left of them after that; everything where there is no limit.
    fn left(&self, taken: Amounts) -> Amounts {
        let most = Amounts {
            tokens: self.tokens.unwrap_or(u64::MAX),
            nano_usd: self.nano_usd.unwrap_or(u64::MAX),
        };
        most.minus(taken)
    }
}

/// What a replica wants to have of one key's limits from now on, all in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The key's id.
    pub key: Arc<str>,
    /// Its limits.
    pub limits: DailyLimits,
    /// What it has set aside already and keeps in any case: at least what its calls in flight may
    /// take.
    pub keep: Amounts,
    /// Enough for its calls in flight and the smallest that waits.
    pub least: Amounts,
    /// Enough for its calls in flight and all that wait.
    pub all: Amounts,
    /// Beyond `all`, for calls to come. Less is granted where little is left.
    pub spare: Amounts,
    /// Of its requests per minute.
    pub requests: Option<RequestWish>,
}

/// How many requests a replica wants to let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestWish {
    /// The limit.
    pub per_minute: NonZeroU32,
    /// Those that it was granted before and has not let in.
    pub unused: u32,
    /// Those that wait.
    pub need: u32,
    /// For those to come.
    pub spare: u32,
}

impl RequestWish {
    /// Asks for nothing, and gives nothing back.
    pub(crate) fn looking(self) -> Self {
        Self {
            unused: 0,
            need: 0,
            spare: 0,
            ..self
        }
    }
}

/// What a replica has of one key's limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allotment {
    /// What this replica has set aside from now on.
    pub held: Amounts,
    /// What the others have set aside.
    pub others: Amounts,
    /// Requests that it may let in.
    pub requests: u32,
    /// The state of the limit of requests, where it was asked about.
    pub window: RequestWindow,
}

/// The state of a limit of requests per minute, after what was granted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestWindow {
    /// How many more may be granted at once.
    pub left: u32,
    /// The time until there is one more, where none is left.
    pub next_in: Duration,
    /// The time until all of them are there again.
    pub full_in: Duration,
}

/// How much a replica may have set aside, where so much was spent today and set aside by others.
pub(crate) fn grant(wish: &Wish, spent: Amounts, others: Amounts) -> Amounts {
    let taken = spent.plus(others);
    let fits = |wanted: Amounts| wish.limits.allow(taken.plus(wanted));
    let left = wish.limits.left(taken);
    let granted = if fits(wish.all) {
        let spare = left.minus(wish.all).part(SPARE_PART);
        wish.all.plus(wish.spare.min(spare))
    } else if fits(wish.least) {
        wish.all.min(left)
    } else {
        wish.keep
    };
    granted.max(wish.keep)
}

/// Grants requests. The bucket is known by when it will be full, in nanoseconds since 1970; a time in the
/// past means full.
pub(crate) fn take_requests(
    full_at: &mut i64,
    wish: RequestWish,
    now: i64,
) -> (u32, RequestWindow) {
    let every = MINUTE_NS / i64::from(wish.per_minute.get());
    let nanoseconds = |requests: u32| every.saturating_mul(requests.into());
    let unused = nanoseconds(wish.unused);
    let mut taken = full_at.saturating_sub(now).saturating_sub(unused).max(0);
    let left = |taken: i64| u32::try_from((MINUTE_NS - taken).max(0) / every).unwrap_or(u32::MAX);
    let room = left(taken).min(wish.per_minute.get());
    let needed = wish.need.min(room);
    // The rest is for others as well.
    let granted = needed + wish.spare.min((room - needed) / 4);
    taken = taken.saturating_add(nanoseconds(granted));
    *full_at = now.saturating_add(taken);
    let window = RequestWindow {
        left: left(taken).min(wish.per_minute.get()),
        next_in: duration(taken.saturating_add(every) - MINUTE_NS),
        full_in: duration(taken),
    };
    (granted, window)
}

/// Since 1970.
pub(crate) fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

fn duration(nanoseconds: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(tokens: u64) -> Amounts {
        Amounts {
            tokens,
            nano_usd: 0,
        }
    }

    fn wish(keep: u64, first: u64, all: u64, spare: u64) -> Wish {
        Wish {
            key: "k".into(),
            limits: DailyLimits {
                tokens: Some(1_000),
                nano_usd: None,
            },
            keep: tokens(keep),
            least: tokens(first),
            all: tokens(all),
            spare: tokens(spare),
            requests: None,
        }
    }

    fn check(wish: &Wish, spent_today: u64, others: u64, granted: u64) {
        let found = grant(wish, tokens(spent_today), tokens(others));
        assert_eq!(found.tokens, granted, "{wish:?}");
    }

    #[test]
    fn what_is_needed_is_granted_and_of_what_is_left_a_part() {
        check(&wish(10, 20, 60, 0), 100, 200, 60);
        check(&wish(10, 20, 60, 40), 100, 200, 100);
        check(&wish(10, 20, 60, 400), 100, 200, 60 + 640 / 8);
    }

    #[test]
    fn near_the_limit_the_first_call_goes_and_others_as_far_as_it_goes() {
        check(&wish(10, 20, 60, 400), 900, 50, 50);
        check(&wish(10, 20, 60, 400), 900, 80, 20);
        check(&wish(0, 1_000, 1_000, 9), 0, 0, 1_000);
    }

    #[test]
    fn what_does_not_fit_is_not_granted_and_what_is_kept_stays() {
        check(&wish(10, 20, 60, 400), 900, 81, 10);
        check(&wish(10, 20, 60, 400), 5_000, 0, 10);
        check(&wish(70, 70, 70, 0), 900, 50, 70);
        check(&wish(0, 0, 0, 0), 0, 0, 0);
    }

    #[test]
    fn a_call_has_to_fit_both_limits() {
        let mut both = wish(0, 10, 10, 0);
        both.limits.nano_usd = Some(5);
        both.least.nano_usd = 6;
        both.all.nano_usd = 6;
        let granted = grant(&both, Amounts::default(), Amounts::default());
        assert_eq!(granted, Amounts::default());
        both.limits.nano_usd = Some(6);
        let granted = grant(&both, Amounts::default(), Amounts::default());
        assert_eq!(granted, both.all);
    }

    const SECOND: i64 = 1_000_000_000;

    fn asking(per_minute: u32, need: u32) -> RequestWish {
        RequestWish {
            per_minute: NonZeroU32::new(per_minute).unwrap(),
            unused: 0,
            need,
            spare: 0,
        }
    }

    #[test]
    fn requests_are_granted_at_once_up_to_the_limit_and_then_one_at_a_time() {
        let mut full_at = 0;
        let now = 1_000 * SECOND;
        let (granted, window) = take_requests(&mut full_at, asking(60, 50), now);
        assert_eq!((granted, window.left), (50, 10));
        let (granted, window) = take_requests(&mut full_at, asking(60, 50), now);
        assert_eq!((granted, window.left), (10, 0));
        assert_eq!(window.next_in, Duration::from_secs(1));
        assert_eq!(window.full_in, Duration::from_secs(60));
        let (granted, _) = take_requests(&mut full_at, asking(60, 50), now + 2 * SECOND);
        assert_eq!(granted, 2);
        let (granted, _) = take_requests(&mut full_at, asking(60, 90), now + 500 * SECOND);
        assert_eq!(granted, 60);
    }

    #[test]
    fn requests_that_were_not_let_in_come_back() {
        let (mut full_at, now) = (0, 1_000 * SECOND);
        take_requests(&mut full_at, asking(60, 60), now);
        let back = RequestWish {
            unused: 7,
            ..asking(60, 0)
        };
        let (_, window) = take_requests(&mut full_at, back, now);
        assert_eq!(window.left, 7);
        // Not more than there ever were.
        let back = RequestWish {
            unused: u32::MAX,
            ..asking(60, 0)
        };
        let (_, window) = take_requests(&mut full_at, back, now);
        assert_eq!(window.left, 60);
    }

    #[test]
    fn spare_requests_leave_some_for_others() {
        let (mut full_at, now) = (0, 1_000 * SECOND);
        let wish = RequestWish {
            spare: 100,
            ..asking(60, 20)
        };
        assert_eq!(take_requests(&mut full_at, wish, now).0, 30);
        let wish = RequestWish {
            spare: 100,
            ..asking(60, 29)
        };
        assert_eq!(take_requests(&mut full_at, wish, now).0, 29);
    }
}
