//! Holds the runs that are not completely delivered yet, and delivers them, a few at a time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::host::Host;
use prometheus::IntCounter;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::client::{Client, Error};
use super::deliver::{PendingRun, RunDeliverer};
use super::head::Message;
use crate::export::{Closing, LogThrottle, SinkHealth, closed};
use crate::otlp::Resource;

/// Concurrent deliveries: more would not help a server with one worker.
const AT_ONCE: usize = 4;

/// How long a run may last before its MLflow run is created.
const CREATE_AFTER: Duration = Duration::from_secs(1);

/// How often a running run is updated in MLflow.
const UPDATE_EVERY: Duration = Duration::from_secs(5);

/// Failures in a row after which the end of the process is no longer delayed.
const LAST_ATTEMPTS: u32 = 3;

const TICK: Duration = Duration::from_millis(500);

/// What the worker needs.
pub(crate) struct Sink {
    pub(crate) client: Client,
    pub(crate) resource: Resource,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) dropped: IntCounter,
}

/// Whether a run is being delivered at the moment. Messages that arrive meanwhile wait for the end
/// of that.
enum DeliveryState {
    Idle(Box<PendingRun>),
    InDelivery(Vec<Message>),
}

/// A finished delivery.
struct Delivered {
    pending: Box<PendingRun>,
    refused: Vec<String>,
    result: Result<(), Error>,
}

struct Worker {
    deliverer: Arc<RunDeliverer>,
    host: Arc<dyn Host>,
    dropped: IntCounter,
    runs: HashMap<Uuid, DeliveryState>,
    /// Runs to deliver, in order.
    ready: VecDeque<Uuid>,
    deliveries: JoinSet<Delivered>,
    health: SinkHealth,
    /// Nothing is sent before this time.
    leave_alone_until: Duration,
    refusals: LogThrottle,
    closing: bool,
}

/// Delivers runs until the process is about to end and everything is delivered.
pub(crate) async fn work(sink: Sink, mut queue: UnboundedReceiver<Message>, mut closing: Closing) {
    let mut worker = Worker {
        deliverer: Arc::new(RunDeliverer {
            client: sink.client,
            resource: sink.resource,
            experiments: Mutex::default(),
        }),
        host: sink.host.clone(),
        dropped: sink.dropped,
        runs: HashMap::new(),
        ready: VecDeque::new(),
        deliveries: JoinSet::new(),
        health: SinkHealth::new("mlflow"),
        leave_alone_until: Duration::ZERO,
        refusals: LogThrottle::default(),
        closing: false,
    };
    let mut messages = Vec::new();
    let mut tick = sink.host.sleep(TICK);
    loop {
        tokio::select! {
            biased;
            taken = queue.recv_many(&mut messages, 256) => {
                if taken == 0 {
                    worker.close();
                }
                for message in messages.drain(..) {
                    worker.take(message);
                }
            }
            Some(done) = worker.deliveries.join_next() => {
                // A panic has been logged already; its run stays `InDelivery` and is lost.
                if let Ok(done) = done {
                    worker.delivered(done);
                }
            }
            () = closed(&mut closing), if !worker.closing => worker.close(),
            () = &mut tick => {
                tick = sink.host.sleep(TICK);
                worker.look_for_news();
            }
        }
        worker.send();
        let all_delivered = worker.deliveries.is_empty() && worker.ready.is_empty();
        if worker.closing && all_delivered && queue.is_empty() {
            return;
        }
        if worker.closing && worker.health.failures() >= LAST_ATTEMPTS {
            crate::export::tell_lost("mlflow", "runs", worker.runs.len());
            return;
        }
    }
}

impl Worker {
    fn take(&mut self, message: Message) {
        let now = self.host.elapsed();
        let job = match &message {
            Message::Begun(head, _) => head.job,
            Message::Span(job, ..)
            | Message::Artifact(job, ..)
            | Message::HandedOver(job)
            | Message::Ended(job, _)
            | Message::Abandoned(job)
            | Message::Dismissed(job) => *job,
        };
        match (self.runs.get_mut(&job), message) {
            (Some(DeliveryState::InDelivery(waiting)), message) => waiting.push(message),
            (None, Message::Begun(head, permit)) => {
                let pending = Box::new(PendingRun::new(head, permit, now));
                self.runs.insert(job, DeliveryState::Idle(pending));
            }
            (Some(DeliveryState::Idle(pending)), Message::Dismissed(_))
                if pending.run.is_none() =>
            {
                self.runs.remove(&job);
            }
            (Some(DeliveryState::Idle(pending)), message) => {
                let was_over = pending.is_over;
                match message {
                    Message::Span(_, span, permit) => pending.spans.push((span, permit)),
                    Message::Artifact(_, artifact, permit) => {
                        pending.artifacts.push_back((artifact, Some(permit)));
                    }
                    Message::HandedOver(_) => pending.is_async = true,
                    Message::Ended(_, end) => pending.ended(end),
                    Message::Abandoned(_) | Message::Dismissed(_) => pending.is_over = true,
                    // The same job came back here before its earlier attempt was delivered.
                    Message::Begun(..) => pending.is_over = false,
                }
                if pending.is_over && !was_over {
                    self.ready.push_back(job);
                }
            }
            // A message about a run that was dropped.
            (None, _) => {}
        }
    }

