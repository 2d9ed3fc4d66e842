//! The spans of one run: workflow → node → model call. A span is sent when it ends; spans that are
//! still open are in [`Open`]. The MLflow run is updated by separate messages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use engine::ModelError;
use engine::capture::Capture;
use engine::chat::{ChatReply, ChatRequest, Message};
use engine::event::{EventKind, RunEvent};
use engine::host::Host;
use engine::observer::{Call, Step};
use engine::outcome::{Failure, Finished, Outcome};
use engine::trace::TraceParent;
use jiff::{SignedDuration, Timestamp};
use lang::workflow::Workflow;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::calls;
use super::figures::{self, Count};
use super::ids::Ids;
use crate::capture::{Captured, Shown};
use crate::mlflow::{Artifact, ArtifactLevel, End, EndStatus, RunHandle};
use crate::otlp::SpanQueue;
use crate::semconv as name;
use crate::span::{Attributes, Kind, Span, SpanEvent, SpanId, Status};

/// Turns a run's events into spans and sends them.
pub(crate) struct Spans {
    pub(crate) ids: Ids,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) workflow: Arc<Workflow>,
    /// Decides what may be shown until the engine has begun, which then knows more.
    pub(crate) provisional: Arc<Capture>,
    pub(crate) capture: OnceLock<Shown>,
    pub(crate) created_at: Timestamp,
    pub(crate) resumed: bool,
    pub(crate) job: Uuid,
    pub(crate) inputs: Map<String, Value>,
    pub(crate) otlp: Option<Arc<SpanQueue>>,
    pub(crate) mlflow: Option<RunHandle>,
    pub(crate) open: Mutex<Open>,
}

/// The nodes that have begun and not ended.
#[derive(Debug, Default)]
pub(crate) struct Open {
    nodes: Vec<OpenNode>,
    counts: BTreeMap<Arc<str>, Count>,
}

#[derive(Debug)]
struct OpenNode {
    node: Arc<str>,
    item: Option<usize>,
    iteration: u64,
    span_id: SpanId,
    start: Timestamp,
    call: SpanId,
    /// The attempt that ended last. The next event tells whether its answer was usable.
    last_call: Option<Span>,
    retries: Vec<SpanEvent>,
    prompt: Option<Captured>,
    attempts: Vec<Value>,
}

impl Spans {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides what may be shown. A run that ends before the engine has begun has only its inputs,
    /// which are masked by field.
    fn shown(&self) -> &Shown {
        self.capture.get_or_init(|| Shown(self.provisional.clone()))
    }

    /// Notes that the engine has begun, and announces the run to MLflow: only now it is known what
    /// may be shown.
    pub(crate) fn begins(&self, capture: &Arc<Capture>) {
        // Called once per attempt, and this value belongs to one attempt.
        let _ = self.capture.set(Shown(capture.clone()));
        self.announce();
    }

    fn announce(&self) {
        if let Some(mlflow) = &self.mlflow {
            let shown = self.shown();
            mlflow.begin(|head| {
                head.params = shown.members(&self.inputs);
                if shown.keeps_artifacts(None) {
                    head.inputs = shown.fields(&self.inputs);
                }
            });
        }
    }

    fn emit(&self, span: Span) {
        match (&self.otlp, &self.mlflow) {
            (Some(otlp), Some(mlflow)) => {
                mlflow.span(span.clone());
                otlp.offer(span);
            }
            (Some(otlp), None) => otlp.offer(span),
            (None, Some(mlflow)) => mlflow.span(span),
            (None, None) => {}
        }
    }

    pub(crate) fn wants_steps(&self) -> bool {
        self.keeps(ArtifactLevel::Full)
    }

    fn keeps(&self, level: ArtifactLevel) -> bool {
        self.mlflow
            .as_ref()
            .is_some_and(|mlflow| mlflow.level() >= level)
    }

    pub(crate) fn handed_over(&self) {
        if let Some(mlflow) = &self.mlflow {
            mlflow.handed_over();
        }
    }

