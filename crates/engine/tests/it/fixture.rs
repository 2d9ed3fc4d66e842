//! What the tests share: a workflow from text, models that answer by a script, a host whose clock
//! is tokio's paused one, and records of what happened.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::event::{EventKind, RunEvent};
use engine::host::Host;
use engine::observer::Observer;
use engine::outcome::{Failure, FailureCode, Finished, Outcome};
use engine::plan::Plan;
use engine::progress::{Checkpoint, CheckpointError, NoCheckpoint, Progress};
use engine::run::{Environment, Limits, Start, run};
use llm::chat::{ChatReply, ChatRequest, Content, Delta, FinishReason, Usage};
use llm::error::ErrorKind;
use llm::model::{ChatModel, ModelSpec, Models};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Checks a workflow given without its `schema_version` and `flow`.
pub(crate) fn plan(body: &str) -> Arc<Plan> {
    plan_of_file(
        "workflow.yaml",
        &format!("schema_version: \"1.0\"\nflow: {{name: sample}}\n{body}"),
    )
}

/// Checks a whole workflow file.
pub(crate) fn plan_of_file(name: &str, text: &str) -> Arc<Plan> {
    let checked = lang::check(&lang::source::Source::new(name, text));
    let workflow = checked
        .workflow
        .unwrap_or_else(|| panic!("{name}: {:#?}", checked.diagnostics));
    Arc::new(Plan::new(workflow))
}

/// One model call, as the fake models saw it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) node: String,
    pub(crate) prompt: String,
    pub(crate) spec: ModelSpec,
    pub(crate) temperature: Option<f64>,
    pub(crate) max_tokens: Option<u32>,
    /// How many calls of this node came before it.
    pub(crate) nth: usize,
}

/// What a fake model answers, and when.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) after: Duration,
    pub(crate) result: Result<Content, llm::Error>,
    /// Input and output tokens.
    pub(crate) tokens: (u64, u64),
    pub(crate) cost_usd: Option<f64>,
    /// How the answer arrives where it is streamed; none: as "a piece".
    pub(crate) pieces: Vec<String>,
    /// What the model's client warns of before it answers.
    pub(crate) warning: Option<String>,
    pub(crate) finish: FinishReason,
}

impl Answer {
    /// An answer that ended for this reason.
    pub(crate) fn finish(self, finish: FinishReason) -> Self {
        Self { finish, ..self }
    }

    /// An answer that is streamed in pieces of that many characters.
    pub(crate) fn in_pieces(mut self, size: usize) -> Self {
        let text = match &self.result {
            Ok(Content::Json(answer)) => answer.to_string(),
            Ok(Content::Text(text)) => text.clone(),
            Err(error) => error.message.clone(),
        };
        let letters: Vec<char> = text.chars().collect();
        self.pieces = letters
            .chunks(size)
            .map(|piece| piece.iter().collect())
            .collect();
        self
    }

    pub(crate) fn json(value: Value) -> Self {
        Self::of(Ok(Content::Json(value)))
    }

    /// An answer for an output schema that is no object.
    pub(crate) fn result(value: impl Into<Value>) -> Self {
        Self::json(json!({ "result": value.into() }))
    }

    pub(crate) fn text(text: &str) -> Self {
        Self::of(Ok(Content::Text(text.to_owned())))
    }

    pub(crate) fn error(kind: ErrorKind) -> Self {
        Self::of(Err(llm::Error::new(
            kind,
            format!("the model said {kind:?}."),
        )))
    }

    pub(crate) fn retry_after(kind: ErrorKind, seconds: u64) -> Self {
        let error = llm::Error::new(kind, format!("the model said {kind:?}."));
        Self::of(Err(llm::Error {
            retry_after: Some(Duration::from_secs(seconds)),
            ..error
        }))
    }

    pub(crate) fn after(self, milliseconds: u64) -> Self {
        Self {
            after: Duration::from_millis(milliseconds),
            ..self
        }
    }

    fn of(result: Result<Content, llm::Error>) -> Self {
        Self {
            after: Duration::ZERO,
            result,
            tokens: (10, 5),
            cost_usd: Some(0.5),
            pieces: Vec::new(),
            warning: None,
            finish: FinishReason::Stop,
        }
    }
}

/// Models that answer by a function of the call.
pub(crate) struct FakeModels {
    answer: Box<dyn Fn(&Call) -> Answer + Send + Sync>,
    sequential: bool,
    calls: Mutex<Vec<Call>>,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    aborted: AtomicUsize,
}

impl FakeModels {
    pub(crate) fn new(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Self::build(false, answer)
    }

    /// Models whose replies must be taken one at a time.
    pub(crate) fn sequential(
        answer: impl Fn(&Call) -> Answer + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::build(true, answer)
    }

