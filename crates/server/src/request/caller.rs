//! Who asks: as [`crate::guard`] has found out.

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

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Anyone: this server wants no keys.
    Open,
    /// Anyone, where keys are wanted: gets what is there for everyone.
    Anonymous,
    /// Whoever has this key.
    Key(Arc<Identity>),
}

impl Caller {
    /// With whom the jobs that they make are kept.
    pub(crate) fn owner(&self) -> Option<Arc<str>> {
        match self {
            Self::Open | Self::Anonymous => None,
            Self::Key(identity) => Some(identity.id.clone()),
        }
    }

    /// Whose jobs are theirs to see; `None`: all.
    pub(crate) fn sees_jobs_of(&self) -> Option<Arc<str>> {
        match self {
            Self::Key(identity) if !identity.sees_all_jobs() => Some(identity.id.clone()),
            // No job has an empty owner, and no guarded route lets them in.
            Self::Anonymous => Some("".into()),
            Self::Open | Self::Key(_) => None,
        }
    }

    /// Whether they may have to do with that workflow.
    pub(crate) fn may_use(&self, workflow: &str) -> bool {
        match self {
            Self::Open => true,
            Self::Anonymous => false,
            Self::Key(identity) => identity.allows_workflow(workflow),
        }
    }

    /// The only workflows that they may have to do with; `None`: all of them.
    pub(crate) fn workflows(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::Open | Self::Anonymous => None,
            Self::Key(identity) => identity.workflows(),
        }
    }

    /// Says no, in the same words whether or not there is such a workflow.
    pub(crate) fn expect_to_use(&self, workflow: &str) -> Result<(), Refusal> {
        if self.may_use(workflow) {
            return Ok(());
        }
        Err(ProblemAnswer::of_request(
            StatusCode::FORBIDDEN,
            "workflow_not_allowed",
            "This API key is for other workflows; ask for one that may use this one.",
        )
        .into())
    }

    /// Of a request that has passed the guard.
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

/// The key that was sent: as a bearer token, or as `X-API-Key`. Two that differ are none. An
/// `Authorization` of another kind is for somebody between.
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
