//! The headers of the `RateLimit` draft, `RateLimit-Policy` and `RateLimit`: lists of structured
//! fields.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use service::limits::Limit;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// The two headers.
#[derive(Debug, Clone)]
pub(crate) struct RateLimitHeaders {
    policy: HeaderValue,
    state: HeaderValue,
}

impl RateLimitHeaders {
    pub(crate) fn add_to(self, headers: &mut HeaderMap) {
        headers.append(POLICY, self.policy);
        headers.append(STATE, self.state);
    }

    /// `most` is what the limit allows, `left` what is left of it until it renews.
    pub(crate) fn new(limit: Limit, most: u64, left: u64, renews_in: Duration) -> Self {
        let name = limit.as_str();
        let policy = match limit {
            Limit::Requests | Limit::Address => format!("\"{name}\";q={most};w=60"),
            Limit::Running | Limit::Queued => {
                format!("\"{name}\";q={most};qu=\"concurrent-requests\"")
            }
            Limit::Tokens => format!("\"{name}\";q={most};w=86400;qu=\"tokens\""),
            Limit::Cost => format!("\"{name}\";q={most};w=86400;qu=\"micro-usd\""),
        };
        let state = match limit {
            Limit::Running | Limit::Queued => format!("\"{name}\";r={left}"),
            _ => format!("\"{name}\";r={left};t={}", seconds(renews_in)),
        };
        let value =
            |text: String| HeaderValue::from_str(&text).expect("names and numbers are ASCII");
        Self {
            policy: value(policy),
            state: value(state),
        }
    }
}

/// Whole seconds, rounded up: a client that waits for them is not too early.
pub(crate) fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_are_structured_fields() {
        let check = |limit, policy: &str, state: &str| {
            let headers = RateLimitHeaders::new(limit, 60, 59, Duration::from_millis(11_001));
            assert_eq!(
                (
                    headers.policy.to_str().unwrap(),
                    headers.state.to_str().unwrap()
                ),
                (policy, state)
            );
        };
        check(
            Limit::Requests,
            "\"default\";q=60;w=60",
            "\"default\";r=59;t=12",
        );
        check(
            Limit::Address,
            "\"address\";q=60;w=60",
            "\"address\";r=59;t=12",
        );
        check(
            Limit::Running,
            "\"running\";q=60;qu=\"concurrent-requests\"",
            "\"running\";r=59",
        );
        check(
            Limit::Tokens,
            "\"tokens-per-day\";q=60;w=86400;qu=\"tokens\"",
            "\"tokens-per-day\";r=59;t=12",
        );
    }
}
