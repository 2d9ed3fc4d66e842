//! A service with fake models, and a workflow whose nodes follow one another.

mod faulty_store;
mod several;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::host::Host;
use futures_util::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use jobs::job::{Job, JobId, Status};
use jobs::memory::MemoryStore;
use jobs::signals::{NoSignals, Signals};
use jobs::store::JobStore;
use lang::source::Source;
use llm::chat::{ChatReply, ChatRequest, Content, Delta, FinishReason, Usage};
use llm::error::ErrorKind;
use llm::model::{ChatModel, ModelSpec, Models};
use serde_json::{Map, Value, json};
use service::catalog::LoadedWorkflow;
use service::events::Event;
use service::limits::Accounts;
use service::submission::{Accepted, RunRequest};
use service::webhooks::Webhooks;
use service::{Config, Service, Settings};
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub(crate) use faulty_store::{Faults, FaultyStore, SharedStore};
pub(crate) use several::{Machine, SeveralStore};

/// What a fake model does with one call.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Text(&'static str),
    /// A failure that no further attempt can mend.
    Refused,
    /// A failure that further attempts may mend.
    Unreachable,
    /// A text after this time.
    After(Duration, &'static str),
    /// The text once somebody adds a permit.
    Held(Arc<Semaphore>, &'static str),
    /// The text in these pieces; each waits for a permit.
    Pieces(Arc<Semaphore>, &'static [&'static str]),
    Never,
    Panic,
}

/// The answer to a node's call, the first being number 1.
type AnswerTo = dyn Fn(&str, usize) -> Answer + Send + Sync;

/// Models that answer by node and number of the call.
pub(crate) struct FakeModels {
    answer: Box<AnswerTo>,
    calls: Mutex<HashMap<String, usize>>,
    /// Raised with every call.
    started: Semaphore,
    in_flight: AtomicUsize,
}

impl std::fmt::Debug for FakeModels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeModels").finish_non_exhaustive()
    }
}

impl FakeModels {
    pub(crate) fn new(answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            answer: Box::new(answer),
            calls: Mutex::default(),
            started: Semaphore::new(0),
            in_flight: AtomicUsize::new(0),
        })
    }

    /// How often a node has asked.
    pub(crate) fn calls(&self, node: &str) -> usize {
        self.calls.lock().unwrap().get(node).copied().unwrap_or(0)
    }

    pub(crate) fn all_calls(&self) -> usize {
        self.calls.lock().unwrap().values().sum()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Until one more call has begun since the last time this was asked.
    pub(crate) async fn next_call(&self) {
        self.started.acquire().await.unwrap().forget();
    }
}

#[derive(Debug)]
struct Handle(Arc<FakeModels>);

/// `FakeModels` as the engine sees them.
#[derive(Debug)]
pub(crate) struct Fakes(pub(crate) Arc<FakeModels>);

impl Models for Fakes {
    fn find(&self, _spec: &ModelSpec) -> Result<Arc<dyn ChatModel>, llm::Error> {
        Ok(Arc::new(Handle(self.0.clone())))
    }
}

struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl ChatModel for Handle {
    fn name(&self) -> &'static str {
        "fake/model"
    }

    /// As every answer below, and a quarter of it for the prompt.
    fn cost_usd(&self, _input_tokens: u64, output_tokens: u64) -> Option<f64> {
        Some(if output_tokens == 0 { 0.125 } else { 0.5 })
    }

    async fn chat(
        &self,
        request: &ChatRequest,
        on_delta: &(dyn Fn(Delta) + Send + Sync),
    ) -> Result<ChatReply, llm::Error> {
        let fake = &self.0;
        let nth = {
            let mut calls = fake.calls.lock().unwrap();
            let calls = calls.entry(request.label.to_string()).or_default();
            *calls += 1;
            *calls
        };
        fake.in_flight.fetch_add(1, Ordering::SeqCst);
        let _in_flight = InFlight(&fake.in_flight);
        fake.started.add_permits(1);
        let text = match (fake.answer)(&request.label, nth) {
            Answer::Text(text) => text.to_owned(),
            Answer::Refused => {
                return Err(llm::Error::new(
                    ErrorKind::BadRequest,
                    "the model refused the request.",
                ));
            }
            Answer::Unreachable => {
                return Err(llm::Error::new(
                    ErrorKind::Network,
                    "the model does not answer.",
                ));
            }
            Answer::After(time, text) => {
                tokio::time::sleep(time).await;
                text.to_owned()
            }
            Answer::Held(permits, text) => {
                permits.acquire().await.unwrap().forget();
                text.to_owned()
            }
            Answer::Pieces(permits, pieces) => {
                for piece in pieces {
                    permits.acquire().await.unwrap().forget();
                    if request.stream {
                        on_delta(Delta::Text((*piece).to_owned()));
                    }
                    tokio::task::yield_now().await;
                }
                pieces.concat()
            }
            Answer::Never => std::future::pending().await,
            Answer::Panic => panic!("the fake model was told to"),
        };
        Ok(ChatReply {
            content: Content::Json(json!({ "result": text })),
            usage: Usage {
                input_tokens: 10,
                cached_tokens: 0,
                output_tokens: 5,
                is_estimated: false,
            },
            finish: FinishReason::Stop,
            model: "model".to_owned(),
            provider: "fake".to_owned(),
            cost_usd: Some(0.5),
            calls: Vec::new(),
            opaque: Vec::new(),
        })
    }
}

