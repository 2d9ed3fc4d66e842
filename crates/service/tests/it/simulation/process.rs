//! One process: a service whose store, models and clock stand still when it is paused, and for ever
//! once it has died.

use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use engine::host::Host;
use jiff::{SignedDuration, Timestamp};
use jobs::forward::Verb;
use jobs::job::JobId;
use jobs::signals::{Member, NoSignals, Reception, Signal, Signals, Subscription};
use jobs::store::{Claimed, Error};
use lang::source::Source;
use llm::chat::{ChatReply, ChatRequest, Content, Delta, FinishReason, Usage};
use llm::error::ErrorKind;
use llm::model::{ChatModel, ModelSpec, Models};
use serde_json::json;
use service::catalog::LoadedWorkflow;
use service::{Config, Service, Settings};
use tokio::sync::Notify;

use super::world::World;
use crate::fixture::{Faults, FaultyStore};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Runs,
    Paused,
    Dead,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) service: Service,
    part: Part,
}

impl Process {
    pub(super) fn start(
        world: &Arc<World>,
        settings: &Settings,
        served: &LoadedWorkflow,
    ) -> Arc<Self> {
        world.record().processes += 1;
        let part = Part {
            world: world.clone(),
            number: world.record().processes,
            phase: Arc::default(),
            is_shared: false,
            clock_is_off_by: 0,
        };
        let part = Part {
            is_shared: !settings.exclusive_store,
            // Minutes before or after the others.
            clock_is_off_by: i64::try_from(world.below(600)).unwrap() - 300,
            ..part
        };
        let signals: Arc<dyn Signals> = if world.in_percent(70) {
            Arc::new(Wire {
                part: part.clone(),
                member: Arc::new(world.signals.join()),
            })
        } else {
            Arc::new(NoSignals)
        };
        let settings = Settings {
            replica_name: part.name(),
            ..settings.clone()
        };
        let service = Service::new(Config {
            store: Arc::new(FaultyStore {
                memory: world.store.clone(),
                faults: part.clone(),
            }),
            signals,
            models: Arc::new(part.clone()),
            host: Arc::new(part.clone()),
            webhooks: None,
            accounts: None,
            settings,
        });
        // The others go on by the definitions in the store.
        if world.in_percent(80) {
            let workflow = served.workflow.clone();
            let source = Source {
                name: served.definition.name.clone(),
                text: served.definition.text.clone(),
            };
            service
                .catalog()
                .put(LoadedWorkflow::new(&source, workflow));
        }
        Arc::new(Self { service, part })
    }

    /// As `kill -9`.
    pub(super) fn kill(&self) {
        self.part.phase.set(Phase::Dead);
        let mut record = self.part.world.record();
        record.held.retain(|_, holder| *holder != self.part.number);
    }

    /// As `kill -STOP`.
    pub(super) fn stop(&self) {
        self.part.phase.set(Phase::Paused);
    }

    /// As `kill -CONT`.
    pub(super) fn go_on(&self) {
        self.part.phase.set(Phase::Runs);
    }

    pub(super) async fn died(&self) {
        self.part.phase.until(Phase::Dead).await;
    }
}

/// Whoever waits here is let go in the order in which they came, unlike by tokio's `watch`: a
/// schedule is to be the same each time.
#[derive(Debug)]
struct Gate {
    phase: Mutex<Phase>,
    changed: Notify,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            phase: Mutex::new(Phase::Runs),
            changed: Notify::new(),
        }
    }
}

impl Gate {
    fn set(&self, phase: Phase) {
        *self.phase.lock().unwrap() = phase;
        self.changed.notify_waiters();
    }

    fn is(&self, phase: Phase) -> bool {
        *self.phase.lock().unwrap() == phase
    }

    async fn until(&self, phase: Phase) {
        loop {
            let changed = self.changed.notified();
            if self.is(phase) {
                return;
            }
            changed.await;
        }
    }

    /// Goes on only while the process does.
    async fn pass(&self) {
        self.until(Phase::Runs).await;
    }
}

/// What a process touches the world with.
#[derive(Clone)]
struct Part {
    world: Arc<World>,
    number: u64,
    phase: Arc<Gate>,
    /// Other processes have the same store.
    is_shared: bool,
    /// In seconds.
    clock_is_off_by: i64,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").finish_non_exhaustive()
    }
}

impl Part {
    fn name(&self) -> Arc<str> {
        format!("process {}", self.number).into()
    }

