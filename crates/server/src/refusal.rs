//! Answers to requests that cannot be fulfilled.
//!
//! A handler returns a [`Refusal`]; [`crate::middleware`] renders it, because only there are all
//! facts at hand (what the client accepts, the request's id). There are three shapes:
//!
//! - faults of a request as `FastAPI` lists them, `{"detail": [{type, loc, msg, input, ctx?}]}`;
//! - `{"detail": text}` for what does not exist, as clients of the Python original know it;
//! - RFC 9457 problems for everything else, and for the other two if the client asks for
//!   `application/problem+json`.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jobs::job::JobId;
use jobs::json::Json;
use jobs::store;
use service::problem::{ErrorSource, Problem};

use crate::paths::location;
use crate::request::accept;
use crate::views::fault::FaultEntry;
use crate::views::problem::{Detail, ProblemDocument, ValidationFaults};
use crate::views::rate_limit::RateLimitHeaders;
use crate::views::reply::to_json;

/// Why a request is not fulfilled.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// 422: the request has these faults.
    Invalid(Vec<FaultEntry>),
    /// 404: there is nothing of that name.
    NotFound(&'static str),
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// A run failed: the status of its problem, the problem, and the seconds of `Retry-After` if
    /// another run may succeed then.
    RunFailed(StatusCode, Json, Option<u32>),
    /// Anything else.
    Problem(Box<ProblemAnswer>),
}

/// Seconds after which a client that was turned away should try again.
pub(crate) const RETRY_AFTER_SECONDS: u32 = 5;

/// A problem and the headers of its answer.
#[derive(Debug)]
pub(crate) struct ProblemAnswer {
    problem: Problem,
    retry_after_seconds: Option<u32>,
    limits: Option<RateLimitHeaders>,
    close: bool,
    authenticate: bool,
}

impl ProblemAnswer {
    /// A problem that the client caused.
    pub(crate) fn of_request(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Problem::new(status.as_u16(), code, ErrorSource::Request, detail).into()
    }

    /// 503: not now; the client should ask again after [`RETRY_AFTER_SECONDS`].
    pub(crate) fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE.as_u16(),
            code,
            ErrorSource::Server,
            detail,
        );
        Self::from(problem)
            .retryable()
            .retry_after(RETRY_AFTER_SECONDS)
    }

    /// The server is shutting down and accepts nothing new.
    pub(crate) fn draining() -> Self {
        Self::unavailable(
            "draining",
            "The server is shutting down; try again, another one will answer.",
        )
    }

    /// 500: a bug, or a fault of the machine. The cause is in the log, not in the answer.
    pub(crate) fn internal() -> Self {
        let detail =
            "Something went wrong inside the server; its log tells more under this request's id.";
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
            "internal",
            ErrorSource::Server,
            detail,
        )
        .into()
    }

    /// The same request may succeed later.
    pub(crate) fn retryable(mut self) -> Self {
        self.problem.retryable = true;
        self
    }

    /// Sets `Retry-After`.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Adds the headers of the limit that was reached.
    pub(crate) fn rate_limit(mut self, limits: RateLimitHeaders) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Names the job that the problem is about.
    pub(crate) fn about(mut self, job: JobId) -> Self {
        self.problem.instance = Some(location(job));
        self.problem.job_id = Some(job);
        self
    }

    /// Asks the client for an API key (`WWW-Authenticate`).
    pub(crate) fn authenticate(mut self) -> Self {
        self.authenticate = true;
        self
    }

    /// Closes the connection, on which no further request can be read.
    pub(crate) fn close(mut self) -> Self {
        self.close = true;
        self
    }
}

impl From<Problem> for ProblemAnswer {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            retry_after_seconds: None,
            limits: None,
            close: false,
            authenticate: false,
        }
    }
}

impl From<ProblemAnswer> for Refusal {
    fn from(answer: ProblemAnswer) -> Self {
        Self::Problem(Box::new(answer))
    }
}

