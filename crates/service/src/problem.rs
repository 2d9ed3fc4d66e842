//! Problem documents (RFC 9457): the shape of every error that is not a fault of the inputs. They
//! are stored with failed jobs, and the server answers with them.

use std::borrow::Cow;

use engine::outcome::{Failure, FailureCode, FailureSource};
use jobs::job::JobId;
use schemars::JsonSchema;
use serde::Serialize;

/// A problem document.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Problem {
    /// `urn:flowmill:problem:` and the code.
    #[serde(rename = "type")]
    #[schemars(extend("format" = "uri-reference"))]
    pub kind: String,
    /// The code in words.
    pub title: String,
    /// The HTTP status.
    #[schemars(with = "u32")]
    pub status: u16,
    /// One plain sentence, for people.
    pub detail: String,
    /// What the problem is about: a path of this API.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "uri-reference"))]
    pub instance: Option<String>,
    /// The kind of problem, for programs; stable.
    pub code: Cow<'static, str>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Who caused the problem.
    pub error_source: ErrorSource,
    /// The node that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub node: Option<String>,
    /// The job that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "JobId")]
    pub job_id: Option<JobId>,
}

/// Who caused a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ErrorSource {
    Request,
    Workflow,
    Provider,
    Server,
}

impl Problem {
    /// A problem with type and title made from its code, such as `queue_full`; not retryable.
    pub fn new(
        status: u16,
        code: impl Into<Cow<'static, str>>,
        error_source: ErrorSource,
        detail: impl Into<String>,
    ) -> Self {
        let code = code.into();
        Self {
            kind: format!("urn:flowmill:problem:{code}"),
            title: in_words(&code),
            status,
            detail: detail.into(),
            instance: None,
            code,
            retryable: false,
            error_source,
            node: None,
            job_id: None,
        }
    }

    /// The problem of a failed run, and its job where it has one. The status is 502 or 504 where
    /// the provider caused it, 429 where the client may not spend more, and 500 otherwise.
    pub fn of_failure(failure: &Failure, job: Option<JobId>) -> Self {
        let (status, error_source) = match (failure.source, failure.code) {
            // Not caused by the run: its client may not spend more.
            (_, FailureCode::QuotaExhausted) => (429, ErrorSource::Request),
            (FailureSource::Provider, FailureCode::ModelTimeout) => (504, ErrorSource::Provider),
            (FailureSource::Provider, _) => (502, ErrorSource::Provider),
            (FailureSource::Workflow, _) => (500, ErrorSource::Workflow),
            (FailureSource::Server, _) => (500, ErrorSource::Server),
        };
        Self {
            instance: job.map(|id| format!("/status/{id}")),
            retryable: failure.retryable,
            node: failure.node.clone(),
            job_id: job,
            ..Self::new(
                status,
                code_name(failure.code),
                error_source,
                &*failure.message,
            )
        }
    }
}

/// The code as it stands in JSON.
fn code_name(code: FailureCode) -> String {
    match serde_json::to_value(code) {
        Ok(serde_json::Value::String(name)) => name,
        other => unreachable!("a failure code is written as a text, not {other:?}"),
    }
}

fn in_words(code: &str) -> String {
    let mut words = code.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_follows_whose_fault_it_was() {
        let check = |source, code, status| {
            let failure = Failure {
                code,
                message: "It failed.".into(),
                node: None,
                source,
                retryable: false,
                cut_off: None,
            };
            assert_eq!(Problem::of_failure(&failure, None).status, status);
        };
        check(FailureSource::Provider, FailureCode::ModelError, 502);
        check(FailureSource::Provider, FailureCode::ModelTimeout, 504);
        check(FailureSource::Workflow, FailureCode::BudgetExceeded, 500);
        check(FailureSource::Server, FailureCode::Internal, 500);
        check(FailureSource::Workflow, FailureCode::QuotaExhausted, 429);
    }

    #[test]
    fn a_failed_runs_problem_has_every_member() {
        let failure = Failure {
            code: FailureCode::BudgetExceeded,
            message: "The run would exceed its budget.".into(),
            node: Some("ask".into()),
            source: FailureSource::Workflow,
            retryable: false,
            cut_off: None,
        };
        let id = JobId(uuid::Uuid::from_u128(7));
        assert_eq!(
            serde_json::to_value(Problem::of_failure(&failure, Some(id))).unwrap(),
            serde_json::json!({
                "type": "urn:flowmill:problem:budget_exceeded",
                "title": "Budget exceeded",
                "status": 500,
                "detail": "The run would exceed its budget.",
                "instance": format!("/status/{id}"),
                "code": "budget_exceeded",
                "retryable": false,
                "error_source": "workflow",
                "node": "ask",
                "job_id": id.to_string(),
            })
        );
    }
}