    /// Answers each node's calls in order.
    pub(crate) fn script<const N: usize>(replies: [(&str, Vec<Answer>); N]) -> Arc<Self> {
        let replies: BTreeMap<String, Vec<Answer>> = replies
            .into_iter()
            .map(|(node, replies)| (node.to_owned(), replies))
            .collect();
        Self::sequential(move |call| {
            let reply = replies
                .get(&call.node)
                .and_then(|replies| replies.get(call.nth));
            reply
                .cloned()
                .unwrap_or_else(|| panic!("no reply for call {} of {}", call.nth + 1, call.node))
        })
    }

    fn build(
        sequential: bool,
        answer: impl Fn(&Call) -> Answer + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            answer: Box::new(answer),
            sequential,
            calls: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            aborted: AtomicUsize::new(0),
        })
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Each call as `node: prompt`.
    pub(crate) fn prompts(&self) -> Vec<String> {
        self.calls()
            .iter()
            .map(|call| format!("{}: {}", call.node, call.prompt))
            .collect()
    }

    pub(crate) fn most_in_flight(&self) -> usize {
        self.most_in_flight.load(Ordering::SeqCst)
    }

    /// Calls whose future was dropped before it had answered.
    pub(crate) fn aborted(&self) -> usize {
        self.aborted.load(Ordering::SeqCst)
    }
}

/// The models as the engine takes them.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Arc<FakeModels>);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeModels")
    }
}

impl Models for Shared {
    fn find(&self, spec: &ModelSpec) -> Result<Arc<dyn ChatModel>, llm::Error> {
        if spec.provider.as_deref() == Some("anthropic") && spec.model.as_deref() == Some("no-key")
        {
            return Err(llm::Error::new(
                ErrorKind::Config,
                "ANTHROPIC_API_KEY is not set.",
            ));
        }
        Ok(Arc::new(FakeModel {
            models: self.0.clone(),
            spec: spec.clone(),
        }))
    }

    fn is_sequential(&self) -> bool {
        self.0.sequential
    }
}

struct FakeModel {
    models: Arc<FakeModels>,
    spec: ModelSpec,
}

impl std::fmt::Debug for FakeModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeModel")
    }
}

/// Counts a call as aborted unless it got to its answer.
struct InFlight<'a> {
    models: &'a FakeModels,
    answered: bool,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.models.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.models
            .aborted
            .fetch_add(usize::from(!self.answered), Ordering::SeqCst);
    }
}

#[async_trait]
impl ChatModel for FakeModel {
    fn name(&self) -> &'static str {
        "fake/model"
    }

    async fn chat(
        &self,
        request: &ChatRequest,
        on_delta: &(dyn Fn(Delta) + Send + Sync),
    ) -> Result<ChatReply, llm::Error> {
        let models = self.models.as_ref();
        let call = {
            let mut calls = models.calls.lock().unwrap();
            let nth = calls
                .iter()
                .filter(|call| call.node == *request.label)
                .count();
            calls.push(Call {
                node: request.label.to_string(),
                prompt: request.messages[0].text().into_owned(),
                spec: self.spec.clone(),
                temperature: request.temperature,
                max_tokens: request.max_tokens,
                nth,
            });
            calls.last().unwrap().clone()
        };
        let now = models.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        models.most_in_flight.fetch_max(now, Ordering::SeqCst);
        let mut in_flight = InFlight {
            models,
            answered: false,
        };
        let answer = (models.answer)(&call);
        if let Some(warning) = &answer.warning {
            on_delta(Delta::Warning(warning.clone()));
        }
        if request.stream {
            if answer.pieces.is_empty() {
                on_delta(Delta::Text("a piece".to_owned()));
            }
            for piece in &answer.pieces {
                on_delta(Delta::Text(piece.clone()));
            }
        }
        if !answer.after.is_zero() {
            tokio::time::sleep(answer.after).await;
        }
        in_flight.answered = true;
        Ok(ChatReply {
            content: answer.result?,
            usage: Usage {
                input_tokens: answer.tokens.0,
                cached_tokens: 0,
                output_tokens: answer.tokens.1,
                is_estimated: false,
            },
            finish: answer.finish,
            model: "model".to_owned(),
            provider: "fake".to_owned(),
            cost_usd: answer.cost_usd,
            calls: Vec::new(),
            opaque: Vec::new(),
        })
    }
}

/// A host on tokio's clock.
#[derive(Debug)]
pub(crate) struct TestHost {
    started: Instant,
    /// What each look at the clock takes.
    tick: Duration,
    looks: AtomicU32,
}

impl TestHost {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            tick: Duration::ZERO,
            looks: AtomicU32::new(0),
        }
    }

    /// Time passes even where nothing waits.
    pub(crate) fn ticking() -> Self {
        Self {
            tick: Duration::from_micros(1),
            ..Self::new()
        }
    }
}

#[async_trait]
impl Host for TestHost {
    fn now(&self) -> jiff::Timestamp {
        let elapsed = jiff::SignedDuration::try_from(self.elapsed()).unwrap();
        jiff::Timestamp::UNIX_EPOCH.checked_add(elapsed).unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed() + self.tick * self.looks.fetch_add(1, Ordering::SeqCst)
    }

    fn new_id(&self) -> uuid::Uuid {
        uuid::Uuid::nil()
    }

