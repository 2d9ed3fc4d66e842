//! Metrics in Prometheus' text format. A run looks up its handles once; from then on counting is an
//! atomic addition. The number of values of every label is bounded: further ones are counted as
//! `other`.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use engine::ModelError;
use engine::chat::ChatReply;
use engine::event::{EventKind, RunEvent};
use engine::observer::Call;
use engine::outcome::{FailureCode, Finished, Outcome};
use jobs::store::Counts;
use lang::workflow::Workflow;
use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

/// Most workflows with metrics of their own.
const WORKFLOWS: usize = 100;
/// Most nodes of one workflow with metrics of their own.
const NODES: usize = 200;
/// Most models of one workflow with metrics of their own.
const MODELS: usize = 50;

const OTHER: &str = "other";

/// Bucket limits in seconds, from a call of a local model to a run of an hour.
const RUN_BUCKETS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0,
    3600.0,
];

/// Bucket limits in seconds: a store in memory answers in microseconds, a full disk in seconds.
const STORE_BUCKETS: &[f64] = &[
    0.00001, 0.000_05, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0,
];

/// `Content-Type` of the result of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    runs: IntCounterVec,
    run_seconds: HistogramVec,
    node_seconds: HistogramVec,
    calls: IntCounterVec,
    call_seconds: HistogramVec,
    tokens: IntCounterVec,
    cost: CounterVec,
    retries: IntCounterVec,
    queued: IntGauge,
    running: IntGauge,
    store_seconds: HistogramVec,
    dropped: IntCounterVec,
    limited: IntCounterVec,
    connections: IntGauge,
    refused_connections: IntCounterVec,
    workflows: Bounded<Arc<str>, WorkflowMetrics>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics without any counts.
    pub fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels);
            register(&registry, counter)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64], labels: &[&str]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            register(&registry, HistogramVec::new(options, labels))
        };
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help));
        Self {
            requests: counter(
                "flowmill_http_requests_total",
                "Requests answered.",
                &["method", "route", "status"],
            ),
            request_seconds: histogram(
                "flowmill_http_request_duration_seconds",
                "Time to the head of an answer.",
                RUN_BUCKETS,
                &["method", "route"],
            ),
            runs: counter(
                "flowmill_runs_total",
                "Runs that ended.",
                &["workflow", "status"],
            ),
            run_seconds: histogram(
                "flowmill_run_duration_seconds",
                "Time a run took, waiting in the queue left out.",
                RUN_BUCKETS,
                &["workflow"],
            ),
            node_seconds: histogram(
                "flowmill_node_duration_seconds",
                "Time one execution of a node took, whether it completed or failed.",
                RUN_BUCKETS,
                &["workflow", "node"],
            ),
            calls: counter(
                "flowmill_model_calls_total",
                "Attempts at a model, by how they ended.",
                &["workflow", "model", "outcome"],
            ),
            call_seconds: histogram(
                "flowmill_model_call_duration_seconds",
                "Time one attempt at a model took.",
                RUN_BUCKETS,
                &["workflow", "model"],
            ),
            tokens: counter(
                "flowmill_tokens_total",
                "Tokens; `input` includes `cached`.",
                &["workflow", "model", "kind"],
            ),
            cost: register(
                &registry,
                CounterVec::new(
                    Opts::new(
                        "flowmill_cost_usd_total",
                        "US dollars, of replies whose price is known.",
                    ),
                    &["workflow", "model"],
                ),
            ),
            retries: counter(
                "flowmill_retries_total",
                "Attempts of a node that another one followed.",
                &["workflow", "node"],
            ),
            queued: gauge("flowmill_jobs_queued", "Jobs that wait in the store."),
            running: gauge(
                "flowmill_jobs_running",
                "Jobs that run, as the store has it.",
            ),
            store_seconds: histogram(
                "flowmill_store_duration_seconds",
                "Time the job store took to answer.",
                STORE_BUCKETS,
                &["verb"],
            ),
            dropped: counter(
                "flowmill_telemetry_dropped_total",
                "What a sink could not be told: runs for `mlflow`, spans for `otlp`.",
                &["sink"],
            ),
            limited: counter(
                "flowmill_limited_total",
                "What was refused or stopped because a limit was reached.",
                &["limit"],
            ),
            connections: gauge("flowmill_http_connections", "Connections that are open."),
            refused_connections: counter(
                "flowmill_http_connections_refused_total",
                "Connections that were turned away, and idle ones that made room for others.",
                &["reason"],
            ),
            workflows: Bounded::new(WORKFLOWS),
            registry,
        }
    }

    /// All metrics as text, with the store's current counts.
    pub fn render(&self, jobs: Option<Counts>) -> String {
        if let Some(jobs) = jobs {
            self.queued.set(count(jobs.pending));
            self.running.set(count(jobs.running));
        }
        let mut text = Vec::new();
        // Cannot happen: the names and types are fixed in this file, and memory can always be
        // written.
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "cannot write the metrics");
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Counts a response. `route` is the pattern, so that the number of label values is bounded.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let mut buffer = [0; 3];
        let status = digits(status, &mut buffer);
        self.requests
            .with_label_values(&[method, route, status])
            .inc();
        self.request_seconds
            .with_label_values(&[method, route])
            .observe(took.as_secs_f64());
    }

    /// Counts a refusal because a limit was reached.
    pub fn limited(&self, limit: &'static str) {
        self.limited.with_label_values(&[limit]).inc();
    }

    /// Counts an opened (`1`) or closed (`-1`) connection.
    pub fn connections_changed(&self, by: i64) {
        self.connections.add(by);
    }

    /// Counts a refused connection.
    pub fn connection_refused(&self, reason: &'static str) {
        self.refused_connections.with_label_values(&[reason]).inc();
    }

    /// The duration of a store operation.
    pub(crate) fn store(&self, verb: &str) -> Histogram {
        self.store_seconds.with_label_values(&[verb])
    }

    /// The counter of what was dropped for a sink.
    pub(crate) fn dropped(&self, sink: &str) -> IntCounter {
        self.dropped.with_label_values(&[sink])
    }

    /// The metrics of one workflow.
    pub(crate) fn of(&self, workflow: &Workflow) -> Arc<WorkflowMetrics> {
        self.workflows.get(workflow.name.as_str(), |name| {
            WorkflowMetrics::new(self, name)
        })
    }
}