    fn close(&mut self) {
        self.closing = true;
        for (job, state) in &mut self.runs {
            if let DeliveryState::Idle(pending) = state
                && !pending.is_over
            {
                pending.is_over = true;
                self.ready.push_back(*job);
            }
        }
    }

    /// Selects running runs that MLflow has not heard of for a while.
    fn look_for_news(&mut self) {
        let now = self.host.elapsed();
        let is_due = |pending: &PendingRun| {
            let after = if pending.run.is_none() {
                CREATE_AFTER
            } else {
                UPDATE_EVERY
            };
            !pending.is_over && pending.has_news() && now.saturating_sub(pending.since) >= after
        };
        let due = self.runs.iter().filter_map(|(job, state)| match state {
            DeliveryState::Idle(pending) if is_due(pending) => Some(*job),
            _ => None,
        });
        let due: Vec<Uuid> = due.filter(|job| !self.ready.contains(job)).collect();
        self.ready.extend(due);
    }

    fn send(&mut self) {
        if self.host.elapsed() < self.leave_alone_until {
            return;
        }
        let most = if self.health.is_down() { 1 } else { AT_ONCE };
        while self.deliveries.len() < most
            && let Some(job) = self.ready.pop_front()
        {
            let mut pending = match self.runs.remove(&job) {
                Some(DeliveryState::Idle(pending)) => pending,
                // It was scheduled twice.
                Some(in_delivery @ DeliveryState::InDelivery(_)) => {
                    self.runs.insert(job, in_delivery);
                    continue;
                }
                None => continue,
            };
            self.runs.insert(job, DeliveryState::InDelivery(Vec::new()));
            let deliverer = self.deliverer.clone();
            self.deliveries.spawn(async move {
                let mut refused = Vec::new();
                let result = deliverer.deliver(&mut pending, &mut refused).await;
                Delivered {
                    pending,
                    refused,
                    result,
                }
            });
        }
    }

    fn delivered(&mut self, done: Delivered) {
        let Delivered {
            mut pending,
            refused,
            result,
        } = done;
        let now = self.host.elapsed();
        let job = pending.head.job;
        let waiting = match self.runs.remove(&job) {
            Some(DeliveryState::InDelivery(waiting)) => waiting,
            Some(DeliveryState::Idle(_)) | None => Vec::new(),
        };
        for why in &refused {
            self.tell_refused(why);
        }
        let is_done = match result {
            Ok(()) => {
                self.health.answered(self.dropped.get());
                pending.since = now;
                pending.is_over && waiting.is_empty()
            }
            Err(Error::Unreachable(why)) => {
                let wait = self
                    .health
                    .failed(&why, self.dropped.get(), self.host.random());
                self.leave_alone_until = now + wait;
                self.ready.push_front(job);
                false
            }
            Err(error @ Error::Refused { .. }) => {
                // Without its MLflow run, nothing else can be delivered.
                self.health.answered(self.dropped.get());
                self.tell_refused(&format!("a run: {error}"));
                self.dropped.inc();
                true
            }
        };
        if is_done {
            return;
        }
        let was_over = pending.is_over;
        self.runs.insert(job, DeliveryState::Idle(pending));
        for message in waiting {
            self.take(message);
        }
        if self.closing
            && !was_over
            && let Some(DeliveryState::Idle(pending)) = self.runs.get_mut(&job)
            && !pending.is_over
        {
            pending.is_over = true;
            self.ready.push_back(job);
        }
    }

    fn tell_refused(&mut self, why: &str) {
        if let Some(times) = self.refusals.due() {
            tracing::warn!(error = why, times, "MLflow rejected a part of a run");
        }
    }
}