impl From<FaultEntry> for Refusal {
    fn from(entry: FaultEntry) -> Self {
        Self::Invalid(vec![entry])
    }
}

/// A refusal on its way out: not yet rendered.
#[derive(Debug, Clone)]
struct Unrendered(Arc<Refusal>);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status();
        response.extensions_mut().insert(Unrendered(Arc::new(self)));
        response
    }
}

/// Gives a refused response its body. `instance` names this occurrence.
pub(crate) fn render(response: &mut Response, as_problem: bool, instance: impl FnOnce() -> String) {
    let Some(Unrendered(refusal)) = response.extensions_mut().remove() else {
        return;
    };
    let (body, media_type) = match (&*refusal, as_problem) {
        (Refusal::Invalid(entries), false) => {
            (to_json(&ValidationFaults { detail: entries }), accept::JSON)
        }
        (Refusal::NotFound(detail), false) => (to_json(&Detail { detail }), accept::JSON),
        (Refusal::MethodNotAllowed, false) => (
            to_json(&Detail {
                detail: METHOD_NOT_ALLOWED,
            }),
            accept::JSON,
        ),
        (refusal, _) => (refusal.document(instance), accept::PROBLEM),
    };
    *response.body_mut() = Body::from(body);
    let headers = response.headers_mut();
    // The router announced the empty body it saw.
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Refusal::RunFailed(_, _, Some(seconds)) = &*refusal {
        headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
    }
    if let Refusal::Problem(answer) = &*refusal {
        if let Some(seconds) = answer.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(limits) = answer.limits.clone() {
            limits.add_to(headers);
        }
        if answer.authenticate {
            headers.insert(WWW_AUTHENTICATE, BEARER);
        }
        if answer.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// The `WWW-Authenticate` of a 401.
const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"flowmill\"");

const METHOD_NOT_ALLOWED: &str = "Method Not Allowed";

impl Refusal {
    /// The job store failed. The reason is in the log only.
    pub(crate) fn store_failed(error: &store::Error) -> Self {
        tracing::error!(%error, "the job store failed");
        Self::store_unavailable("The job store does not answer; try again later.")
    }

    /// As [`Refusal::store_failed`], for the operator of the server: gives the reason, which names
    /// no paths.
    pub(crate) fn store_not_ready(error: &store::Error) -> Self {
        tracing::error!(%error, "the job store failed");
        Self::store_unavailable(match error {
            store::Error::Unavailable(reason) => {
                format!("The job store does not answer: {reason}.")
            }
            other => format!("The job store does not answer: {other}."),
        })
    }

    fn store_unavailable(detail: impl Into<String>) -> Self {
        ProblemAnswer::unavailable("store_unavailable", detail).into()
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RunFailed(status, ..) => *status,
            Self::Problem(answer) => StatusCode::from_u16(answer.problem.status)
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The problem document, as JSON.
    pub(crate) fn document(&self, instance: impl FnOnce() -> String) -> Vec<u8> {
        let mut errors = None;
        let (code, detail) = match self {
            // It names its job as its instance already.
            Self::RunFailed(_, problem, _) => return problem.text().into_owned().into(),
            Self::Problem(answer) => {
                let mut problem = answer.problem.clone();
                problem.instance.get_or_insert_with(instance);
                return to_json(&ProblemDocument {
                    problem: &problem,
                    errors,
                });
            }
            Self::Invalid(entries) => {
                errors = Some(entries.as_slice());
                ("invalid_request", FaultEntry::summary(entries))
            }
            Self::NotFound(detail) => ("not_found", (*detail).to_owned()),
            Self::MethodNotAllowed => ("method_not_allowed", METHOD_NOT_ALLOWED.to_owned()),
        };
        let mut problem = Problem::new(self.status().as_u16(), code, ErrorSource::Request, detail);
        problem.instance = Some(instance());
        to_json(&ProblemDocument {
            problem: &problem,
            errors,
        })
    }
}
