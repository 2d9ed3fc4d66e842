//! Puts telemetry together: what is counted, where spans and runs are sent, and the shutdown.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use engine::capture::Capture;
use engine::host::Host;
use engine::trace::TraceParent;
use engine::watch::{RunInfo, RunObserver};
use outbound::Environment;
use serde_json::Map;

use crate::export::{Exporter, Worker, tell_lost};
use crate::http;
use crate::metrics::Metrics;
use crate::mlflow::{self, ArtifactLevel, Message, RunHandle, RunHead};
use crate::otlp::{self, Resource, SpanQueue, Spans};
use crate::queue::{DropCounter, Queue, QueueBudget};
use crate::request::RequestSpan;
use crate::run::{self, Ids, RunWatch};

/// Most bytes that may wait for each sink.
const MAX_BYTES: usize = 32 << 20;

/// Most runs that may wait for MLflow, including running ones.
const MAX_RUNS: usize = 8192;

/// The settings of telemetry.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The environment, for `MLFLOW_*`, `OTEL_*` and proxies.
    pub environment: Environment,
    /// Certificates trusted besides the bundled roots, in PEM.
    pub extra_roots_pem: Option<Vec<u8>>,
    /// Which artifacts an MLflow run stores; overrides the workflow.
    pub artifacts: Option<ArtifactLevel>,
}