    pub(crate) fn event(&self, event: &RunEvent) {
        match &event.kind {
            EventKind::NodeStarted {
                node,
                iteration,
                item,
            } => self.open().nodes.push(OpenNode {
                node: node.clone(),
                item: *item,
                iteration: *iteration,
                span_id: self.ids.span(),
                start: event.at,
                call: [0; 8],
                last_call: None,
                retries: Vec::new(),
                prompt: None,
                attempts: Vec::new(),
            }),
            EventKind::NodeRetried {
                node,
                item,
                attempt,
                reason,
                wait_ms,
            } => {
                let mut open = self.open();
                open.counts.entry(node.clone()).or_default().retries += 1;
                let Some(open_node) = open.node(node, *item) else {
                    return;
                };
                let mut attributes = Attributes::default();
                attributes.put(name::ATTEMPT, *attempt);
                attributes.put(name::RETRY_REASON, self.shown().sentence(reason));
                attributes.put(name::RETRY_WAIT_MS, *wait_ms);
                open_node.retries.push(SpanEvent {
                    at: event.at,
                    name: name::RETRY,
                    attributes,
                });
                let call = open_node.last_call.take();
                drop(open);
                self.emit_call(call, Some(reason));
            }
            EventKind::NodeCompleted {
                node,
                item,
                outputs,
                duration_ms,
                usage,
                ..
            } => {
                let Some(mut closed) = self.close(node, *item, *duration_ms, false) else {
                    return;
                };
                self.emit_call(closed.last_call.take(), None);
                let mut attributes = of_node(&closed);
                if usage.is_estimated {
                    attributes.put(name::ESTIMATED, true);
                }
                attributes.put(name::LLM_CALLS, usage.llm_calls);
                attributes
                    .mlflow_content(name::MLFLOW_OUTPUTS, self.shown().outputs(node, outputs));
                self.node_ended(closed, attributes, event.at, Status::Ok);
            }
            EventKind::NodeFailed {
                node,
                item,
                code,
                error,
                duration_ms,
            } => {
                let Some(mut closed) = self.close(node, *item, *duration_ms, true) else {
                    return;
                };
                self.emit_call(closed.last_call.take(), Some(error));
                let mut attributes = of_node(&closed);
                attributes.put(name::ERROR_TYPE, name::error_type(*code));
                let error = self.shown().sentence(error).into_string();
                self.node_ended(closed, attributes, event.at, Status::Error(error));
            }
            EventKind::RunFailed { .. } | EventKind::RunCancelled { .. } => {
                // Aborted nodes have no event of their own.
                let aborted = std::mem::take(&mut self.open().nodes);
                for mut node in aborted {
                    let took = event.at.duration_since(node.start).as_millis();
                    let count_of = &mut self.open().counts;
                    count_of.entry(node.node.clone()).or_default().time_ms +=
                        u64::try_from(took).unwrap_or(0);
                    self.emit_call(node.last_call.take(), None);
                    let attributes = of_node(&node);
                    let status = Status::Error("aborted with the run".to_owned());
                    self.node_ended(node, attributes, event.at, status);
                }
            }
            EventKind::RunStarted { .. }
            | EventKind::LlmDelta { .. }
            | EventKind::NodeWarning { .. }
            | EventKind::GateFailed { .. }
            | EventKind::RunCompleted { .. } => {}
        }
    }

    fn close(
        &self,
        node: &Arc<str>,
        item: Option<usize>,
        duration_ms: u64,
        failed: bool,
    ) -> Option<OpenNode> {
        let mut open = self.open();
        let count = open.counts.entry(node.clone()).or_default();
        count.time_ms += duration_ms;
        count.failed = failed;
        let position = open
            .nodes
            .iter()
            .position(|open| open.node == *node && open.item == item)?;
        Some(open.nodes.swap_remove(position))
    }

    fn node_ended(&self, node: OpenNode, attributes: Attributes, at: Timestamp, status: Status) {
        if self.keeps(ArtifactLevel::Standard)
            && !node.attempts.is_empty()
            && self.shown().keeps_artifacts(Some(&node.node))
            && let Some(mlflow) = &self.mlflow
        {
            let item = node
                .item
                .map_or_else(String::new, |item| format!(".{item}"));
            let path = format!("nodes/{}.{}{item}.json", node.node, node.iteration);
            mlflow.artifact(Artifact::json(&path, &Value::Array(node.attempts)));
        }
        self.emit(Span {
            trace_id: self.ids.trace_id,
            span_id: node.span_id,
            parent: Some(self.ids.run),
            name: format!("{} {}", name::INVOKE_AGENT, node.node),
            kind: Kind::Internal,
            start: node.start,
            end: at,
            attributes,
            events: node.retries,
            status,
            is_run: false,
        });
    }