    fn random(&self) -> f64 {
        1.0
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[derive(Default)]
pub(crate) struct Recorder(pub(crate) Mutex<Vec<RunEvent>>);

impl Observer for Recorder {
    fn observe(&self, event: &RunEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// Keeps what was saved; refuses from the given save on.
#[derive(Default)]
pub(crate) struct Saves {
    /// At the ends of steps.
    pub(crate) saved: Mutex<Vec<Progress>>,
    /// Saves so far, of steps and of executions.
    pub(crate) count: AtomicUsize,
    pub(crate) refuse_from: Option<usize>,
}

impl Saves {
    fn count(&self) -> Result<(), CheckpointError> {
        let before = self.count.load(Ordering::SeqCst);
        if self.refuse_from.is_some_and(|from| before >= from) {
            return Err(CheckpointError("the lease is lost".to_owned()));
        }
        self.count.store(before + 1, Ordering::SeqCst);
        Ok(())
    }
}

/// Through text and back, as in a store.
pub(crate) fn stored<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

#[async_trait]
impl Checkpoint for Saves {
    async fn save(&self, progress: &Progress) -> Result<(), CheckpointError> {
        self.count()?;
        self.saved.lock().unwrap().push(stored(progress));
        Ok(())
    }

    async fn save_execution(&self, _progress: &Progress) -> Result<(), CheckpointError> {
        self.count()
    }
}

/// One run to be made.
pub(crate) struct Fixture {
    pub(crate) plan: Arc<Plan>,
    pub(crate) models: Arc<FakeModels>,
    pub(crate) limits: Limits,
    pub(crate) checkpoint: Arc<dyn Checkpoint>,
    pub(crate) cancel: CancellationToken,
}

/// A run that came to its end.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) finished: Finished,
    pub(crate) events: Vec<RunEvent>,
}

impl Fixture {
    pub(crate) fn new(plan: &Arc<Plan>, models: &Arc<FakeModels>) -> Self {
        Self {
            plan: plan.clone(),
            models: models.clone(),
            limits: Limits::default(),
            checkpoint: Arc::new(NoCheckpoint),
            cancel: CancellationToken::new(),
        }
    }

    pub(crate) fn deadline(mut self, milliseconds: u64) -> Self {
        self.limits.deadline = Some(Duration::from_millis(milliseconds));
        self
    }

    /// Runs from START with these inputs.
    pub(crate) async fn run(self, inputs: Value) -> Ran {
        let start = Start::Fresh(accepted(&self.plan, &inputs));
        self.start(start).await.unwrap()
    }

    pub(crate) async fn start(self, start: Start) -> Result<Ran, CheckpointError> {
        self.start_telling(start, Arc::default()).await
    }

    /// Records events in `recorder`, also of a run that has no end.
    pub(crate) async fn start_telling(
        self,
        start: Start,
        recorder: Arc<Recorder>,
    ) -> Result<Ran, CheckpointError> {
        let environment = Environment {
            models: Arc::new(Shared(self.models)),
            host: Arc::new(TestHost::new()),
            observer: recorder.clone(),
            checkpoint: self.checkpoint,
        };
        let finished = run(&self.plan, start, self.limits, &environment, self.cancel).await?;
        let events = std::mem::take(&mut *recorder.0.lock().unwrap());
        Ok(Ran { finished, events })
    }
}

/// The initial state for inputs that fit.
pub(crate) fn accepted(plan: &Plan, inputs: &Value) -> Vec<Value> {
    let none = Map::new();
    let inputs = inputs.as_object().unwrap_or(&none);
    plan.workflow()
        .accept_inputs(inputs)
        .unwrap_or_else(|faults| panic!("{faults:#?}"))
}

impl Ran {
    /// The final state of a run that completed.
    pub(crate) fn outputs(&self) -> Value {
        match &self.finished.outcome {
            Outcome::Completed { outputs } => Value::Object((**outputs).clone()),
            other => panic!("expected a completed run, got {other:#?}"),
        }
    }

    /// Why a run failed that failed.
    pub(crate) fn failure(&self) -> &Failure {
        match &self.finished.outcome {
            Outcome::Failed(failure) => failure,
            other => panic!("expected a failed run, got {other:#?}"),
        }
    }

    /// Code and message of the failure.
    #[track_caller]
    pub(crate) fn assert_failed(&self, code: FailureCode, message: &str) {
        let failure = self.failure();
        assert_eq!((failure.code, failure.message.as_str()), (code, message));
    }

    /// Each event in short, such as `node_started ask`.
    pub(crate) fn events(&self) -> Vec<String> {
        self.events.iter().map(|event| short(&event.kind)).collect()
    }
}

fn short(kind: &EventKind) -> String {
    let value = serde_json::to_value(kind).unwrap();
    let text = |key: &str| {
        value
            .get(key)
            .map(|value| format!(" {}", value.to_string().trim_matches('"')))
    };
    let parts = [text("event"), text("node"), text("item")];
    parts
        .into_iter()
        .flatten()
        .collect::<String>()
        .trim_start()
        .to_owned()
}
