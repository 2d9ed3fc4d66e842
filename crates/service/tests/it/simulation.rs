//! Schedules of submissions, cancels, crashes, restarts, pauses, drains and clock steps, all by
//! chance, on a store and models that fail by chance. Whatever happens, every accepted job has one
//! end, nothing that is stored as completed is asked for again, and no event is lost.
//!
//! One process has the store to itself, or up to four share it. Those pass each other signals, of which
//! some are lost and some come late; their clocks differ by minutes, and the store judges by its own.
//! An answer of the store may be lost after it has done what was asked.
//!
//! A schedule is its seed: time is tokio's paused clock, everything runs on one thread, and chance
//! comes from the seed alone. To look at one that failed, run `schedule(seed)` in a test of its
//! own.

mod process;
mod verdict;
mod world;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use jobs::job::JobId;
use jobs::store::{CancelRequested, JobStore};
use serde_json::json;
use service::Settings;
use service::catalog::LoadedWorkflow;
use service::submission::RunRequest;
use tokio::task::JoinSet;

use crate::fixture::{inputs, load};
use process::Process;
use world::World;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn whatever_happens_every_job_has_one_end_and_nothing_is_paid_for_twice() {
    schedules(0..250);
}

#[test]
#[ignore = "takes minutes; for changes of the worker, the store or the engine's checkpoints"]
fn whatever_happens_in_many_thousands_of_schedules() {
    schedules(250..20_000);
}

#[test]
fn a_schedule_is_its_seed() {
    let workflow = Arc::new(workflow());
    for seed in 0..5 {
        let first = schedule(seed, &workflow);
        assert_eq!(schedule(seed, &workflow), first, "schedule {seed}");
    }
}

fn schedules(seeds: Range<u64>) {
    let workflow = Arc::new(workflow());
    for seed in seeds {
        let played = catch_unwind(AssertUnwindSafe(|| schedule(seed, &workflow)));
        let played = played.unwrap_or_else(|_| panic!("schedule {seed} panicked, see above"));
        let violations = played.violations;
        assert!(violations.is_empty(), "schedule {seed}: {violations:#?}");
    }
}

#[derive(Debug, PartialEq)]
struct Played {
    /// What did not hold.
    violations: Vec<String>,
    /// All that happened.
    record: String,
}

fn schedule(seed: u64, workflow: &Arc<LoadedWorkflow>) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut schedule = Schedule::new(seed, workflow);
        schedule.play().await;
        schedule.come_to_rest().await;
        let record = format!("{:?}", schedule.world.record());
        let violations = verdict::violations(&schedule.world, schedule.is_exclusive());
        Played {
            violations: violations.await,
            record,
        }
    })
}

/// The processes there are now.
type Processes = Arc<Mutex<Vec<Arc<Process>>>>;

struct Schedule {
    world: Arc<World>,
    settings: Settings,
    workflow: Arc<LoadedWorkflow>,
    processes: Processes,
    clients: JoinSet<()>,
    watchers: JoinSet<()>,
    topics: u64,
}

impl Schedule {
    fn new(seed: u64, workflow: &Arc<LoadedWorkflow>) -> Self {
        let world = World::new(seed);
        let settings = Settings {
            max_running: 1 + usize::try_from(world.below(4)).unwrap(),
            max_queued: Some(4),
            exclusive_store: world.in_percent(45),
            max_starts: u32::MAX,
            fan_out: 2,
            event_buffer: 3,
            ..Settings::default()
        };
        let processes = if settings.exclusive_store {
            1
        } else {
            2 + world.below(3)
        };
        let processes = (0..processes).map(|_| Process::start(&world, &settings, workflow));
        Self {
            processes: Arc::new(Mutex::new(processes.collect())),
            workflow: workflow.clone(),
            world,
            settings,
            clients: JoinSet::new(),
            watchers: JoinSet::new(),
            topics: 0,
        }
    }

    fn is_exclusive(&self) -> bool {
        self.settings.exclusive_store
    }

    /// Things happen.
    async fn play(&mut self) {
        for _ in 0..5 + self.world.below(25) {
            let process = some_process(&self.processes, &self.world);
            match self.world.below(100) {
                0..45 => self.submit(process),
                45..60 => self.cancel(process),
                60..70 => self.replace(&process).await,
                70..75 => {
                    let patience = SECOND * u32::try_from(self.world.below(8)).unwrap();
                    process.service.drain(patience).await;
                    self.replace(&process).await;
                }
                75..80 => {
                    process.stop();
                    self.world.pause(60_000).await;
                    process.go_on();
                }
                80..88 => {
                    let hours = i64::try_from(self.world.below(3)).unwrap() - 1;
                    self.world.set_clock(hours * 3_600);
                }
                _ => self.world.pause(20_000).await,
            }
            self.world.pause(2_000).await;
        }
    }

    /// Nothing fails any more and nothing new comes: everything ends.
    async fn come_to_rest(&mut self) {
        self.world.calm_down();
        // Leases of the dead lapse, whatever the clock was set to when they were taken.
        self.world.set_clock(7_200);
        // A submission may still be on its way.
        while self.clients.join_next().await.is_some() {}
        let given_up = self.world.elapsed() + SECOND * 1_000;
        while self.world.elapsed() < given_up
            && self
                .world
                .jobs()
                .await
                .iter()
                .any(|job| !job.status.is_final())
        {
            tokio::time::sleep(SECOND).await;
        }
        let watchers = async { while self.watchers.join_next().await.is_some() {} };
        let patience = tokio::time::timeout(SECOND * 600, watchers);
        patience.await.expect("every watcher sees the end");
    }

