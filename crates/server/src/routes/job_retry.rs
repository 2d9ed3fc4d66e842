//! `POST /jobs/{job_id}/retry`: repeats an ended job as a new one, without running completed nodes
//! again.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::Response;
use lang::fault::{ENOUGH, PathSegment, echo, shortened};
use serde_json::{Value, json};
use service::problem::{ErrorSource, Problem};
use service::{Retry, RetryDefinition, RetryError, RetryFrom};

use super::run::{IDEMPOTENCY_REPLAYED, YES};
use super::submission;
use crate::app::App;
use crate::openapi::{Component, JOBS, Operation};
use crate::paths;
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::body;
use crate::request::job_id::{JOB_NOT_FOUND, NamedJob};
use crate::request::run_headers;
use crate::root_path::RootPath;
use crate::views::fault::FaultEntry;
use crate::views::{reply, run};

pub(crate) fn docs() -> Operation {
    Operation::new(JOBS, "Retry a job", "Starts a new job that continues where this one failed, or from a given node. Nodes that had completed before are not run again.")
        .header_like(
            "Idempotency-Key",
            "A repeated request with the same key, for the same job and the same starting point, gets the same new job.",
            "order-4711-again",
            run_headers::key_rules(),
        )
        .takes_optionally(Component::written("RetryRequest", schema))
        .answers::<run::RunPending>(202, "The new job is accepted.")
        .leads_to_job(202)
        .with(202, "Location", "The path of the new job.")
        .finds("There is no such job.")
        .refuses(409, "The job has not ended, nothing of it failed, or it does not fit the current workflow.")
        .refuses(410, "The job of this Idempotency-Key has been deleted or has expired.")
        .refuses(413, "The body is too large.")
        .validates()
        .may_be_unavailable()
}

pub(crate) async fn handle(
    State(app): State<App>,
    NamedJob(id): NamedJob,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(&app, &parts.headers, body).await?;
    let idempotency_key = run_headers::idempotency_key(&parts.headers)?;
    let asked = if bytes.is_empty() {
        Retry::from(RetryFrom::Failed)
    } else {
        read(&body::json_object(&app, &parts.headers, &bytes).await?)?
    };

    let conflict = |code, detail: String| {
        ProblemAnswer::of_request(StatusCode::CONFLICT, code, detail)
            .about(id)
            .into()
    };
    let how = Retry {
        idempotency_key,
        ..asked
    };
    let accepted = app.service().retry(id, how).await.map_err(|error| match error {
        RetryError::NotFound => JOB_NOT_FOUND,
        RetryError::Active => conflict("job_active", "The job has not ended; cancel it first, or wait for its end.".to_owned()),
        RetryError::NothingFailed => conflict(
            "nothing_failed",
            "The job completed, so no node failed; name the node to start from in `from`.".to_owned(),
        ),
        RetryError::UnknownNode(node) => {
            fault("value_error", "from", "The job's workflow has no node of this name", Value::String(node)).into()
        }
        RetryError::ManyFanOuts { node, sources } => {
            let message = format!(
                "This node runs once per item for several nodes; name one of them: {}",
                sources.join(", ")
            );
            fault("value_error", "from", &message, Value::String(node)).into()
        }
        RetryError::NotServed(workflow) => conflict(
            "workflow_not_served",
            format!("Workflow `{workflow}` is no longer served; leave `definition` out to repeat the job with its original definition."),
        ),
        RetryError::DoesNotFit(reason) => conflict("definition_changed", format!("The job cannot continue: {reason}.")),
        RetryError::Unreadable => {
            let detail = "This version of flowmill cannot read the job's workflow or its progress; submit the run again.";
            let problem = Problem::new(StatusCode::CONFLICT.as_u16(), "job_unreadable", ErrorSource::Server, detail);
            ProblemAnswer::from(problem).about(id).into()
        }
        RetryError::Submit(error) => submission::refused(&app, error, &["body"]),
    })?;
    let mut answer = reply::json(
        StatusCode::ACCEPTED,
        &run::RunPending::of_accepted(&accepted, &RootPath::of(&parts.extensions)),
    );
    answer
        .headers_mut()
        .insert(LOCATION, paths::location_header(accepted.id));
    if accepted.replayed {
        answer.headers_mut().insert(IDEMPOTENCY_REPLAYED, YES);
    }
    Ok(answer)
}

/// `{from?: "failed" | node id, definition?: "original" | "current"}`.
pub(crate) fn read(body: &body::Object) -> Result<Retry, Refusal> {
    let mut faults = Vec::new();
    let mut retry = Retry::from(RetryFrom::Failed);
    for (key, value) in body.members.iter().take(ENOUGH) {
        match (&**key, value) {
            ("from" | "definition", Value::Null) => {}
            ("from", Value::String(text)) if text == "failed" => {}
            ("from", Value::String(node)) => retry.from = RetryFrom::Node(node.clone()),
            ("from", other) => faults.push(fault(
                "string_type",
                key,
                "Input should be a valid string",
                echo(other),
            )),
            ("definition", Value::String(text)) if text == "original" => {}
            ("definition", Value::String(text)) if text == "current" => {
                retry.definition = RetryDefinition::Current;
            }
            ("definition", other) => faults.push(fault(
                "enum",
                key,
                "Input should be 'original' (the workflow that the job began with) or 'current' (as it is now)",
                echo(other),
            )),
            (_, value) => faults.push(fault(
                "extra_forbidden",
                key,
                "Extra inputs are not permitted",
                echo(value),
            )),
        }
    }
    if faults.is_empty() {
        Ok(retry)
    } else {
        Err(Refusal::Invalid(faults))
    }
}

/// The schema of what [`read`] reads.
fn schema() -> Value {
    json!({
        "type": "object",
        "description": "Where a job is to be retried from.",
        "properties": {
            "from": {
                "type": ["string", "null"],
                "minLength": 1,
                "description": "`failed` (the default): where the job failed. A node's id: that node and all after \
                                it run again; of a node that runs once per item, all items.",
            },
            "definition": {
                "type": ["string", "null"],
                "enum": ["original", "current", null],
                "description": "The workflow as the job began with it (the default), or as it is now.",
            },
        },
        "additionalProperties": false,
    })
}

fn fault(kind: &'static str, key: &str, message: &str, input: Value) -> FaultEntry {
    let key = shortened(&PathSegment::Key(key.into()));
    FaultEntry::body(kind, vec![key], message, input)
}
