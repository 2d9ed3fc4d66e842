//! The limits themselves, and the sentence for one that is reached.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::RangeInclusive;
use std::time::Duration;

use jobs::spend::Day;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

/// The highest limit of tokens per day: headers take integers of 15 digits.
pub const MOST_TOKENS: u64 = 999_999_999_999_999;
/// The range of a limit of US dollars per day, which headers show in millionths.
pub const USD: RangeInclusive<f64> = 0.000_001..=999_999_999.0;

/// When to try again where a run has to end first.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// How much a key may use. `None` stands for the server's default, or no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(
    deny_unknown_fields,
    transform = nothing_required,
    description = "The limits of an API key; null: the server's default."
)]
pub struct Limits {
    /// Requests per minute. All of them may come at once; then they are refilled one at a time.
    #[schemars(range(max = u32::MAX))]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Runs in flight: accepted and not ended, whether they run or wait.
    #[schemars(range(max = u32::MAX))]
    pub max_running: Option<NonZeroU32>,
    /// Runs in flight that wait because the server is busy.
    #[schemars(range(max = u32::MAX))]
    pub max_queued: Option<u32>,
    /// Prompt and answer tokens per day (UTC).
    #[schemars(range(max = MOST_TOKENS))]
    pub tokens_per_day: Option<NonZeroU64>,
    /// US dollars per day (UTC).
    #[schemars(range(min = *USD.start(), max = *USD.end()))]
    pub cost_per_day_usd: Option<f64>,
}

/// Requests may leave limits out.
fn nothing_required(schema: &mut Schema) {
    schema.remove("required");
}

impl Limits {
    /// Whether each limit is within its range.
    pub fn check(&self) -> Result<(), &'static str> {
        if self
            .tokens_per_day
            .is_some_and(|most| most.get() > MOST_TOKENS)
        {
            return Err("tokens per day must be between 1 and 999999999999999");
        }
        if self
            .cost_per_day_usd
            .is_some_and(|most| !USD.contains(&most))
        {
            return Err("cost per day must be above 0 and below 1000000000 US dollars");
        }
        Ok(())
    }

    /// With the defaults where there is no limit of its own.
    #[must_use]
    pub fn or(self, defaults: &Self) -> Self {
        Self {
            requests_per_minute: self.requests_per_minute.or(defaults.requests_per_minute),
            max_running: self.max_running.or(defaults.max_running),
            max_queued: self.max_queued.or(defaults.max_queued),
            tokens_per_day: self.tokens_per_day.or(defaults.tokens_per_day),
            cost_per_day_usd: self.cost_per_day_usd.or(defaults.cost_per_day_usd),
        }
    }
}

/// A kind of limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Requests per minute of a key.
    Requests,
    /// Requests per minute without a valid key, from one address.
    Address,
    /// Runs in flight.
    Running,
    /// Jobs that wait.
    Queued,
    /// Tokens per day.
    Tokens,
    /// US dollars per day.
    Cost,
}

impl Limit {
    /// The name in metrics and headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "default",
            Self::Address => "address",
            Self::Running => "running",
            Self::Queued => "queued",
            Self::Tokens => "tokens-per-day",
            Self::Cost => "cost-per-day",
        }
    }

    /// The `code` of the problem document.
    pub fn code(self) -> &'static str {
        match self {
            Self::Requests | Self::Address => "rate_limited",
            Self::Running => "too_many_running",
            Self::Queued => "too_many_queued",
            Self::Tokens | Self::Cost => "quota_exhausted",
        }
    }
}

/// A limit was reached; nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub struct Exceeded {
    /// The limit that was reached.
    pub limit: Limit,
    /// What it allows, in millionths of a dollar for [`Limit::Cost`].
    pub most: u64,
    /// How long to wait before another request makes sense.
    pub retry_after: Duration,
    /// The day on which a daily limit starts again.
    pub renews: Option<Day>,
}

