//! The caller, as [`crate::guard`] has identified them.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use service::access::Identity;

use crate::app::App;
use crate::refusal::{ProblemAnswer, Refusal};

const X_API_KEY: &str = "x-api-key";

/// Who sent a request.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Anyone: no API keys are in use.
    Open,
    /// Someone without a valid key, although keys are in use: may only use what is open to
    /// everyone.
    Anonymous,
    /// The holder of this key.
    Key(Arc<Identity>),
}

impl Caller {
    /// The owner of the jobs that they start.
    pub(crate) fn owner(&self) -> Option<Arc<str>> {
        match self {
            Self::Open | Self::Anonymous => None,
            Self::Key(identity) => Some(identity.id.clone()),
        }
    }

    /// The owner whose jobs they may see; `None`: all jobs.
    pub(crate) fn sees_jobs_of(&self) -> Option<Arc<str>> {
        match self {
            Self::Key(identity) if !identity.sees_all_jobs() => Some(identity.id.clone()),
            // No job has an empty owner, and no guarded endpoint lets them in anyway.
            Self::Anonymous => Some("".into()),
            Self::Open | Self::Key(_) => None,
        }
    }

    /// Whether they may use that workflow.
    pub(crate) fn may_use(&self, workflow: &str) -> bool {
        match self {
            Self::Open => true,
            Self::Anonymous => false,
            Self::Key(identity) => identity.allows_workflow(workflow),
        }
    }

    /// The workflows that they may use; `None`: all of them.
    pub(crate) fn workflows(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::Open | Self::Anonymous => None,
            Self::Key(identity) => identity.workflows(),
        }
    }

    /// Refuses a workflow that they may not use, in the same words whether or not it exists.
    pub(crate) fn expect_to_use(&self, workflow: &str) -> Result<(), Refusal> {
        if self.may_use(workflow) {
            return Ok(());
        }
        Err(ProblemAnswer::of_request(
            StatusCode::FORBIDDEN,
            "workflow_not_allowed",
            "This API key is restricted to other workflows; ask the operator for one that may use this workflow.",
        )
        .into())
    }

    /// The caller of a request that has passed the guard.
    pub(crate) fn of(parts: &Parts, app: &App) -> Self {
        let found = parts.extensions.get::<Self>().cloned();
        found.unwrap_or_else(|| match app.access() {
            None => Self::Open,
            Some(_) => Self::Anonymous,
        })
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self::of(parts, app))
    }
}

/// The key that was sent, as a bearer token or as `X-API-Key`. Two keys that differ count as none.
/// An `Authorization` with another scheme is ignored: it is for a proxy.
pub(crate) fn presented(headers: &HeaderMap) -> Option<&str> {
    let mut tokens = headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .filter_map(|value| {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        })
        .chain(headers.get_all(X_API_KEY).iter().filter_map(|value| {
            let token = value.to_str().ok()?;
            Some(token.trim())
        }));
    let first = tokens.next()?;
    tokens.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    #[test]
    fn a_key_is_read_from_either_header() {
        let check = |headers: &[(&'static str, &str)], expected: Option<&str>| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            assert_eq!(presented(&map), expected, "{headers:?}");
        };
        check(&[], None);
        check(&[("authorization", "Bearer k")], Some("k"));
        check(&[("authorization", "bearer  k ")], Some("k"));
        check(&[("x-api-key", "k")], Some("k"));
        check(
            &[("authorization", "Bearer k"), ("x-api-key", "k")],
            Some("k"),
        );
        check(&[("authorization", "Bearer k"), ("x-api-key", "l")], None);
        check(&[("x-api-key", "k"), ("x-api-key", "l")], None);
        check(
            &[("authorization", "Basic abc"), ("x-api-key", "k")],
            Some("k"),
        );
        check(&[("authorization", "Basic abc")], None);
        check(&[("authorization", "k")], None);
    }
}