/// Why telemetry cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An `OTEL_*` variable is invalid.
    #[error(transparent)]
    Otlp(#[from] otlp::SettingsError),
    /// An `MLFLOW_*` variable is invalid.
    #[error(transparent)]
    Mlflow(#[from] mlflow::SettingsError),
    /// Certificates or proxies are invalid.
    #[error(transparent)]
    Http(#[from] http::HttpError),
    /// The thread or its runtime could not start.
    #[error("cannot start the telemetry thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// A handle to telemetry; clones share everything.
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    metrics: Arc<Metrics>,
    host: Arc<dyn Host>,
    otlp: Option<Spans>,
    mlflow: Option<Tracking>,
    exporter: Option<Exporter>,
}

/// What is needed to track runs in MLflow.
struct Tracking {
    queue: Arc<Queue<Message>>,
    dropped_parts: Arc<DropCounter>,
    experiment: Option<String>,
    level: Option<ArtifactLevel>,
    shown: String,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("otlp", &self.0.otlp.is_some())
            .field("mlflow", &self.0.mlflow.is_some())
            .finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Telemetry that only counts and sends nothing.
    pub fn counting(host: Arc<dyn Host>) -> Self {
        Self(Arc::new(Inner {
            metrics: Arc::default(),
            host,
            otlp: None,
            mlflow: None,
            exporter: None,
        }))
    }

    /// Telemetry that counts, and sends spans and runs where the environment says.
    pub fn start(settings: &Settings, host: Arc<dyn Host>) -> Result<Self, StartError> {
        let environment = &settings.environment;
        let collector = otlp::Settings::read(environment)?;
        let tracking = mlflow::Settings::read(environment)?;
        if collector.is_none() && tracking.is_none() {
            return Ok(Self::counting(host));
        }
        let metrics = Arc::new(Metrics::new());
        let http = http::client(environment, settings.extra_roots_pem.as_deref())?;
        let resource = Resource::read(environment);
        let artifacts = settings.artifacts;
        let mut otlp = None;
        let mut mlflow = None;
        let exporter = Exporter::start(|closing| {
            let mut workers: Vec<Worker> = Vec::new();
            if let Some(settings) = collector {
                let sampler = settings.sampler;
                let dropped = metrics.dropped("otlp");
                let budget = QueueBudget::new(settings.max_queue, MAX_BYTES);
                let drops = DropCounter::new("otlp", "spans", dropped.clone());
                let (queue, receiver) = Queue::new(budget, drops);
                let collector = otlp::Collector {
                    settings,
                    resource: resource.clone(),
                    http: http.clone(),
                    host: host.clone(),
                    dropped,
                };
                workers.push(Box::pin(otlp::work(collector, receiver, closing.clone())));
                otlp = Some(Spans {
                    queue: Arc::new(SpanQueue(queue)),
                    sampler,
                });
            }
            if let Some(settings) = tracking {
                let dropped = metrics.dropped("mlflow");
                let budget = QueueBudget::new(MAX_RUNS, MAX_BYTES);
                let drops = DropCounter::new("mlflow", "runs", dropped.clone());
                let (queue, receiver) = Queue::new(budget, drops);
                let experiment = settings.experiment.clone();
                let client = mlflow::Client::new(http.clone(), settings, host.clone());
                mlflow = Some(Tracking {
                    queue: Arc::new(queue),
                    dropped_parts: Arc::new(DropCounter::new(
                        "mlflow",
                        "spans and artifacts of runs",
                        metrics.dropped("mlflow_parts"),
                    )),
                    experiment,
                    level: artifacts,
                    shown: client.shown(),
                });
                let sink = mlflow::Sink {
                    client,
                    resource,
                    host: host.clone(),
                    dropped,
                };
                workers.push(Box::pin(mlflow::work(sink, receiver, closing)));
            }
            workers
        })?;
        Ok(Self(Arc::new(Inner {
            metrics,
            host,
            otlp,
            mlflow,
            exporter: Some(exporter),
        })))
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// A notice for people about where runs and spans are sent; `None` if they are not sent.
    pub fn notice(&self) -> Option<String> {
        let mlflow = self.0.mlflow.as_ref();
        let sinks = [
            mlflow.map(|tracking| format!("runs are tracked in MLflow at {}", tracking.shown)),
            self.0
                .otlp
                .as_ref()
                .map(|_| "spans are sent to the OpenTelemetry collector".to_owned()),
        ];
        let sinks: Vec<String> = sinks.into_iter().flatten().collect();
        (!sinks.is_empty()).then(|| sinks.join("; "))
    }

    /// Begins the span of a request, if spans are exported. `parent` is the request's
    /// `traceparent`.
    pub fn request(&self, parent: Option<TraceParent>) -> Option<RequestSpan> {
        let spans = self.0.otlp.as_ref()?;
        let id = self.0.host.new_id();
        let trace_id = parent.map_or(*id.as_bytes(), |parent| parent.trace_id);
        let context = TraceParent {
            trace_id,
            span_id: run::span_id(id),
            sampled: spans.sampler.records(trace_id, parent),
        };
        Some(RequestSpan {
            context,
            parent,
            start: self.0.host.now(),
        })
    }

    /// Records the response to a request.
    pub fn answered(&self, span: Option<RequestSpan>, request: &Answered<'_>, took: Duration) {
        let Answered {
            method,
            route,
            path,
            status,
        } = *request;
        self.0.metrics.answered(method, route, status, took);
        if let (Some(span), Some(spans)) = (span, &self.0.otlp)
            && span.context.sampled
        {
            spans
                .queue
                .offer(span.end(self.0.host.now(), method, route, path, status));
        }
    }

    /// Sends what is left, for at most `limit`.
    pub async fn close(&self, limit: Duration) {
        let Some(exporter) = &self.0.exporter else {
            return;
        };
        if exporter.close(self.0.host.sleep(limit)).await {
            return;
        }
        if let Some(mlflow) = &self.0.mlflow {
            tell_lost("mlflow", "runs", mlflow.queue.budget.entries());
        }
        if let Some(spans) = &self.0.otlp {
            tell_lost("otlp", "spans", spans.queue.0.budget.entries());
        }
    }
}

/// A request and its response.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The route's pattern.
    pub route: &'a str,
    /// The requested path, without the query.
    pub path: &'a str,
    /// Status of the response.
    pub status: u16,
}

impl engine::watch::Telemetry for Telemetry {
    fn begin(&self, run: &RunInfo<'_>) -> Option<Arc<dyn RunObserver>> {
        let inner = &self.0;
        Some(Arc::new(RunWatch {
            counted: inner.metrics.of(run.workflow),
            metrics: inner.metrics.clone(),
            host: inner.host.clone(),
            spans: inner.spans(run),
        }))
    }

    fn wants_origin(&self) -> bool {
        self.0.exporter.is_some()
    }
}

impl Inner {
    fn spans(&self, run: &RunInfo<'_>) -> Option<run::Spans> {
        self.exporter.as_ref()?;
        let ids = Ids::of_run(run.id, run.parent, self.host.new_id());
        let otlp = self.otlp.as_ref();
        let otlp = otlp
            .filter(|spans| spans.sampler.records(ids.trace_id, run.parent))
            .map(|spans| spans.queue.clone());
        let mlflow = self.mlflow.as_ref();
        let mlflow = mlflow.and_then(|tracking| tracking.reserve(run));
        if otlp.is_none() && mlflow.is_none() {
            return None;
        }
        let inputs = match mlflow {
            // Only MLflow shows the inputs.
            Some(_) => serde_json::from_str(&(run.inputs)()).unwrap_or_default(),
            None => Map::new(),
        };
        Some(run::Spans {
            ids,
            host: self.host.clone(),
            workflow: run.workflow.clone(),
            provisional: Arc::new(Capture::new(run.workflow.clone(), run.ceiling)),
            capture: std::sync::OnceLock::new(),
            created_at: run.created_at,
            resumed: run.resumed,
            job: run.id,
            inputs,
            otlp,
            mlflow,
            open: std::sync::Mutex::default(),
        })
    }
}

impl Tracking {
    fn reserve(&self, run: &RunInfo<'_>) -> Option<RunHandle> {
        let workflow = run.workflow;
        let of_workflow = &workflow.tracking;
        let level = self
            .level
            .or_else(|| ArtifactLevel::named(of_workflow.artifact_level.as_deref()?))
            .unwrap_or_default();
        RunHandle::reserve(&self.queue, &self.dropped_parts, level, || {
            let experiment = self
                .experiment
                .as_ref()
                .or(of_workflow.experiment.as_ref())
                .unwrap_or(&workflow.name);
            RunHead {
                job: run.id,
                workflow: workflow.name.clone(),
                version: workflow.version.clone(),
                definition_hash: workflow.definition_hash.clone(),
                experiment: experiment.clone(),
                created_at: run.created_at,
                is_async: run.is_async,
                resumed: run.resumed,
                params: Vec::new(),
                inputs: None,
            }
        })
    }
}