    async fn reach_store(&self) {
        self.phase.pass().await;
        let stalls_below_ms = match self.world.below(100) {
            0 if self.world.goes_wrong(50) => 50_000,
            0..20 => 30,
            _ => return,
        };
        self.world.pause(stalls_below_ms).await;
        self.phase.pass().await;
    }

    fn may_fail(&self, percent: u64) -> Result<(), Error> {
        if self.world.goes_wrong(percent) {
            return Err(Error::Unavailable("the disk is full".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl Faults for Part {
    async fn before(&self, _verb: Verb) -> Result<(), Error> {
        self.reach_store().await;
        self.may_fail(4)
    }

    async fn after(&self, _verb: Verb) -> Result<(), Error> {
        self.reach_store().await;
        self.may_fail(3)
    }

    fn serves_several(&self) -> bool {
        self.is_shared
    }

    fn judged_at(&self, callers: Timestamp) -> Timestamp {
        if self.is_shared {
            self.world.store_time()
        } else {
            callers
        }
    }

    fn claimed(&self, claimed: &[Claimed]) {
        let mut record = self.world.record();
        for claimed in claimed {
            let id = claimed.job.id;
            *record.claims.entry(id).or_default() += 1;
            if record.held.insert(id, self.number).is_some() {
                record.claimed_again.push(id);
            }
        }
    }

    fn lost(&self, claimed: &[Claimed]) {
        let mut record = self.world.record();
        for claimed in claimed {
            record.held.remove(&claimed.job.id);
        }
    }

    fn handed_back(&self, job: JobId) {
        self.world.record().held.remove(&job);
    }
}

/// Signals, of which some are lost and some come late.
#[derive(Debug)]
struct Wire {
    part: Part,
    member: Arc<Member>,
}

impl Signals for Wire {
    fn publish(&self, signal: Signal) {
        let world = &self.part.world;
        if !self.part.phase.is(Phase::Runs) || world.goes_wrong(20) {
            return;
        }
        let below_ms = if world.goes_wrong(10) { 20_000 } else { 50 };
        let late = Duration::from_millis(world.below(below_ms));
        let member = self.member.clone();
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            member.publish(signal);
        });
    }

    fn subscribe(&self) -> Subscription {
        self.member.subscribe()
    }

    fn reception(&self) -> Reception {
        self.member.reception()
    }
}

#[async_trait]
impl Host for Part {
    fn now(&self) -> Timestamp {
        let off_by = if self.is_shared {
            self.clock_is_off_by
        } else {
            0
        };
        self.world.now() + SignedDuration::from_secs(off_by)
    }

    fn elapsed(&self) -> Duration {
        self.world.elapsed()
    }

    fn new_id(&self) -> uuid::Uuid {
        self.world.new_id()
    }

    fn random(&self) -> f64 {
        0.5
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
        self.phase.pass().await;
    }
}

impl Models for Part {
    fn find(&self, _spec: &ModelSpec) -> Result<Arc<dyn ChatModel>, llm::Error> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl ChatModel for Part {
    fn name(&self) -> &'static str {
        "fake/model"
    }

    /// Repeats the prompt, soon or late, or fails.
    async fn chat(
        &self,
        request: &ChatRequest,
        _on_delta: &(dyn Fn(Delta) + Send + Sync),
    ) -> Result<ChatReply, llm::Error> {
        let is_stopped = !self.phase.is(Phase::Runs);
        self.phase.pass().await;
        if is_stopped {
            // It was stopped between its look at its lease and the call, which never leaves.
            return Err(llm::Error::new(ErrorKind::Network, "the call timed out."));
        }
        let world = &self.world;
        let prompt = &*request.messages[0].text();
        world.called(&request.label, prompt).await;
        if self.is_shared && !world.is_alive(&self.name()).await {
            world.record().asked_without_lease.push(prompt.to_owned());
        }
        let failed = || {
            let mut record = world.record();
            record.calls.get_mut(prompt).expect("it was called").failed += 1;
        };
        if world.goes_wrong(2) {
            failed();
            pending::<()>().await;
        }
        world
            .pause([20, 200, 3_000, 10_000][usize::try_from(world.below(4)).unwrap()])
            .await;
        self.phase.pass().await;
        if world.goes_wrong(8) {
            failed();
            return Err(llm::Error::new(
                ErrorKind::Network,
                "the model does not answer.",
            ));
        }
        if world.goes_wrong(1) {
            failed();
            return Err(llm::Error::new(ErrorKind::BadRequest, "the model refuses."));
        }
        Ok(ChatReply {
            content: Content::Json(json!({ "result": prompt })),
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