/// A clock that is tokio's, and ids that rise.
#[derive(Debug)]
pub(crate) struct TestHost {
    start: Instant,
    ids: AtomicU64,
    /// What somebody has set the wall clock forward or back by, in seconds.
    set_by: AtomicI64,
}

impl TestHost {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            ids: AtomicU64::new(0),
            set_by: AtomicI64::new(0),
        }
    }

    /// Sets the wall clock; the monotonic one goes on.
    pub(crate) fn set_clock(&self, seconds: i64) {
        self.set_by.store(seconds, Ordering::SeqCst);
    }
}

#[async_trait]
impl Host for TestHost {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + self.set_by.load(Ordering::SeqCst)).unwrap()
            + SignedDuration::try_from(self.elapsed()).unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn new_id(&self) -> uuid::Uuid {
        let number = self.ids.fetch_add(1, Ordering::SeqCst);
        uuid::Uuid::from_u128(0x7000_8000_0000_0000_0000 + u128::from(number))
    }

    fn random(&self) -> f64 {
        0.5
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A workflow `chain` whose nodes run in this order, each writing the field of its name.
pub(crate) fn chain(nodes: &[&str]) -> LoadedWorkflow {
    let mut text = String::from(
        "schema_version: \"1.0\"\nflow: {name: chain}\nstate:\n  fields:\n    topic: {type: str, required: true}\n    numbers: {type: list, default: []}\n    ratio: {type: float, default: 0.5}\n",
    );
    let mut list = String::from("nodes:\n");
    let mut edges = String::from("edges:\n");
    let mut from = "START";
    for node in nodes {
        writeln!(text, "    {node}: {{type: str, default: \"\"}}").unwrap();
        writeln!(list, "  - {{id: {node}, prompt: \"{node} {{topic}}\", output_schema: {{type: str}}, outputs: [{node}]}}").unwrap();
        writeln!(edges, "  - {{from: {from}, to: {node}}}").unwrap();
        from = node;
    }
    writeln!(edges, "  - {{from: {from}, to: END}}").unwrap();
    load(&(text + &list + &edges))
}

pub(crate) fn load(text: &str) -> LoadedWorkflow {
    let source = Source::new("chain.yaml", text);
    let checked = lang::check(&source);
    let workflow = checked
        .workflow
        .unwrap_or_else(|| panic!("{:#?}", checked.diagnostics));
    LoadedWorkflow::new(&source, workflow)
}

/// A service with one workflow.
pub(crate) struct Fixture {
    pub(crate) service: Service,
    pub(crate) models: Arc<FakeModels>,
    pub(crate) workflow: Arc<LoadedWorkflow>,
}

impl Fixture {
    /// The chain `a`, `b` on a store in memory.
    pub(crate) fn new(answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::with(
            Arc::new(MemoryStore::default()),
            Settings::default(),
            answer,
        )
    }

    pub(crate) fn with(
        store: Arc<dyn JobStore>,
        settings: Settings,
        answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::on(
            store,
            Arc::new(TestHost::new()),
            settings,
            FakeModels::new(answer),
        )
    }

    pub(crate) fn on(
        store: Arc<dyn JobStore>,
        host: Arc<TestHost>,
        settings: Settings,
        models: Arc<FakeModels>,
    ) -> Self {
        Self::telling(store, host, settings, models, None)
    }

    pub(crate) fn telling(
        store: Arc<dyn JobStore>,
        host: Arc<TestHost>,
        settings: Settings,
        models: Arc<FakeModels>,
        webhooks: Option<Webhooks>,
    ) -> Self {
        Self::of(models, |models| Config {
            store,
            signals: Arc::new(NoSignals),
            models,
            host,
            webhooks,
            accounts: None,
            settings,
        })
    }

    /// As one of several replicas.
    pub(crate) fn sharing(
        store: Arc<dyn JobStore>,
        signals: Arc<dyn Signals>,
        host: Arc<TestHost>,
        settings: Settings,
        models: Arc<FakeModels>,
        webhooks: Option<Webhooks>,
    ) -> Self {
        Self::of(models, |models| Config {
            store,
            signals,
            models,
            host,
            webhooks,
            accounts: None,
            settings,
        })
    }

    /// With keys whose spending is counted.
    pub(crate) fn counting(
        store: Arc<dyn JobStore>,
        host: Arc<dyn Host>,
        settings: Settings,
        models: Arc<FakeModels>,
        accounts: Arc<Accounts>,
    ) -> Self {
        let signals = Arc::new(NoSignals);
        Self::counting_and_signalling(store, signals, host, settings, models, accounts)
    }

    /// The same as one of several replicas that signal to each other.
    pub(crate) fn counting_and_signalling(
        store: Arc<dyn JobStore>,
        signals: Arc<dyn Signals>,
        host: Arc<dyn Host>,
        settings: Settings,
        models: Arc<FakeModels>,
        accounts: Arc<Accounts>,
    ) -> Self {
        Self::of(models, |models| Config {
            store,
            signals,
            models,
            host,
            webhooks: None,
            accounts: Some(accounts),
            settings,
        })
    }

    fn of(models: Arc<FakeModels>, config: impl FnOnce(Arc<dyn Models>) -> Config) -> Self {
        let service = Service::new(config(Arc::new(Fakes(models.clone()))));
        let workflow = service.catalog().put(chain(&["a", "b"]));
        Self {
            service,
            models,
            workflow,
        }
    }

    pub(crate) async fn submit(&self) -> Accepted {
        self.service
            .submit(&self.workflow, request())
            .await
            .unwrap()
    }

    /// Waits for a job's end, and reads it.
    pub(crate) async fn ended(&self, accepted: &Accepted) -> Job {
        let job = self.service.wait(accepted, HOUR).await;
        let job = job.expect("it ends within the hour");
        self.service.was_read(&job);
        job
    }

    /// Runs a job to its end.
    pub(crate) async fn run(&self) -> Job {
        let accepted = self.submit().await;
        self.ended(&accepted).await
    }

    /// Reads a job.
    pub(crate) async fn status(&self, id: JobId) -> Status {
        let job = self.service.get(id).await.unwrap().unwrap();
        self.service.was_read(&job);
        job.status
    }

    pub(crate) async fn all_events(&self, id: JobId, after: u64) -> Vec<Event> {
        collect(self.service.events(id, after)).await
    }
}

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn inputs(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(inputs) => inputs,
        other => panic!("{other}"),
    }
}

/// Valid for the chain.
pub(crate) fn request() -> RunRequest {
    RunRequest {
        inputs: inputs(json!({"topic": "bees"})),
        ..RunRequest::default()
    }
}

pub(crate) fn with_key(key: &str) -> RunRequest {
    RunRequest {
        idempotency_key: Some(key.to_owned()),
        ..request()
    }
}

pub(crate) async fn collect(
    events: impl Stream<Item = Result<Event, jobs::store::Error>>,
) -> Vec<Event> {
    events.map(Result::unwrap).collect().await
}

pub(crate) fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| &*event.kind).collect()
}

/// One JSON member of a job's outputs.
pub(crate) fn output(job: &Job, field: &str) -> Value {
    job.outputs.as_ref().unwrap().read::<Value>().unwrap()[field].clone()
}

pub(crate) fn problem_code(job: &Job) -> String {
    let problem: Value = job.problem.as_ref().unwrap().read().unwrap();
    problem["code"].as_str().unwrap().to_owned()
}