    pub(crate) fn call_begins(&self, call: &Call<'_>) -> TraceParent {
        let span_id = self.ids.span();
        if let Some(node) = self.open().node(call.node, call.item) {
            node.call = span_id;
        }
        TraceParent {
            trace_id: self.ids.trace_id,
            span_id,
            sampled: self.otlp.is_some(),
        }
    }

    pub(crate) fn call_ended(
        &self,
        call: &Call<'_>,
        request: &ChatRequest,
        result: Result<&ChatReply, &ModelError>,
        took: Duration,
    ) {
        let id = call.node;
        let shown = self.shown();
        let (attributes, status) = calls::told(shown, call, request, result);
        let end = self.host.now();
        let start = SignedDuration::try_from(took)
            .ok()
            .and_then(|took| end.checked_sub(took).ok())
            .unwrap_or(end);
        let prompt = request.messages.last().map(Message::text);
        let keeps_attempts = self.keeps(ArtifactLevel::Standard);
        let mut open = self.open();
        let Some(node) = open.node(call.node, call.item) else {
            return;
        };
        if node.prompt.is_none() && self.mlflow.is_some() {
            node.prompt = prompt
                .as_deref()
                .and_then(|prompt| shown.prompt(id, prompt));
        }
        if keeps_attempts {
            let prompt = prompt
                .as_deref()
                .and_then(|prompt| shown.prompt(id, prompt));
            let reply = result
                .ok()
                .and_then(|reply| shown.reply(id, &reply.content));
            node.attempts.push(json!({
                "attempt": call.attempt,
                "model": call.model,
                "prompt": prompt.map(Captured::into_string),
                "reply": reply.map(Captured::into_string),
                "error": result.err().map(|error| shown.sentence(&error.message).into_string()),
                "usage": result.ok().map(|reply| reply.usage),
                "cost_usd": result.ok().and_then(|reply| reply.cost_usd),
            }));
        }
        node.last_call = Some(Span {
            trace_id: self.ids.trace_id,
            span_id: node.call,
            parent: Some(node.span_id),
            name: calls::title(call),
            kind: Kind::Client,
            start,
            end,
            attributes,
            events: Vec::new(),
            status,
            is_run: false,
        });
    }

    /// Sends the span of a call. With `failed`, its answer was not usable: the attempt failed
    /// although the call did not.
    fn emit_call(&self, call: Option<Span>, failed: Option<&str>) {
        if let Some(mut call) = call {
            if let (Status::Ok, Some(reason)) = (&call.status, failed) {
                call.status = Status::Error(self.shown().sentence(reason).into_string());
                call.attributes.put(name::ERROR_TYPE, "output_invalid");
            }
            self.emit(call);
        }
    }

    pub(crate) fn step_ended(&self, step: &Step<'_>) {
        let Some(mlflow) = &self.mlflow else { return };
        let shown = self.shown();
        if shown.keeps_artifacts(None)
            && let Some(state) = shown.state(step.state)
        {
            let path = format!("state/{:04}.{}.json", step.number, step.nodes.join("+"));
            mlflow.artifact(Artifact::captured(&path, state));
        }
    }

