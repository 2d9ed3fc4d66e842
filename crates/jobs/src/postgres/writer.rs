//! The tasks that write. Each has a connection and a queue, takes all queued commands, up to [`BATCH`],
//! and commits them together, without waiting for more. The commands of one job go to one task, in
//! their order.
//!
//! If a statement fails, the batch is rolled back and each of its commands is tried again in a
//! transaction of its own, so that one that cannot succeed does not affect the others. If the
//! connection fails, the batch is committed on another one: every verb can be repeated.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::batch::write;
use super::commands::{Outcome, Verb};
use super::fault::{Failure, Remedy};
use super::known::Known;
use super::options::Options;
use super::sessions::{Connector, Pauses, Session};
use crate::store::Error;

/// How many tasks: one sends while the other's commit is on its way to the disk.
const WRITERS: usize = 2;

/// Most commands in one commit.
const BATCH: usize = 128;

/// Most commands in a queue; further callers wait until there is space in it.
const QUEUE: usize = 1024;

#[derive(Debug)]
pub(super) struct Writer {
    queues: Vec<mpsc::Sender<Command>>,
    /// Leads a job to its queue.
    hasher: RandomState,
    verb_timeout: Duration,
}

#[derive(Debug)]
struct Command {
    verb: Verb,
    deadline: Instant,
    reply: oneshot::Sender<Outcome>,
}

impl Writer {
    pub(super) fn start(connector: &Connector, options: &Options) -> Self {
        let known = Arc::<Known>::default();
        let start = |_| {
            let (sender, receiver) = mpsc::channel(QUEUE);
            let task = WriterTask {
                connector: connector.clone(),
                known: known.clone(),
                session: None,
            };
            tokio::spawn(task.run(receiver));
            sender
        };
        Self {
            queues: (0..WRITERS).map(start).collect(),
            hasher: RandomState::new(),
            verb_timeout: options.verb_timeout,
        }
    }

    /// Returns once the verb is committed, or refused. A caller that leaves does not stop it.
    pub(super) async fn write(&self, verb: Verb) -> Outcome {
        let place = verb.job().map_or(0, |job| self.hasher.hash_one(job));
        let queues = self.queues.len() as u64;
        let queue = usize::try_from(place % queues).expect("there are few queues");
        self.ask(queue, verb).await
    }

    /// Shows that every task can commit.
    pub(super) async fn ping(&self) -> Result<(), Error> {
        let each = (0..self.queues.len()).map(|queue| self.ask(queue, Verb::Ping));
        futures_util::future::try_join_all(each).await.map(drop)
    }

    async fn ask(&self, queue: usize, verb: Verb) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        let command = Command {
            verb,
            deadline: Instant::now() + self.verb_timeout,
            reply,
        };
        let stopped = || Error::Unavailable("it has been closed".to_owned());
        self.queues[queue]
            .send(command)
            .await
            .map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

struct WriterTask {
    connector: Connector,
    known: Arc<Known>,
    session: Option<Session>,
}

impl WriterTask {
    async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut waiting = VecDeque::new();
        let mut arrived = Vec::with_capacity(BATCH);
        loop {
            if waiting.is_empty() {
                if queue.recv_many(&mut arrived, BATCH).await == 0 {
                    return;
                }
            } else {
                while waiting.len() + arrived.len() < BATCH
                    && let Ok(command) = queue.try_recv()
                {
                    arrived.push(command);
                }
            }
            waiting.extend(arrived.drain(..));
            let batch = take_batch(&mut waiting);
            self.commit(batch).await;
        }
    }

    async fn commit(&mut self, batch: Vec<Command>) {
        let outcomes = match self.try_until(&batch, deadline(&batch)).await {
            Ok(outcomes) => outcomes,
            Err(failure) if batch.len() > 1 && failure.remedy() != Remedy::Reconnect => {
                tracing::debug!(?failure, "the verbs of a batch are committed one by one");
                for command in batch {
                    let alone = std::slice::from_ref(&command);
                    let outcome = match self.try_until(alone, command.deadline).await {
                        Ok(mut outcomes) => outcomes.remove(0),
                        Err(failure) => Err(failure.into()),
                    };
                    // The caller may have gone; the change was made all the same.
                    let _ = command.reply.send(outcome);
                }
                return;
            }
            Err(failure) => {
                let error = Error::from(failure);
                batch.iter().map(|_| Err(error.clone())).collect()
            }
        };
        for (command, outcome) in batch.into_iter().zip(outcomes) {
            let _ = command.reply.send(outcome);
        }
    }

    /// Tries until the deadline, on new connections where one fails. What meets other transactions is
    /// repeated only if it is alone.
    async fn try_until(
        &mut self,
        batch: &[Command],
        deadline: Instant,
    ) -> Result<Vec<Outcome>, Failure> {
        let mut pauses = Pauses::default();
        loop {
            let tried = tokio::time::timeout_at(deadline, self.attempt(batch)).await;
            let failure = match tried {
                Ok(Ok(outcomes)) => return Ok(outcomes),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    self.session = None;
                    return Err(Failure::Silent);
                }
            };
            let is_repeated = match failure.remedy() {
                Remedy::GiveUp => false,
                Remedy::Repeat => batch.len() == 1,
                Remedy::Reconnect => true,
            };
            if !is_repeated || !pauses.pause_before(deadline).await {
                return Err(failure);
            }
        }
    }

    async fn attempt(&mut self, batch: &[Command]) -> Result<Vec<Outcome>, Failure> {
        let mut session = match self.session.take().filter(Session::is_usable) {
            Some(session) => session,
            None => self.connector.connect().await?,
        };
        let verbs: Vec<&Verb> = batch.iter().map(|command| &command.verb).collect();
        let written = AssertUnwindSafe(write(&mut session, &verbs, &self.known));
        let written = written
            .catch_unwind()
            .await
            .unwrap_or(Err(Failure::Panicked));
        let is_kept = match &written {
            Ok(_) => true,
            Err(failure) if failure.breaks_connection() => false,
            Err(_) => session.leave_transaction().await.is_ok(),
        };
        self.session = is_kept.then_some(session);
        written
    }
}

/// The deadline of the command that has waited longest.
fn deadline(batch: &[Command]) -> Instant {
    let deadlines = batch.iter().map(|command| command.deadline);
    deadlines.min().expect("no batch is empty")
}

/// Takes commands, the oldest first, of which no two change the same job or use the same idempotency
/// key. Those left keep their order.
fn take_batch(waiting: &mut VecDeque<Command>) -> Vec<Command> {
    let mut batch = Vec::with_capacity(waiting.len().min(BATCH));
    let mut left = VecDeque::new();
    let mut jobs = HashSet::new();
    let mut keys = HashSet::new();
    for command in waiting.drain(..) {
        let is_first_of_job = command.verb.job().is_none_or(|job| jobs.insert(job));
        let key = command.verb.key();
        let key = key.map(|(scope, key)| (scope.to_owned(), key.to_owned()));
        let is_first_of_key = key.is_none_or(|key| keys.insert(key));
        if is_first_of_job && is_first_of_key && batch.len() < BATCH {
            batch.push(command);
        } else {
            left.push_back(command);
        }
    }
    *waiting = left;
    batch
}
