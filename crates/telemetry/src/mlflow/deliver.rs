//! Delivers a run: the requests that bring MLflow up to date. What was delivered is removed, so
//! that an interrupted delivery continues where it stopped.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Client, Error, Run};
use super::head::{Artifact, End, EndStatus, RunHead};
use super::names;
use crate::otlp::{self, Resource};
use crate::queue::{BytePermit, EntryPermit};
use crate::span::Span;

/// The tag by which a resumed run finds the MLflow run of its first attempt.
const JOB_TAG: &str = "flowmill.job_id";

/// A run that is not completely delivered yet.
#[derive(Debug)]
pub(super) struct PendingRun {
    pub(super) head: Arc<RunHead>,
    _entry: EntryPermit,
    pub(super) run: Option<Run>,
    /// The request to create the run was not answered, so the run may or may not exist.
    may_exist: bool,
    params: VecDeque<(String, String)>,
    pub(super) spans: Vec<(Box<Span>, BytePermit)>,
    pub(super) artifacts: VecDeque<(Artifact, Option<BytePermit>)>,
    pub(super) is_async: bool,
    /// The value that MLflow has.
    named_async: bool,
    pub(super) end: Option<Box<End>>,
    metrics_logged: bool,
    /// No more messages come from this attempt.
    pub(super) is_over: bool,
    /// When something was last delivered, or when the run began.
    pub(super) since: Duration,
}

impl PendingRun {
    pub(super) fn new(head: Arc<RunHead>, permit: EntryPermit, now: Duration) -> Self {
        let param = |(name, value): &(String, crate::capture::Captured)| {
            (
                names::name(name),
                names::cut(value.as_str(), names::MAX_PARAM),
            )
        };
        let inputs = head
            .inputs
            .clone()
            .map(|inputs| (Artifact::captured("inputs.json", inputs), None));
        Self {
            params: head.params.iter().map(param).collect(),
            artifacts: inputs.into_iter().collect(),
            is_async: head.is_async,
            named_async: head.is_async,
            head,
            _entry: permit,
            run: None,
            may_exist: false,
            spans: Vec::new(),
            end: None,
            metrics_logged: false,
            is_over: false,
            since: now,
        }
    }

    pub(super) fn ended(&mut self, mut end: Box<End>) {
        if let Some(outputs) = end.outputs.take() {
            let outputs = Artifact::captured("outputs.json", outputs);
            self.artifacts.push_back((outputs, None));
        }
        if let EndStatus::Failed {
            class,
            sentence,
            node,
        } = &end.status
        {
            let error = json!({"code": class, "error": sentence.as_str(), "node": node});
            let error = Artifact::json("error.json", &error);
            self.artifacts.push_back((error, None));
        }
        self.end = Some(end);
        self.is_over = true;
    }

    /// Whether there is something to deliver.
    pub(super) fn has_news(&self) -> bool {
        self.run.is_none()
            || !self.spans.is_empty()
            || !self.artifacts.is_empty()
            || self.is_async != self.named_async
    }
}

/// Delivers runs.
#[derive(Debug)]
pub(super) struct RunDeliverer {
    pub(super) client: Client,
    pub(super) resource: Resource,
    /// Ids of experiments by name.
    pub(super) experiments: Mutex<HashMap<String, String>>,
}

impl RunDeliverer {
    /// Brings MLflow up to date. Parts that MLflow refuses are skipped and added to `refused`;
    /// after an error the rest must be retried.
    pub(super) async fn deliver(
        &self,
        pending: &mut PendingRun,
        refused: &mut Vec<String>,
    ) -> Result<(), Error> {
        let run = self.run_of(pending).await?;
        self.log(pending, &run, refused).await?;
        while let Some((artifact, permit)) = pending.artifacts.pop_front() {
            let Some(folder) = &run.artifacts else {
                refused.push(
                    "the server does not serve artifacts itself (start it with --serve-artifacts)"
                        .to_owned(),
                );
                pending.artifacts.clear();
                break;
            };
            let put = self
                .client
                .put_artifact(folder, &artifact.path, artifact.text.clone())
                .await;
            if let Err(error) = tolerate("an artifact", put, refused) {
                pending.artifacts.push_front((artifact, permit));
                return Err(error);
            }
        }
        if !pending.spans.is_empty() {
            let trace_id = *pending.head.job.as_bytes();
            let spans = pending.spans.iter().map(|(span, _)| (**span).clone());
            let body = otlp::for_mlflow(spans, trace_id, &self.resource);
            let sent = self
                .client
                .traces(&run.experiment_id, Some(&run.id), body)
                .await;
            tolerate("spans", sent, refused)?;
            pending.spans.clear();
        }
        self.close(pending, &run, refused).await
    }

