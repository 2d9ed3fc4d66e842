//! What outlives a process: the store, the clock, chance, and a record of all that happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use jobs::job::{Job, JobId};
use jobs::memory::{Limits, MemoryStore};
use jobs::signals::InProcess;
use jobs::store::{Filter, JobStore, ReplicaState, StoredEvent};
use serde_json::Value;
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct World {
    pub(super) store: Arc<MemoryStore>,
    pub(super) signals: InProcess,
    pub(super) record: Mutex<Record>,
    chance: Mutex<Rng>,
    started: Instant,
    /// By how many seconds the wall clock was set.
    set_by: AtomicI64,
    ids: AtomicU64,
    /// Whether stores and models fail.
    faulty: AtomicBool,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// By prompt, which tells job, node, item and round.
    pub(super) calls: BTreeMap<String, Calls>,
    /// What each job is about.
    topics: BTreeMap<JobId, String>,
    /// How often each job was claimed.
    pub(super) claims: BTreeMap<JobId, usize>,
    /// Processes that were started.
    pub(super) processes: u64,
    /// Which of those alive was given each job.
    pub(super) held: BTreeMap<JobId, u64>,
    /// Jobs that were claimed although a process alive had them.
    pub(super) claimed_again: Vec<JobId>,
    /// Handles that were given out, with the topic that was asked for.
    pub(super) accepted: Vec<(JobId, String)>,
    /// Ends that somebody was told of.
    pub(super) told: Vec<Job>,
    /// Jobs somebody wanted to stop.
    pub(super) cancelled: BTreeSet<JobId>,
    /// What each watcher saw from the first event to the last.
    pub(super) watched: Vec<(JobId, Vec<u64>)>,
    /// What was asked after it had been stored as completed.
    pub(super) asked_again: Vec<String>,
    /// What was asked by a process that was not alive for the store.
    pub(super) asked_without_lease: Vec<String>,
}

/// Calls of one execution of a node.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Calls {
    pub(super) made: usize,
    /// Of these, those that gave no answer, so that the engine tries again.
    pub(super) failed: usize,
}

impl World {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::new(MemoryStore::new(Limits {
                max_age: Duration::MAX,
                ..Limits::default()
            })),
            signals: InProcess::default(),
            record: Mutex::default(),
            chance: Mutex::new(Rng::with_seed(seed)),
            started: Instant::now(),
            set_by: AtomicI64::new(0),
            ids: AtomicU64::new(0),
            faulty: AtomicBool::new(true),
        })
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    /// A number from 0 on, below this one.
    pub(super) fn below(&self, number: u64) -> u64 {
        self.chance.lock().unwrap().u64(0..number)
    }

    pub(super) fn in_percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// As `in_percent`, as long as things go wrong.
    pub(super) fn goes_wrong(&self, percent: u64) -> bool {
        self.in_percent(percent) && self.faulty.load(Ordering::SeqCst)
    }

    pub(super) fn calm_down(&self) {
        self.faulty.store(false, Ordering::SeqCst);
    }

    pub(super) async fn pause(&self, below_ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.below(below_ms))).await;
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + self.set_by.load(Ordering::SeqCst)).unwrap()
            + SignedDuration::try_from(self.elapsed()).unwrap()
    }

    /// The clock of a store that several processes share: nobody sets it.
    pub(super) fn store_time(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
            + SignedDuration::try_from(self.elapsed()).unwrap()
    }

    /// Whether a shared store has a process of this name as alive.
    pub(super) async fn is_alive(&self, name: &str) -> bool {
        let replicas = self.store.replicas().await.unwrap();
        let now = self.store_time();
        let is_it = |replica: &ReplicaState| &*replica.name == name && replica.lease_until > now;
        replicas.iter().any(is_it)
    }

    pub(super) fn set_clock(&self, seconds: i64) {
        self.set_by.store(seconds, Ordering::SeqCst);
    }

    pub(super) fn new_id(&self) -> uuid::Uuid {
        let number = self.ids.fetch_add(1, Ordering::SeqCst);
        uuid::Uuid::from_u128(0x7000_8000_0000_0000_0000 + u128::from(number))
    }

    pub(super) async fn jobs(&self) -> Vec<Job> {
        let page = self
            .store
            .list(&Filter::default(), None, usize::MAX - 1)
            .await;
        page.unwrap().jobs
    }

    /// A job with its outputs, which a listing does not have.
    pub(super) async fn job(&self, id: JobId) -> Job {
        self.store.get(id).await.unwrap().unwrap()
    }

    pub(super) async fn events(&self, id: JobId) -> Vec<StoredEvent> {
        self.store.events(id, 0, usize::MAX).await.unwrap()
    }

    /// The topic a stored job is about.
    pub(super) async fn topic(&self, job: &Job) -> String {
        if let Some(known) = self.record().topics.get(&job.id) {
            return known.clone();
        }
        let work = self.store.workload(job.id).await.unwrap().unwrap();
        let inputs: Value = work.inputs.read().unwrap();
        let topic = inputs["topic"].as_str().unwrap().to_owned();
        self.record().topics.insert(job.id, topic.clone());
        topic
    }

    /// Notes a call that is about to be made, and whether its execution is stored as completed.
    pub(super) async fn called(&self, node: &str, prompt: &str) {
        self.record()
            .calls
            .entry(prompt.to_owned())
            .or_default()
            .made += 1;
        let mut parts = prompt.split('|');
        let topic = parts.next().unwrap();
        let number: Option<u64> = parts.nth(1).and_then(|part| part.parse().ok());
        for job in self.jobs().await {
            if self.topic(&job).await == topic {
                let completed = completions(&self.events(job.id).await, node, number);
                let rounds = if node == "again" {
                    number.unwrap_or(0)
                } else {
                    0
                };
                if completed > rounds {
                    self.record().asked_again.push(prompt.to_owned());
                }
            }
        }
    }
}

/// How often a node, or one item of it, is stored as completed.
fn completions(events: &[StoredEvent], node: &str, number: Option<u64>) -> u64 {
    let item = number.filter(|_| node == "each");
    let events = events.iter().filter(|event| event.kind == "node_completed");
    let values = events.map(|event| event.data.read::<Value>().unwrap());
    values
        .filter(|event| event["node"] == node && event["item"].as_u64() == item)
        .count() as u64
}