    /// The process dies, and another takes its place sooner or later.
    async fn replace(&mut self, process: &Arc<Process>) {
        process.kill();
        self.world.pause(5_000).await;
        let next = Process::start(&self.world, &self.settings, &self.workflow);
        for place in self.processes.lock().unwrap().iter_mut() {
            if Arc::ptr_eq(place, process) {
                *place = next.clone();
            }
        }
    }

    /// A client asks for a run, perhaps with a key that was used before, waits for its end and goes
    /// away.
    fn submit(&mut self, process: Arc<Process>) {
        let key = self
            .world
            .in_percent(40)
            .then(|| format!("k{}", self.world.below(3)));
        self.topics += 1;
        let topic = key.clone().unwrap_or_else(|| format!("t{}", self.topics));
        let request = RunRequest {
            inputs: inputs(json!({ "topic": topic })),
            idempotency_key: key,
            deadline: self.world.in_percent(10).then(|| SECOND * 20),
            ..RunRequest::default()
        };
        let patience = SECOND * u32::try_from(self.world.below(60)).unwrap();
        let is_watched = self.world.in_percent(50);
        let (world, workflow) = (self.world.clone(), self.workflow.clone());
        let (processes, seen) = (self.processes.clone(), tokio::sync::oneshot::channel());
        let (accepted_as, to_watch) = seen;
        self.clients.spawn(async move {
            let served = async {
                let service = &process.service;
                let Ok(inline) = service.submit_inline(&workflow, request, patience).await else {
                    return;
                };
                let accepted = &inline.accepted;
                world.record().accepted.push((accepted.id, topic));
                // Nobody watches where nobody wants to.
                let _ = accepted_as.send(accepted.id);
                if let Some(job) = service.wait_inline(inline, patience).await {
                    world.record().told.push(job);
                }
            };
            tokio::select! {
                biased;
                () = process.died() => {}
                () = served => {}
            }
        });
        let world = self.world.clone();
        if is_watched {
            self.watchers.spawn(async move {
                if let Ok(id) = to_watch.await {
                    watch(world, processes, id).await;
                }
            });
        }
    }

    fn cancel(&mut self, process: Arc<Process>) {
        let accepted = self.world.record().accepted.clone();
        if accepted.is_empty() {
            return;
        }
        let chosen = self.world.below(accepted.len() as u64);
        let id = accepted[usize::try_from(chosen).unwrap()].0;
        self.world.record().cancelled.insert(id);
        let world = self.world.clone();
        self.clients.spawn(async move {
            let cancelled = async {
                let found = process.service.cancel(id).await;
                if let Ok(CancelRequested::Cancelled | CancelRequested::Ended(_)) = found {
                    let job = world.store.get(id).await.unwrap().unwrap();
                    world.record().told.push(job);
                }
            };
            tokio::select! {
                biased;
                () = process.died() => {}
                () = cancelled => {}
            }
        });
    }
}

fn some_process(processes: &Processes, world: &World) -> Arc<Process> {
    let processes = processes.lock().unwrap();
    let chosen = world.below(processes.len() as u64);
    processes[usize::try_from(chosen).unwrap()].clone()
}

/// Follows a job to its last event, at one process after the other, from the last event seen.
async fn watch(world: Arc<World>, processes: Processes, id: JobId) {
    let mut seen = Vec::new();
    loop {
        let process = some_process(&processes, &world);
        let after = seen.last().copied().unwrap_or(0);
        let mut events = Box::pin(process.service.events(id, after));
        let connection_lasts = Duration::from_millis(world.below(30_000));
        let is_over = tokio::select! {
            biased;
            () = process.died() => false,
            () = tokio::time::sleep(connection_lasts) => false,
            is_over = async {
                while let Some(Ok(event)) = events.next().await {
                    seen.extend(event.id);
                    if event.is_final() {
                        return true;
                    }
                }
                false
            } => is_over,
        };
        if is_over {
            world.record().watched.push((id, seen));
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A node, then a fan-out beside another node, a loop over what it collected, and a join.
fn workflow() -> LoadedWorkflow {
    load(
        "schema_version: \"1.0\"\nflow: {name: all}\nstate:\n  fields:\n    topic: {type: str, required: true}\n    \
         items: {type: list, default: [1, 2, 3]}\n    first: {type: str, default: \"\"}\n    \
         side: {type: str, default: \"\"}\n    each: {type: str, default: \"\"}\n    all: {type: list, default: []}\n    \
         again: {type: str, default: \"\"}\n    last: {type: str, default: \"\"}\nnodes:\n  \
         - {id: first, prompt: \"{topic}|first\", output_schema: {type: str}, outputs: [first]}\n  \
         - {id: side, prompt: \"{topic}|side\", output_schema: {type: str}, outputs: [side]}\n  \
         - {id: each, prompt: \"{topic}|each|{_parallel_index}\", output_schema: {type: str}, outputs: [each]}\n  \
         - {id: again, prompt: \"{topic}|again|{_loop_iteration_again}|{all}\", output_schema: {type: str}, outputs: [again], \
         loop: {max_iterations: 2}}\n  \
         - {id: last, prompt: \"{topic}|last|{again}|{side}\", output_schema: {type: str}, outputs: [last]}\nedges:\n  \
         - {from: START, to: first}\n  - {from: first, to: side}\n  \
         - {from: first, parallel: {items_field: items, target_node: each, collect_field: all}}\n  \
         - {from: each, to: again}\n  - {from: again, to: last}\n  - {from: side, to: last}\n  - {from: last, to: END}\n\
         config: {execution: {max_retries: 3, timeout: 20}}\n",
    )
}