/// A status code as text, without an allocation.
fn digits(status: u16, buffer: &mut [u8; 3]) -> &str {
    let digit = |place: u16| b'0' + u8::try_from(status / place % 10).expect("a digit");
    *buffer = [digit(100), digit(10), digit(1)];
    std::str::from_utf8(buffer).expect("digits")
}

fn count(jobs: usize) -> i64 {
    i64::try_from(jobs).unwrap_or(i64::MAX)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("the names and labels are constants of this file");
    registry
        .register(Box::new(collector.clone()))
        .expect("no name is used twice in this file");
    collector
}

/// The metrics of one workflow's runs.
pub(crate) struct WorkflowMetrics {
    name: String,
    completed: IntCounter,
    failed: IntCounter,
    cancelled: IntCounter,
    limited: IntCounter,
    run_seconds: Histogram,
    nodes: Bounded<Arc<str>, NodeMetrics>,
    models: Bounded<String, ModelMetrics>,
}

struct NodeMetrics {
    seconds: Histogram,
    retries: IntCounter,
}

struct ModelMetrics {
    answered: IntCounter,
    failed: IntCounter,
    seconds: Histogram,
    input: IntCounter,
    cached: IntCounter,
    output: IntCounter,
    cost: Counter,
}

impl WorkflowMetrics {
    fn new(all: &Metrics, name: &str) -> Self {
        let runs = |status: &str| all.runs.with_label_values(&[name, status]);
        Self {
            name: name.to_owned(),
            completed: runs("completed"),
            failed: runs("failed"),
            cancelled: runs("cancelled"),
            limited: all.limited.with_label_values(&["run"]),
            run_seconds: all.run_seconds.with_label_values(&[name]),
            nodes: Bounded::new(NODES),
            models: Bounded::new(MODELS),
        }
    }