impl Exceeded {
    /// The store has counted the jobs of a key.
    pub(crate) fn by_jobs(is_queue: bool, most: u32) -> Self {
        Self {
            limit: if is_queue {
                Limit::Queued
            } else {
                Limit::Running
            },
            most: most.into(),
            retry_after: SOON,
            renews: None,
        }
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.most;
        match self.limit {
            Limit::Requests => write!(f, "This API key is limited to {most} requests per minute")?,
            Limit::Address => {
                write!(
                    f,
                    "Without a valid API key, one address is limited to {most} requests per minute"
                )?;
            }
            Limit::Running => {
                write!(
                    f,
                    "This API key already has {most} runs in flight, which is its limit; try again when one has ended"
                )?;
            }
            Limit::Queued => {
                write!(
                    f,
                    "This API key already has {most} jobs waiting, which is its limit; try again when one has started"
                )?;
            }
            Limit::Tokens => {
                write!(f, "This API key has used up its {most} tokens per day")?;
            }
            Limit::Cost => {
                let (dollars, millionths) = (most / 1_000_000, most % 1_000_000);
                let amount = format!("{dollars}.{millionths:06}");
                let amount = amount.trim_end_matches('0').trim_end_matches('.');
                write!(
                    f,
                    "This API key has used up its {amount} US dollars per day"
                )?;
            }
        }
        match self.renews {
            Some(day) => write!(f, "; the limit resets at {}.", day.begins()),
            None => f.write_str("."),
        }
    }
}

/// Billionths of a dollar, rounded up, so that spending is never underestimated.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is below 0 or too large becomes the nearest that there is"
)]
pub(super) fn nano_usd(dollars: f64) -> u64 {
    // A price per token times tokens is off by less than this.
    (dollars * 1e9 - 1e-3).ceil() as u64
}

/// As people see it.
#[expect(
    clippy::cast_precision_loss,
    reason = "a billion dollars a day are exact to the millionth"
)]
pub(super) fn dollars(nano_usd: u64) -> f64 {
    nano_usd as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exceeded(limit: Limit, most: u64, renews: Option<Day>) -> String {
        let exceeded = Exceeded {
            limit,
            most,
            retry_after: Duration::ZERO,
            renews,
        };
        exceeded.to_string()
    }

    #[test]
    fn a_limit_says_what_it_allows_and_when_it_renews() {
        assert_eq!(
            exceeded(Limit::Requests, 60, None),
            "This API key is limited to 60 requests per minute."
        );
        let cost = exceeded(Limit::Cost, 2_500_000, Some(Day(1)));
        let says = "This API key has used up its 2.5 US dollars per day; the limit resets at 1970-01-02T00:00:00";
        assert!(cost.starts_with(says), "{cost}");
        assert!(
            exceeded(Limit::Cost, 10_000_000, None)
                .starts_with("This API key has used up its 10 US dollars")
        );
    }

    #[test]
    fn dollars_are_counted_in_billionths_and_rounded_up() {
        let check = |dollars: f64, nano: u64| assert_eq!(nano_usd(dollars), nano, "{dollars}");
        check(0.0, 0);
        check(0.25, 250_000_000);
        check(3.0 * 0.1, 300_000_000);
        check(1e-9, 1);
        check(1.2e-9, 2);
        check(-1.0, 0);
        check(f64::NAN, 0);
        check(f64::INFINITY, u64::MAX);
        assert!((dollars(250_000_000) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn a_keys_own_limits_count_before_the_defaults() {
        let own = Limits {
            max_queued: Some(0),
            ..Limits::default()
        };
        let defaults = Limits {
            max_queued: Some(5),
            max_running: NonZeroU32::new(7),
            ..Limits::default()
        };
        let limits = own.or(&defaults);
        assert_eq!(
            (limits.max_queued, limits.max_running),
            (Some(0), NonZeroU32::new(7))
        );
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        let cost = |cost| Limits {
            cost_per_day_usd: Some(cost),
            ..Limits::default()
        };
        assert!(Limits::default().check().is_ok() && cost(0.5).check().is_ok());
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e12] {
            assert!(cost(bad).check().is_err(), "{bad}");
        }
        let tokens = Limits {
            tokens_per_day: NonZeroU64::new(u64::MAX),
            ..Limits::default()
        };
        assert!(tokens.check().is_err());
    }
}