    async fn run_of(&self, pending: &mut PendingRun) -> Result<Run, Error> {
        if let Some(run) = &pending.run {
            return Ok(run.clone());
        }
        let head = &pending.head;
        let experiment_id = self.experiment(&head.experiment).await?;
        let job = head.job.to_string();
        let mut run = None;
        if head.resumed || pending.may_exist {
            run = self.client.find_run(&experiment_id, JOB_TAG, &job).await?;
        }
        if let Some(run) = &run {
            // Its state is that of the earlier attempt.
            let status = json!({"run_id": run.id, "status": "RUNNING",
                "run_name": head.name(pending.is_async)});
            self.client.update_run(&status).await?;
        }
        pending.named_async = pending.is_async;
        let run = if let Some(run) = run {
            run
        } else {
            let mut tags = vec![
                tag("flowmill.workflow", &head.workflow),
                tag("flowmill.definition_hash", &head.definition_hash),
                tag(JOB_TAG, &job),
                tag("mlflow.source.name", &head.workflow),
            ];
            if let Some(version) = &head.version {
                tags.push(tag("flowmill.version", version));
            }
            let made = self
                .client
                .create_run(&json!({
                    "experiment_id": experiment_id,
                    "run_name": head.name(pending.is_async),
                    "start_time": head.created_at.as_millisecond(),
                    "tags": tags,
                }))
                .await;
            if made
                .as_ref()
                .is_err_and(|error| error.is("RESOURCE_DOES_NOT_EXIST"))
            {
                // It was deleted after we had looked it up.
                self.experiments().remove(&head.experiment);
            }
            if matches!(made, Err(Error::Unreachable(_))) {
                pending.may_exist = true;
            }
            made?
        };
        pending.run = Some(run.clone());
        Ok(run)
    }

    async fn experiment(&self, name: &str) -> Result<String, Error> {
        let known = self.experiments().get(name).cloned();
        if let Some(id) = known {
            return Ok(id);
        }
        let id = self.client.experiment(name).await?;
        self.experiments().insert(name.to_owned(), id.clone());
        Ok(id)
    }

    fn experiments(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.experiments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends parameters, and the metrics and tags of the end, in as few requests as MLflow allows.
    async fn log(
        &self,
        pending: &mut PendingRun,
        run: &Run,
        refused: &mut Vec<String>,
    ) -> Result<(), Error> {
        loop {
            let params: Vec<Value> = pending
                .params
                .iter()
                .take(names::MAX_PARAMS)
                .map(|(key, value)| json!({"key": key, "value": value}))
                .collect();
            let end = pending.end.as_mut().filter(|_| !pending.metrics_logged);
            let (metrics, tags) = match &end {
                None => (Vec::new(), Vec::new()),
                Some(end) => (
                    end.metrics
                        .iter()
                        .take(names::MAX_METRICS)
                        .map(|metric| measured(metric, end.at))
                        .collect(),
                    tags_of(&end.status),
                ),
            };
            if params.is_empty() && metrics.is_empty() && tags.is_empty() {
                return Ok(());
            }
            let counts = (params.len(), metrics.len());
            let body =
                json!({"run_id": run.id, "params": params, "metrics": metrics, "tags": tags});
            let mut logged = self.client.log_batch(&body).await;
            if matches!(logged, Err(Error::Refused { .. })) && counts.0 > 0 && counts.1 > 0 {
                // An invalid parameter must not cost the metrics.
                tolerate("parameters", logged, refused)?;
                let body = json!({"run_id": run.id, "metrics": metrics, "tags": tags});
                logged = self.client.log_batch(&body).await;
            }
            tolerate("parameters or metrics", logged, refused)?;
            pending.params.drain(..counts.0);
            if let Some(end) = pending.end.as_mut().filter(|_| !pending.metrics_logged) {
                end.metrics.drain(..counts.1);
                pending.metrics_logged = end.metrics.is_empty();
            }
        }
    }

    /// Updates the run's name, and ends the run if it has ended.
    async fn close(
        &self,
        pending: &mut PendingRun,
        run: &Run,
        refused: &mut Vec<String>,
    ) -> Result<(), Error> {
        let mut update = json!({"run_id": run.id});
        if pending.is_async != pending.named_async {
            update["run_name"] = json!(pending.head.name(pending.is_async));
        } else if pending.end.is_none() {
            return Ok(());
        }
        if let Some(end) = &pending.end {
            update["status"] = json!(match end.status {
                EndStatus::Finished => "FINISHED",
                EndStatus::Failed { .. } => "FAILED",
                EndStatus::Killed => "KILLED",
            });
            update["end_time"] = json!(end.at.as_millisecond());
        }
        let updated = self.client.update_run(&update).await;
        tolerate("the end of a run", updated, refused)?;
        if pending.may_exist && pending.end.is_some() {
            let job = pending.head.job.to_string();
            let client = &self.client;
            let deleted = client.delete_others(run, JOB_TAG, &job).await;
            tolerate("the deletion of a second run of a job", deleted, refused)?;
            pending.may_exist = false;
        }
        pending.named_async = pending.is_async;
        Ok(())
    }
}

fn tag(key: &str, value: &str) -> Value {
    json!({"key": key, "value": names::cut(value, names::MAX_TAG)})
}

fn measured((name, value): &(String, f64), at: Timestamp) -> Value {
    json!({"key": names::name(name), "value": value, "timestamp": at.as_millisecond(), "step": 0})
}

fn tags_of(status: &EndStatus) -> Vec<Value> {
    match status {
        EndStatus::Failed {
            class, sentence, ..
        } => vec![
            tag("flowmill.error_class", class),
            tag("flowmill.error", sentence.as_str()),
            // The description on the run's page.
            tag("mlflow.note.content", sentence.as_str()),
        ],
        EndStatus::Killed => vec![tag("flowmill.error_class", "cancelled")],
        EndStatus::Finished => Vec::new(),
    }
}

/// Skips a refused part: a retry would be refused again.
fn tolerate(what: &str, result: Result<(), Error>, refused: &mut Vec<String>) -> Result<(), Error> {
    match result {
        Err(error @ Error::Refused { .. }) => {
            refused.push(format!("{what}: {error}"));
            Ok(())
        }
        other => other,
    }
}
