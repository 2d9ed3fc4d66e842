//! The answers of `POST /run`. The first five keys are the Python original's and always there.

use engine::outcome::Usage;
use jobs::job::{Job, JobId, Status};
use jobs::json::Json;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use service::document::Outputs;
use service::submission::Accepted;

use crate::paths::location;
use crate::root_path::RootPath;

/// The inputs of the workflow.
#[derive(JsonSchema)]
pub(crate) struct Inputs;

/// The `status` of the two answers.
const SUCCESS: &str = "success";
const ASYNC: &str = "async";

/// A run that completed.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RunResult<'a> {
    #[schemars(extend("const" = SUCCESS))]
    status: &'static str,
    /// The run's duration.
    #[schemars(with = "u64")]
    execution_time_ms: Option<u64>,
    #[schemars(with = "Outputs")]
    outputs: Option<&'a Json>,
    job_id: JobId,
    message: (),
    #[schemars(with = "Usage")]
    usage: Option<&'a Json>,
}

impl<'a> RunResult<'a> {
    /// Of a completed job.
    pub(crate) fn of(job: &'a Job) -> Self {
        Self {
            status: SUCCESS,
            execution_time_ms: job.execution_time_ms,
            outputs: job.outputs.as_ref(),
            job_id: job.id,
            message: (),
            usage: job.usage.as_ref(),
        }
    }
}

/// A handle on a run that goes on.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RunPending {
    #[schemars(extend("const" = ASYNC))]
    status: &'static str,
    execution_time_ms: (),
    outputs: (),
    job_id: JobId,
    /// A sentence that says where the result will be.
    message: String,
}

impl RunPending {
    /// Of a job that was accepted, now or for an earlier request with the same key.
    pub(crate) fn of_accepted(accepted: &Accepted, prefix: &RootPath) -> Self {
        let path = format!("{}{}", prefix.as_str(), location(accepted.id));
        Self {
            status: ASYNC,
            execution_time_ms: (),
            outputs: (),
            job_id: accepted.id,
            message: match accepted.ended {
                None => format!("The run goes on; its result will be at {path}."),
                Some(Status::Completed) => {
                    format!("The run has completed; ask for its result at {path}.")
                }
                Some(status) => format!(
                    "The run ended as {}; ask for the reason at {path}. {HOW_TO_GO_ON}",
                    status.as_str()
                ),
            },
        }
    }
}

/// Added to the answer to a request with a key whose run did not complete.
const HOW_TO_GO_ON: &str = "Its Idempotency-Key stays with this run; to try again, send POST /jobs/{job_id}/retry, \
    which does not pay again for nodes that had completed, or the request with a new key.";

/// The problem of a failed run, for a request with a key: repeating the request would not run it
/// again.
pub(crate) fn bound_to_key(problem: &Json) -> Json {
    let Ok(mut members) = problem.read::<Map<String, Value>>() else {
        return problem.clone();
    };
    members.insert("retryable".to_owned(), Value::Bool(false));
    if let Some(Value::String(detail)) = members.get_mut("detail") {
        let stop = if detail.ends_with(['.', '!', '?']) {
            ""
        } else {
            "."
        };
        detail.push_str(stop);
        detail.push(' ');
        detail.push_str(HOW_TO_GO_ON);
    }
    Json::of(&members)
}
