//! Limits as HTTP shows them: 429 problems, and the headers of the `RateLimit` draft.
//!
//! `RateLimit-Policy` and `RateLimit` are lists of structured fields. What limits requests is told with every
//! answer that it lets through; the other limits when they are reached.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use service::access::Identity;
use service::limits::{Exceeded, Limit, Window};

use crate::app::App;
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::client;

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

    fn new(limit: Limit, most: u64, left: u64, renews_in: Duration) -> Self {
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
        let value = |text: String| HeaderValue::from_str(&text).expect("it is ASCII");
        Self {
            policy: value(policy),
            state: value(state),
        }
    }
}

/// Counts a request of a key, or refuses it.
pub(crate) fn of_key(app: &App, identity: &Identity) -> Result<Option<RateLimitHeaders>, Refusal> {
    let window = identity.account().request();
    let window = window.map_err(|exceeded| refused(app, &exceeded))?;
    Ok(window.map(|window| standing(Limit::Requests, window)))
}

/// Counts a request without a good key, or refuses it.
pub(crate) fn of_address(
    app: &App,
    request: &Request,
) -> Result<Option<RateLimitHeaders>, Refusal> {
    let Some(addresses) = app.addresses() else {
        return Ok(None);
    };
    let Some(address) = client::address(request, &app.settings().trusted_proxies) else {
        return Ok(None);
    };
    let window = addresses.request(address.into());
    let window = window.map_err(|exceeded| refused(app, &exceeded))?;
    Ok(Some(standing(Limit::Address, window)))
}

fn standing(limit: Limit, window: Window) -> RateLimitHeaders {
    RateLimitHeaders::new(
        limit,
        window.most.into(),
        window.left.into(),
        window.full_in,
    )
}

/// 429: nothing was done.
pub(crate) fn refused(app: &App, exceeded: &Exceeded) -> Refusal {
    let Exceeded {
        limit,
        most,
        retry_after,
        ..
    } = *exceeded;
    app.telemetry().metrics().limited(match limit {
        Limit::Requests => "requests",
        Limit::Address => "address",
        Limit::Running => "running",
        Limit::Queued => "queued",
        Limit::Tokens => "tokens",
        Limit::Cost => "cost",
    });
    ProblemAnswer::of_request(
        StatusCode::TOO_MANY_REQUESTS,
        limit.code(),
        exceeded.to_string(),
    )
    .retryable()
    .retry_after(seconds(retry_after))
    .rate_limit(RateLimitHeaders::new(limit, most, 0, retry_after))
    .into()
}

/// Rounded up: who comes back then is not too early.
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
