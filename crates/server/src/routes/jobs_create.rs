//! `POST /jobs`: starts a run without waiting for it.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::Response;
use engine::watch::Origin;
use lang::fault::PathSegment;
use serde_json::Value;
use service::submission::RunRequest;

use super::run::{IDEMPOTENCY_REPLAYED, YES};
use super::submission;
use crate::app::App;
use crate::openapi::{Component, JOBS, Operation};
use crate::paths;
use crate::refusal::Refusal;
use crate::request::body;
use crate::request::caller::Caller;
use crate::request::envelope::{self, Envelope};
use crate::request::run_headers::{self, RunHeaders};
use crate::root_path::RootPath;
use crate::views::fault::FaultEntry;
use crate::views::{reply, run};

pub(crate) fn docs() -> Operation {
    Operation::new(
        JOBS,
        "Start a job",
        "Starts a run and answers at once with a handle on it.",
    )
    .header_like(
        "Idempotency-Key",
        "A repeated request with the same key and inputs gets the same job.",
        "order-4711",
        run_headers::key_rules(),
    )
    .takes(Component::written("JobRequest", envelope::schema))
    .answers::<run::RunPending>(202, "The job is accepted.")
    .leads_to_job(202)
    .with(202, "Location", "The path of the job.")
    .finds("There is no such workflow.")
    .refuses(
        410,
        "The job of this Idempotency-Key has been deleted or has expired.",
    )
    .refuses(413, "The body is too large.")
    .validates()
    .refuses(
        501,
        "The workflow, or the request, uses a feature that is not supported yet.",
    )
    .may_be_unavailable()
}

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(&app, &parts.headers, body).await?;
    let RunHeaders {
        cancel_after,
        idempotency_key,
        ..
    } = RunHeaders::read(&parts.headers)?;
    let object = body::json_object(&app, &parts.headers, &bytes).await?;
    let Envelope {
        inputs,
        workflow,
        metadata,
        deadline,
        budget,
        webhook,
    } = Envelope::read(object, &|url, secret| app.service().webhook(url, secret))?;

    let catalog = app.service().catalog();
    let workflow = match &workflow {
        Some(name) => caller
            .expect_to_use(name)
            .map(|()| catalog.get(name))?
            .ok_or(Refusal::NotFound("Workflow not found"))?,
        None => catalog.only().ok_or_else(|| {
            FaultEntry::body(
                "missing",
                vec![PathSegment::Key("workflow".into())],
                "Field required where several workflows are served",
                Value::Null,
            )
        })?,
    };
    caller.expect_to_use(&workflow.name)?;
    let request = RunRequest {
        origin: Origin {
            waits_ms: None,
            parent: parts.extensions.get().copied(),
        },
        metadata,
        deadline: deadline.or(cancel_after),
        budget,
        idempotency_key,
        webhook,
        ..submission::of_inputs(inputs, &caller)
    };
    let accepted = submission::submit(&app, &workflow, request, &["body", "inputs"]).await?;
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