    pub(crate) fn event(&self, all: &Metrics, event: &RunEvent) {
        match &event.kind {
            EventKind::NodeCompleted {
                node, duration_ms, ..
            }
            | EventKind::NodeFailed {
                node, duration_ms, ..
            } => self.node(all, node).seconds.observe(seconds(*duration_ms)),
            EventKind::NodeRetried { node, .. } => self.node(all, node).retries.inc(),
            _ => {}
        }
    }

    pub(crate) fn call_ended(
        &self,
        all: &Metrics,
        call: &Call<'_>,
        result: Result<&ChatReply, &ModelError>,
        took: Duration,
    ) {
        let model = self.models.get(call.model, |model| {
            let model = [&*self.name, model];
            let tokens = |kind| {
                let [workflow, model] = model;
                all.tokens.with_label_values(&[workflow, model, kind])
            };
            let calls = |outcome| {
                let [workflow, model] = model;
                all.calls.with_label_values(&[workflow, model, outcome])
            };
            ModelMetrics {
                answered: calls("answered"),
                failed: calls("failed"),
                seconds: all.call_seconds.with_label_values(&model),
                input: tokens("input"),
                cached: tokens("cached"),
                output: tokens("output"),
                cost: all.cost.with_label_values(&model),
            }
        });
        model.seconds.observe(took.as_secs_f64());
        let Ok(reply) = result else {
            model.failed.inc();
            return;
        };
        model.answered.inc();
        model.input.inc_by(reply.usage.input_tokens);
        model.cached.inc_by(reply.usage.cached_tokens);
        model.output.inc_by(reply.usage.output_tokens);
        if let Some(cost) = reply.cost_usd {
            model.cost.inc_by(cost);
        }
    }

    pub(crate) fn ended(&self, finished: &Finished) {
        match &finished.outcome {
            Outcome::Completed { .. } => self.completed.inc(),
            Outcome::Failed(failure) => {
                self.failed.inc();
                if failure.code == FailureCode::QuotaExhausted {
                    self.limited.inc();
                }
            }
            Outcome::Cancelled => self.cancelled.inc(),
        }
        self.run_seconds
            .observe(seconds(finished.execution_time_ms));
    }

    fn node(&self, all: &Metrics, node: &Arc<str>) -> Arc<NodeMetrics> {
        self.nodes.get(node, |node| NodeMetrics {
            seconds: all.node_seconds.with_label_values(&[&self.name, node]),
            retries: all.retries.with_label_values(&[&self.name, node]),
        })
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds are far below 2^52"
)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// Values by name. Beyond a maximum, all further names share one value.
struct Bounded<K, V> {
    most: usize,
    values: RwLock<HashMap<K, Arc<V>>>,
}

impl<K, V> Bounded<K, V>
where
    K: Eq + Hash + std::borrow::Borrow<str> + for<'a> From<&'a str>,
{
    fn new(most: usize) -> Self {
        Self {
            most,
            values: RwLock::default(),
        }
    }

    /// `make` gets the name under which the value counts: its own or `other`.
    fn get(&self, name: &str, make: impl FnOnce(&str) -> V) -> Arc<V> {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = values.get(name) {
            return value.clone();
        }
        drop(values);
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        let name = if values.len() < self.most {
            name
        } else {
            OTHER
        };
        values
            .entry(name.into())
            .or_insert_with(|| Arc::new(make(name)))
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_bound_everything_is_counted_as_other() {
        let metrics = Bounded::<String, String>::new(2);
        let names: Vec<Arc<String>> = ["a", "b", "c", "d", "a"]
            .map(|name| metrics.get(name, str::to_owned))
            .into();
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "other", "other", "a"]);
    }

    #[test]
    fn a_request_is_counted_by_method_route_and_status() {
        let metrics = Metrics::new();
        metrics.answered("GET", "/health", 200, Duration::from_millis(2));
        metrics.answered("GET", "/health", 200, Duration::from_millis(2));
        let text = metrics.render(Some(Counts {
            pending: 3,
            running: 1,
            ..Counts::default()
        }));
        let line = r#"flowmill_http_requests_total{method="GET",route="/health",status="200"} 2"#;
        assert!(text.contains(line), "{text}");
        assert!(text.contains("flowmill_jobs_queued 3"), "{text}");
    }
}