    /// Sends the run's own span, and ends its MLflow run.
    pub(crate) fn ended(&self, finished: &Finished) {
        let at = self.host.now();
        let usage = &finished.usage;
        let mut attributes = Attributes::default();
        attributes.put(name::OPERATION, name::INVOKE_WORKFLOW);
        attributes.put(name::AGENT_NAME, &*self.workflow.name);
        attributes.put_some(name::WORKFLOW_VERSION, self.workflow.version.as_deref());
        attributes.put(name::DEFINITION_HASH, &*self.workflow.definition_hash);
        attributes.put(name::JOB_ID, self.job.to_string());
        attributes.put(name::RESUMED, self.resumed);
        attributes.put(name::INPUT_TOKENS, usage.input_tokens);
        attributes.put(name::OUTPUT_TOKENS, usage.output_tokens);
        attributes.put(name::LLM_CALLS, usage.llm_calls);
        attributes.put_some(name::COST, usage.cost_usd);
        attributes.mlflow(name::MLFLOW_TYPE, "CHAIN");
        attributes.mlflow(name::MLFLOW_TRACE_NAME, &*self.workflow.name);
        self.tag(&mut attributes, "flowmill.job_id", &self.job.to_string());
        self.tag(&mut attributes, "flowmill.workflow", &self.workflow.name);
        if let Some(version) = &self.workflow.version {
            self.tag(&mut attributes, "flowmill.version", version);
        }
        self.announce();
        let shown = self.shown();
        let inputs = shown.fields(&self.inputs);
        attributes.mlflow_content(name::MLFLOW_INPUTS, inputs);
        let (status, end_status, outputs) = match &finished.outcome {
            Outcome::Completed { outputs } => {
                let outputs = shown.fields(outputs);
                attributes.mlflow_content(name::MLFLOW_OUTPUTS, outputs.clone());
                let outputs = outputs.filter(|_| shown.keeps_artifacts(None));
                (Status::Ok, EndStatus::Finished, outputs)
            }
            Outcome::Failed(failure) => {
                attributes.put(name::ERROR_TYPE, name::error_type(failure.code));
                let sentence = self.shown().sentence(&failure.message);
                let outputs = json!({"error": sentence.as_str()}).to_string();
                attributes.mlflow(name::MLFLOW_OUTPUTS, outputs);
                (
                    Status::Error(sentence.into_string()),
                    self.failed(failure),
                    None,
                )
            }
            Outcome::Cancelled => {
                attributes.put(name::ERROR_TYPE, "cancelled");
                let status = Status::Error("the run was cancelled".to_owned());
                (status, EndStatus::Killed, None)
            }
        };
        self.emit(Span {
            trace_id: self.ids.trace_id,
            span_id: self.ids.run,
            parent: self.ids.parent,
            name: format!("{} {}", name::INVOKE_WORKFLOW, self.workflow.name),
            kind: Kind::Internal,
            start: self.created_at,
            end: at,
            attributes,
            events: Vec::new(),
            status,
            is_run: true,
        });
        if let Some(mlflow) = &self.mlflow {
            mlflow.ended(End {
                at,
                status: end_status,
                outputs,
                metrics: figures::of(finished, &std::mem::take(&mut self.open().counts)),
            });
        }
    }

    fn tag(&self, attributes: &mut Attributes, tag: &str, value: &str) {
        if self.mlflow.is_some() {
            let name = format!("{}{tag}", name::MLFLOW_TRACE_TAG);
            attributes.mlflow(name, value);
        }
    }

    fn failed(&self, failure: &Failure) -> EndStatus {
        EndStatus::Failed {
            class: name::error_type(failure.code),
            sentence: self.shown().sentence(&failure.message),
            node: failure.node.clone(),
        }
    }
}

impl Open {
    fn node(&mut self, node: &Arc<str>, item: Option<usize>) -> Option<&mut OpenNode> {
        self.nodes
            .iter_mut()
            .find(|open| open.node == *node && open.item == item)
    }
}

/// The attributes of a node that are known before it ends.
fn of_node(node: &OpenNode) -> Attributes {
    let mut attributes = Attributes::default();
    attributes.put(name::OPERATION, name::INVOKE_AGENT);
    attributes.put(name::AGENT_NAME, &*node.node);
    attributes.put(name::ITERATION, node.iteration);
    attributes.put_some(name::ITEM, node.item.map(|item| item as u64));
    attributes.mlflow(name::MLFLOW_TYPE, "AGENT");
    let prompt = node.prompt.as_ref();
    if let Some(prompt) = prompt {
        let inputs = json!({"prompt": prompt.as_str()});
        attributes.mlflow(name::MLFLOW_INPUTS, inputs.to_string());
    }
    attributes
}
