//! `POST /run`: the body is the workflow's inputs. Waits for the result as long as the client asks,
//! then answers with a handle on the same run; or streams the run's events.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use engine::watch::Origin;
use jiff::Timestamp;
use jobs::job::{Job, Status};
use jobs::spend::Day;
use serde::Deserialize;
use serde_json::json;
use service::problem::{ErrorSource, Problem};
use service::submission::{Accepted, RunRequest};

use super::submission;
use crate::app::App;
use crate::openapi::{Component, Content, Operation, RUN};
use crate::paths;
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::caller::Caller;
use crate::request::run_headers::{self, RunHeaders};
use crate::request::workflow::SelectedWorkflow;
use crate::request::{accept, body, duration};
use crate::root_path::RootPath;
use crate::views::{delivery, rate_limit, reply, run, sse};

pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
pub(super) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

pub(super) const YES: HeaderValue = HeaderValue::from_static("true");

/// How long a client that streams the events of its run counts as waiting for it.
const FOLLOWS: Duration = Duration::from_secs(24 * 60 * 60);

/// The `Retry-After` of a handle: seconds to wait before polling it.
const ASK_AFTER: HeaderValue = HeaderValue::from_static("1");

pub(crate) fn docs() -> Operation {
    Operation::new(
        RUN,
        "Run the workflow",
        "The body is the inputs. If the run ends in time, the answer is its result, otherwise a handle on it. \
         A run goes on whether or not a client waits for it, and is never started twice.",
    )
    .header("Prefer", "`wait=N`: wait at most N seconds for the result. `respond-async`: do not wait (RFC 7240).", "wait=10")
    .header_like("Cancel-After", "Stop the run this long after its acceptance.", "5m", json!({ "pattern": duration::PATTERN }))
    .header_like("Idempotency-Key", "A repeated request with the same key and inputs gets the same run.", "order-4711", run_headers::key_rules())
    .takes(Component::of::<run::Inputs>())
    .responds(200, "The run completed.", [Content::json::<run::RunResult<'_>>(), Content::events()])
    .leads_to_job(200)
    .answers::<run::RunPending>(202, "The run goes on.")
    .leads_to_job(202)
    .with(202, "Location", "The path of the result.")
    .with(202, "Retry-After", "Seconds to wait before polling.")
    .with(202, "Preference-Applied", "The preferences that were heeded.")
    .refuses(409, "The run was cancelled.")
    .refuses(410, "The job of this Idempotency-Key has been deleted or has expired.")
    .refuses(413, "The body is too large.")
    .validates()
    .refuses(500, "The run failed.")
    .refuses(501, "The workflow uses a feature that cannot be run yet.")
    .refuses(502, "The run failed through the fault of a model provider.")
    .refuses(504, "The run failed because a model provider did not answer in time.")
    .may_be_unavailable()
}

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    selected: SelectedWorkflow,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    // First, so that a client that is still sending can read a refusal.
    let bytes = body::read(&app, &parts.headers, body).await?;
    let run_headers = RunHeaders::read(&parts.headers)?;
    let as_events = accept::names(&parts.headers, accept::EVENTS);
    let parent = parts.extensions.get().copied();
    let prefix = RootPath::of(&parts.extensions);
    let inputs = body::json_object(&app, &parts.headers, &bytes).await?;
    // Ten thousand clients may wait at once, so their requests are not kept.
    drop((parts, bytes));

    let RunHeaders {
        preferences,
        cancel_after,
        idempotency_key,
    } = run_headers;
    let is_keyed = idempotency_key.is_some();
    let settings = app.settings();
    let wait = preferences.wait_time(settings.sync_timeout, settings.max_wait);
    let waits = if as_events { FOLLOWS } else { wait };
    let request = RunRequest {
        origin: Origin {
            waits_ms: Some(u64::try_from(waits.as_millis()).unwrap_or(u64::MAX)),
            parent,
        },
        deadline: cancel_after,
        idempotency_key,
        stream: as_events,
        ..submission::of_inputs(inputs, &caller)
    };
    if as_events {
        let accepted = submission::submit(&app, &selected.loaded, request, &["body"]).await?;
        return Ok(follow(&app, &accepted, is_keyed, prefix));
    }

    let (accepted, ended) = if preferences.is_async() {
        // The answer is a handle even if the run has ended by now: such a client expects one.
        let accepted = submission::submit(&app, &selected.loaded, request, &["body"]).await?;
        app.service().leave(&accepted);
        (accepted, None)
    } else if wait.is_zero() {
        let accepted = submission::submit(&app, &selected.loaded, request, &["body"]).await?;
        let ended = app.service().wait(&accepted, wait).await;
        (accepted, ended)
    } else {
        let selected = &selected.loaded;
        let inline = submission::submit_inline(&app, selected, request, wait, &["body"]).await?;
        let accepted = inline.accepted.clone();
        (accepted, app.service().wait_inline(inline, wait).await)
    };
    let mut answer = ended.as_ref().map_or_else(
        || pending(&accepted, &prefix),
        |job| of_ended(job, is_keyed),
    );
    if let Some(job) = &ended {
        delivery::mark_if_ended(&app, job, &mut answer);
    }
    if let Some(applied) = preferences.applied(settings.max_wait) {
        answer.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    if accepted.replayed {
        answer.headers_mut().insert(IDEMPOTENCY_REPLAYED, YES);
    }
    Ok(answer)
}

/// 200 for a run that completed, otherwise its problem.
fn of_ended(job: &Job, is_keyed: bool) -> Response {
    match job.status {
        Status::Completed => reply::json(StatusCode::OK, &run::RunResult::of(job)),
        _ => not_completed(job, is_keyed).into_response(),
    }
}

/// The problem of a run that failed or was cancelled, with the HTTP status that the problem names.
///
/// A request with an idempotency key gets the same answer however often it is repeated. So its
/// problem is not `retryable`, and says how to go on.
fn not_completed(job: &Job, is_keyed: bool) -> Refusal {
    #[derive(Deserialize)]
    struct StoredProblem {
        status: u16,
        #[serde(default)]
        retryable: bool,
    }

    if job.status == Status::Cancelled {
        let problem = Problem::new(
            StatusCode::CONFLICT.as_u16(),
            "run_cancelled",
            ErrorSource::Request,
            "The run was cancelled.",
        );
        return ProblemAnswer::from(problem).about(job.id).into();
    }
    let problem = job.problem.as_ref();
    let stored = problem.and_then(|problem| problem.read::<StoredProblem>().ok());
    let status = stored
        .as_ref()
        .and_then(|stored| StatusCode::from_u16(stored.status).ok());
    match (status, problem) {
        (Some(status), Some(problem))
            if is_keyed && stored.as_ref().is_some_and(|stored| stored.retryable) =>
        {
            Refusal::RunFailed(status, run::bound_to_key(problem), None)
        }
        (Some(status), Some(problem)) => {
            let is_over_quota = status == StatusCode::TOO_MANY_REQUESTS
                && stored.is_some_and(|stored| stored.retryable);
            let retry_after = job
                .completed_at
                .filter(|_| is_over_quota)
                .map(until_tomorrow);
            Refusal::RunFailed(status, problem.clone(), retry_after)
        }
        _ => ProblemAnswer::internal().into(),
    }
}

/// Seconds until the daily quotas renew.
fn until_tomorrow(at: Timestamp) -> u32 {
    let left = Day::of(at).next().begins().duration_since(at);
    left.try_into().map_or(0, rate_limit::seconds)
}

fn pending(accepted: &Accepted, prefix: &RootPath) -> Response {
    let mut answer = reply::json(
        StatusCode::ACCEPTED,
        &run::RunPending::of_accepted(accepted, prefix),
    );
    answer.headers_mut().insert(RETRY_AFTER, ASK_AFTER);
    answer
        .headers_mut()
        .insert(LOCATION, paths::location_header(accepted.id));
    answer
}

/// Streams the run's events, then the answer that a waiting client would have got.
fn follow(app: &App, accepted: &Accepted, is_keyed: bool, prefix: RootPath) -> Response {
    let result = {
        let (service, id) = (app.service().clone(), accepted.id);
        async move {
            let job = service.get(id).await.ok()??;
            // The stream ended early; the client finds the result where `Location` leads.
            if !job.status.is_final() {
                return None;
            }
            let result = match job.status {
                Status::Completed => reply::to_json(&run::RunResult::of(&job)),
                _ => not_completed(&job, is_keyed)
                    .document(|| format!("{}{}", prefix.as_str(), paths::location(id))),
            };
            String::from_utf8(result).ok()
        }
    };
    let mut answer = sse::respond(
        app.service().follow(accepted),
        result,
        app.settings().comment_every,
    );
    answer
        .headers_mut()
        .insert(LOCATION, paths::location_header(accepted.id));
    if accepted.replayed {
        answer.headers_mut().insert(IDEMPOTENCY_REPLAYED, YES);
    }
    answer
}
