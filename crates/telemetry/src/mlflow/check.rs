//! Tests whether an MLflow server supports what flowmill needs, by doing everything once.

use std::fmt::Display;

use engine::host::Host;
use outbound::Environment;
use reqwest::Method;
use serde_json::json;

use super::client::{Client, Error};
use crate::otlp::{Resource, for_mlflow};
use crate::span::{Attributes, Kind, Span, Status};

/// The experiment that the test traces go to.
const EXPERIMENT: &str = "flowmill-check";

/// The result of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What was tested.
    pub what: &'static str,
    /// The finding, or why it does not work.
    pub result: Result<String, String>,
}

fn checked(what: &'static str, result: Result<impl Display, Error>) -> Checked {
    Checked {
        what,
        result: result
            .map(|found| found.to_string())
            .map_err(|error| error.to_string()),
    }
}

/// Runs all tests in order, up to the first failure that later ones depend on.
pub async fn check(client: &Client, host: &dyn Host) -> Vec<Checked> {
    let mut done = Vec::new();
    let version = client.version().await;
    let answers = version.is_ok();
    done.push(checked(
        "answers",
        version.map(|version| format!("MLflow {version} at {}", client.shown())),
    ));
    if !answers {
        return done;
    }
    let experiment = match client.experiment(EXPERIMENT).await {
        Ok(id) => id,
        Err(error) => {
            done.push(checked("accepts runs", Err::<String, _>(error)));
            return done;
        }
    };
    let now = host.now().as_millisecond();
    let run = client
        .create_run(&json!({"experiment_id": experiment, "run_name": "check", "start_time": now}))
        .await;
    let run = match run {
        Ok(run) => run,
        Err(error) => {
            done.push(checked("accepts runs", Err::<String, _>(error)));
            return done;
        }
    };
    let metric = json!({"key": "success", "value": 1, "timestamp": now, "step": 0});
    let logged = async {
        client
            .log_batch(&json!({"run_id": run.id, "metrics": [metric]}))
            .await?;
        client
            .update_run(&json!({"run_id": run.id, "status": "FINISHED", "end_time": now}))
            .await
    };
    done.push(checked(
        "accepts runs",
        logged
            .await
            .map(|()| format!("in the experiment {EXPERIMENT}")),
    ));
    let artifacts = match &run.artifacts {
        None => Err(Error::Refused {
            status: 501,
            code: String::new(),
            message: "the server does not serve artifacts itself; start it with --serve-artifacts"
                .to_owned(),
        }),
        Some(folder) => {
            let text = "written by `flowmill mlflow check`\n".to_owned();
            client.put_artifact(folder, "check.txt", text).await
        }
    };
    done.push(checked("accepts artifacts", artifacts.map(|()| "yes")));
    let traced = client
        .traces(&experiment, Some(&run.id), a_span(host))
        .await;
    done.push(checked("accepts traces", traced.map(|()| "yes")));
    // Cleaning up; a failure does not matter.
    let _ = client
        .call(Method::POST, "runs/delete", &json!({"run_id": run.id}))
        .await;
    done
}

fn a_span(host: &dyn Host) -> Vec<u8> {
    let id = host.new_id();
    let now = host.now();
    let span = Span {
        trace_id: *id.as_bytes(),
        span_id: crate::run::span_id(id),
        parent: None,
        name: "check".to_owned(),
        kind: Kind::Internal,
        start: now,
        end: now,
        attributes: Attributes::default(),
        events: Vec::new(),
        status: Status::Ok,
        is_run: true,
    };
    let resource = Resource::read(&Environment::default());
    for_mlflow(std::iter::once(span), *id.as_bytes(), &resource)
}
