//! Metrics in Prometheus' text format. A run looks up its handles once; from then on counting is an
//! atomic addition. The number of values of every label is bounded: further ones are counted as
//! `other`.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use engine::ModelError;
use engine::chat::ChatReply;
use engine::event::{EventKind, RunEvent};
use engine::observer::Call;
use engine::outcome::{FailureCode, Finished, Outcome};
use jobs::postgres;
use jobs::signals::Reception;
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

/// What is measured when the metrics are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// Runs of this process.
    pub runs_here: usize,
    /// What the store counts; `None` if it does not answer.
    pub store: Option<StoreCounts>,
}

/// What a store counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreCounts {
    /// Jobs by their state.
    pub jobs: Counts,
    /// Replicas that are alive.
    pub replicas: usize,
}

/// What the store asks of its database.
struct Database {
    look: Box<dyn Fn() -> (postgres::Activity, Reception) + Send + Sync>,
    signals_up: IntGauge,
    signals_lost: IntCounter,
    statements: IntCounter,
    connections: IntCounter,
}

impl Database {
    fn read(&self) {
        let (asked, signals) = (self.look)();
        self.signals_up
            .set(i64::from(signals.is_connected == Some(true)));
        for (counter, now) in [
            (&self.statements, asked.statements),
            (&self.connections, asked.connections),
            (&self.signals_lost, signals.losses),
        ] {
            counter.inc_by(now.saturating_sub(counter.get()));
        }
    }
}

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
    runs_here: IntGauge,
    replicas: IntGauge,
    store_up: IntGauge,
    database: OnceLock<Database>,
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
            queued: gauge(
                "flowmill_jobs_queued",
                "Jobs that wait in the store; the same on all replicas that share it.",
            ),
            running: gauge(
                "flowmill_jobs_running",
                "Jobs that run, as the store has it; the same on all replicas that share it.",
            ),
            runs_here: gauge("flowmill_runs_in_flight", "Runs of this process."),
            replicas: gauge(
                "flowmill_replicas",
                "Replicas that share the store and are alive, this one included.",
            ),
            store_up: gauge(
                "flowmill_store_up",
                "1 if the store answered when the metrics were read, else 0.",
            ),
            database: OnceLock::new(),
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

    /// Reports from now on what the store asks of its database, and how signals get through.
    pub fn watch_database(
        &self,
        look: impl Fn() -> (postgres::Activity, Reception) + Send + Sync + 'static,
    ) {
        let counter =
            |name: &str, help: &str| register(&self.registry, IntCounter::new(name, help));
        self.database.get_or_init(|| Database {
            look: Box::new(look),
            signals_up: register(
                &self.registry,
                IntGauge::new(
                    "flowmill_signals_up",
                    "1 if signals to and from other replicas get through, else 0.",
                ),
            ),
            signals_lost: counter(
                "flowmill_signals_lost_total",
                "How often signals may have been lost.",
            ),
            statements: counter(
                "flowmill_store_statements_total",
                "Statements sent to the database.",
            ),
            connections: counter(
                "flowmill_store_connections_total",
                "Connections made to the database: it rises when connections fail.",
            ),
        });
    }

    /// All metrics as text, with what is true now.
    pub fn render(&self, now: &Now) -> String {
        self.runs_here.set(count(now.runs_here));
        self.store_up.set(i64::from(now.store.is_some()));
        if let Some(store) = &now.store {
            self.queued.set(count(store.jobs.pending));
            self.running.set(count(store.jobs.running));
            self.replicas.set(count(store.replicas));
        }
        if let Some(database) = self.database.get() {
            database.read();
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
    use std::sync::atomic::{AtomicU64, Ordering};

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
        let text = metrics.render(&Now::default());
        let line = r#"flowmill_http_requests_total{method="GET",route="/health",status="200"} 2"#;
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn what_the_store_counts_is_apart_from_what_this_process_does() {
        let metrics = Metrics::new();
        let jobs = Counts {
            pending: 3,
            running: 7,
            ..Counts::default()
        };
        let store = StoreCounts { jobs, replicas: 2 };
        let check = |now: Now, expected: &[&str]| {
            let text = metrics.render(&now);
            for line in expected {
                assert!(text.lines().any(|one| one == *line), "{line}: {text}");
            }
        };
        check(
            Now {
                runs_here: 4,
                store: Some(store),
            },
            &[
                "flowmill_jobs_queued 3",
                "flowmill_jobs_running 7",
                "flowmill_runs_in_flight 4",
                "flowmill_replicas 2",
                "flowmill_store_up 1",
            ],
        );
        check(Now::default(), &["flowmill_store_up 0"]);
    }

    #[test]
    fn connections_to_the_database_are_counted_as_the_store_counts_them() {
        let metrics = Metrics::new();
        let connections = Arc::new(AtomicU64::new(5));
        let made = connections.clone();
        metrics.watch_database(move || {
            let activity = postgres::Activity {
                connections: made.load(Ordering::Relaxed),
                ..postgres::Activity::default()
            };
            (activity, Reception::default())
        });
        for expected in [5, 8] {
            connections.store(expected, Ordering::Relaxed);
            let line = format!("\nflowmill_store_connections_total {expected}\n");
            let text = metrics.render(&Now::default());
            assert!(text.contains(&line), "{text}");
        }
    }
}
