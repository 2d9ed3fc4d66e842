//! A sink that hangs costs bounded memory, and the end of the process does not wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use engine::capture::Capture;
use engine::event::{EventKind, RunEvent};
use engine::host::Host;
use engine::outcome::{Finished, NodeUsage, Outcome, Usage};
use engine::watch::{RunInfo, RunObserver, Telemetry as _};
use jiff::Timestamp;
use lang::source::Source;
use lang::workflow::{CaptureLevel, Workflow};
use serde_json::{Map, json};
use telemetry::metrics::Now;
use telemetry::{Settings, Telemetry};
use testing::{Manner, Sink};
use uuid::Uuid;

const TEXT: &str = r#"
schema_version: "1.0"
flow: {name: w}
state: {fields: {a: {type: str, required: true}, b: {type: str}}}
nodes:
  - {id: n, prompt: "Say {a}", output_schema: {type: str}, outputs: [b]}
edges: [{from: START, to: n}, {from: n, to: END}]
"#;

#[derive(Debug)]
struct Machine(Instant);

#[async_trait]
impl Host for Machine {
    fn now(&self) -> Timestamp {
        some_time()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn new_id(&self) -> Uuid {
        Uuid::from_u128(7)
    }

    fn random(&self) -> f64 {
        0.5
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

fn some_time() -> Timestamp {
    Timestamp::from_second(1_764_000_000).expect("a time")
}

fn workflow() -> Arc<Workflow> {
    let checked = lang::check(&Source::new("w.yaml", TEXT));
    checked.workflow.expect("valid")
}

fn start(sink: &Sink) -> Telemetry {
    let variables = [("MLFLOW_TRACKING_URI", sink.url())];
    let settings = Settings {
        environment: variables.into_iter().collect(),
        ..Settings::default()
    };
    Telemetry::start(&settings, Arc::new(Machine(Instant::now()))).expect("it starts")
}

fn begin(telemetry: &Telemetry, workflow: &Arc<Workflow>, number: u128) -> Arc<dyn RunObserver> {
    let capture = Arc::new(Capture::new(workflow.clone(), CaptureLevel::Full));
    let info = RunInfo {
        id: Uuid::from_u128(number + 1),
        workflow,
        inputs: &|| r#"{"a": "x"}"#.to_owned(),
        created_at: some_time(),
        is_async: false,
        resumed: false,
        parent: None,
        ceiling: CaptureLevel::Full,
    };
    let watch = telemetry.begin(&info).expect("it counts at least");
    watch.begins(&capture);
    watch
}

/// A node that ran, whose output takes `bytes`; and the end of the run.
fn play(watch: &dyn RunObserver, bytes: usize) {
    let event = |id, kind| RunEvent {
        id,
        at: some_time(),
        kind,
    };
    watch.observe(&event(
        1,
        EventKind::NodeStarted {
            node: "n".into(),
            iteration: 1,
            item: None,
        },
    ));
    let completed: EventKind = serde_json::from_value(json!({
        "event": "node_completed",
        "node": "n",
        "outputs": {"b": "y".repeat(bytes)},
        "usage": NodeUsage::default(),
        "duration_ms": 1,
        "elapsed_ms": 1,
    }))
    .expect("an event");
    watch.observe(&event(2, completed));
    watch.ended(&Finished {
        outcome: Outcome::Completed {
            outputs: Arc::new(Map::new()),
        },
        usage: Arc::new(Usage::default()),
        execution_time_ms: 1,
        gate_warnings: Vec::new(),
        masked_outputs: None,
    });
}

fn dropped(telemetry: &Telemetry, sink: &str) -> f64 {
    let text = telemetry.metrics().render(&Now::default());
    let name = format!("flowmill_telemetry_dropped_total{{sink=\"{sink}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.expect("it is counted").parse().expect("a number")
}

#[tokio::test]
async fn runs_beyond_the_bound_are_dropped_whole_and_counted() {
    let sink = Sink::start(Manner::Hang);
    let telemetry = start(&sink);
    let workflow = workflow();
    for number in 0..8192 + 100 {
        play(&*begin(&telemetry, &workflow, number), 10);
    }
    assert!((dropped(&telemetry, "mlflow") - 100.0).abs() < 0.5);
    telemetry.close(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn bytes_beyond_the_bound_are_dropped_and_counted() {
    let sink = Sink::start(Manner::Hang);
    let telemetry = start(&sink);
    let workflow = workflow();
    // 32 MiB may wait: the outputs of 31 runs with their spans, and no more.
    for number in 0..40 {
        play(&*begin(&telemetry, &workflow, number), 1 << 20);
    }
    let parts = dropped(&telemetry, "mlflow_parts") + dropped(&telemetry, "mlflow");
    assert!(parts >= 8.0, "{parts}");
    telemetry.close(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn what_is_waiting_is_sent_before_the_end() {
    let sink = Sink::start(Manner::Fine);
    let telemetry = start(&sink);
    let workflow = workflow();
    for number in 0..20 {
        play(&*begin(&telemetry, &workflow, number), 10);
    }
    telemetry.close(Duration::from_secs(60)).await;
    let updates = sink.received("/api/2.0/mlflow/runs/update");
    assert_eq!(updates.len(), 20);
    assert_eq!(sink.received("/v1/traces").len(), 20);
}
