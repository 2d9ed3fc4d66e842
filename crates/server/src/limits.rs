//! Limits of callers over HTTP: counting requests, and the 429 when a limit is reached.
//!
//! The limit of requests shows its headers with every answer that it lets through; the other limits
//! only with the 429.

use axum::extract::Request;
use axum::http::StatusCode;
use service::access::Identity;
use service::limits::{Exceeded, Limit, Window};

use crate::app::App;
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::client;
use crate::views::rate_limit::{RateLimitHeaders, seconds};

/// The headers of a request that was let in, or its refusal.
pub(crate) type Admission = Result<Option<RateLimitHeaders>, Refusal>;

/// Counts a request of an API key, or refuses it. `None`: with [`of_key_in_store`].
pub(crate) fn of_key(app: &App, identity: &Identity) -> Option<Admission> {
    let window = identity.account().request()?;
    Some(admission(app, window))
}

/// Counts a request of an API key whose requests the store counts, or refuses it.
pub(crate) async fn of_key_in_store(app: &App, identity: &Identity) -> Admission {
    let window = identity.account().request_of_store().await;
    admission(app, window)
}

fn admission(app: &App, window: Result<Option<Window>, Exceeded>) -> Admission {
    let window = window.map_err(|exceeded| refused(app, &exceeded))?;
    Ok(window.map(|window| standing(Limit::Requests, window)))
}

/// Counts a request without a valid key, or refuses it.
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

/// The 429. Nothing of the request was carried out.
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
