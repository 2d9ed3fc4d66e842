//! Connections, and verbs that run on one of them.
//!
//! Statements have no name, so that they work through a pooler that gives each transaction another
//! server process; and nothing is set but within a transaction, for the same reason. A verb runs on a
//! task of its own: a caller that leaves does not leave a transaction open. When the connection fails,
//! the verb is repeated on another one, since every verb can be.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::connect::{ConnectError, Target};
use super::fault::{Failure, Remedy, panicked};
use super::options::{Clock, Options};
use crate::store::Error;

/// Most connections for verbs that do not go through the writer.
const CONNECTIONS: usize = 4;

/// How long a connection may take to be made: several hosts may have to be tried.
const CONNECT_WITHIN: Duration = Duration::from_secs(8);

/// Of the pauses before a verb is repeated.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A transaction whose process was cut off must not hold its locks until the system finds out.
const BEGIN: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 10000";

/// A value and the type it is sent as.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// What a statement is called with.
pub(super) type Params<'a> = &'a [Param<'a>];

/// What a store has asked of its server since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// Statements, without those that begin and end transactions.
    pub statements: u64,
    /// Transactions of several statements.
    pub transactions: u64,
    /// Connections made.
    pub connections: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    statements: AtomicU64,
    transactions: AtomicU64,
    connections: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Activity {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Activity {
            statements: read(&self.statements),
            transactions: read(&self.transactions),
            connections: read(&self.connections),
        }
    }
}

/// What connections are made with.
#[derive(Clone)]
pub(super) struct Connector {
    target: Target,
    clock: Clock,
    counters: Arc<Counters>,
}

impl Connector {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            target: Target::new(&options.url, &options.tls),
            clock: options.clock,
            counters: Arc::default(),
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) async fn connect(&self) -> Result<Session, ConnectError> {
        let (client, wire) = self.target.connect(CONNECT_WITHIN).await?;
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        let driver = tokio::spawn(async move {
            if let Err(error) = wire.await {
                tracing::debug!(%error, "a connection to the database has ended");
            }
        });
        Ok(Session {
            client,
            driver,
            in_transaction: false,
            clock: self.clock,
            counters: self.counters.clone(),
        })
    }
}

/// One connection. Dropped, it is closed at once, and the server undoes what was not committed.
pub(super) struct Session {
    client: Client,
    driver: JoinHandle<()>,
    /// A transaction was begun and has not been ended.
    in_transaction: bool,
    clock: Clock,
    counters: Arc<Counters>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Session {
    /// One trip. Several that are polled together are sent together, in the order of their first poll.
    pub(super) async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        self.counters.statements.fetch_add(1, Ordering::Relaxed);
        Ok(self.client.query_typed(sql, params).await?)
    }

    /// As [`query`](Self::query), for the number of rows that were changed.
    pub(super) async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, Failure> {
        self.counters.statements.fetch_add(1, Ordering::Relaxed);
        let params = params.iter().map(|(value, of)| (*value, of.clone()));
        Ok(self
            .client
            .execute_typed(sql, &params.collect::<Vec<_>>())
            .await?)
    }

    /// A text of statements without parameters.
    pub(super) async fn script(&self, sql: &str) -> Result<(), Failure> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// Begins a transaction at `READ COMMITTED`: each statement sees what was committed before it.
    pub(super) async fn transaction(&mut self) -> Result<Transaction<'_>, Failure> {
        let transaction = self.begin();
        transaction.begun().await?;
        Ok(transaction)
    }

    /// As [`transaction`](Self::transaction), without waiting: [`Transaction::begun`] has to be polled
    /// before the first statement.
    pub(super) fn begin(&mut self) -> Transaction<'_> {
        self.counters.transactions.fetch_add(1, Ordering::Relaxed);
        self.in_transaction = true;
        Transaction { session: self }
    }

    /// Undoes a transaction that its verb has left.
    pub(super) async fn leave_transaction(&mut self) -> Result<(), Failure> {
        if self.in_transaction {
            self.script("ROLLBACK").await?;
            self.in_transaction = false;
        }
        Ok(())
    }

    /// What statements take as `coalesce($n::timestamptz, now())`.
    pub(super) fn now(&self, caller: Timestamp) -> Option<Timestamp> {
        self.clock.now(caller)
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.in_transaction && !self.client.is_closed()
    }
}

/// A transaction. Dropped, it is rolled back before the session is used again.
pub(super) struct Transaction<'a> {
    session: &'a mut Session,
}

impl Transaction<'_> {
    pub(super) async fn begun(&self) -> Result<(), Failure> {
        self.session.script(BEGIN).await
    }

    pub(super) async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        self.session.query(sql, params).await
    }

    pub(super) async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, Failure> {
        self.session.execute(sql, params).await
    }

    pub(super) async fn script(&self, sql: &str) -> Result<(), Failure> {
        self.session.script(sql).await
    }

    /// For what runs both within a transaction and alone.
    pub(super) fn session(&self) -> &Session {
        self.session
    }

    pub(super) async fn commit(self) -> Result<(), Failure> {
        self.committed().await?;
        self.ended();
        Ok(())
    }

    /// As [`commit`](Self::commit), to be sent with the statements before it. It commits nothing if one
    /// of them failed, and does not say so. Then comes [`ended`](Self::ended).
    pub(super) async fn committed(&self) -> Result<(), Failure> {
        self.session.script("COMMIT").await
    }

    /// All of it was committed.
    pub(super) fn ended(self) {
        self.session.in_transaction = false;
    }

    pub(super) fn now(&self, caller: Timestamp) -> Option<Timestamp> {
        self.session.now(caller)
    }
}

/// The connections for verbs that run alone.
#[derive(Clone)]
pub(super) struct Sessions {
    shared: Arc<Shared>,
}

struct Shared {
    connector: Connector,
    verb_timeout: Duration,
    free: Semaphore,
    idle: Mutex<Vec<Session>>,
}

impl Sessions {
    pub(super) fn new(connector: Connector, options: &Options) -> Self {
        let shared = Shared {
            connector,
            verb_timeout: options.verb_timeout,
            free: Semaphore::new(CONNECTIONS),
            idle: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Runs a verb, and repeats it when the connection fails or other transactions are in the way,
    /// until its time is over: then [`Error::Unavailable`].
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'s> Fn(&'s mut Session) -> BoxFuture<'s, Result<T, Failure>> + Send + Sync + 'static,
    {
        let shared = self.shared.clone();
        let verb =
            tokio::spawn(
                async move { repeat(shared.verb_timeout, || shared.attempt(&work)).await },
            );
        match verb.await {
            Ok(done) => Ok(done?),
            Err(_) => Err(panicked()),
        }
    }
}

/// Repeats something until it succeeds, cannot be helped, or its time is over.
async fn repeat<T, A: Future<Output = Result<T, Failure>>>(
    within: Duration,
    attempt: impl Fn() -> A,
) -> Result<T, Failure> {
    let deadline = Instant::now() + within;
    let mut pauses = Pauses::default();
    loop {
        let failure = match tokio::time::timeout_at(deadline, attempt()).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(failure)) => failure,
            Err(_) => return Err(Failure::Silent),
        };
        tracing::debug!(?failure, "a verb of the job store has failed");
        if failure.remedy() == Remedy::GiveUp || !pauses.pause_before(deadline).await {
            return Err(failure);
        }
    }
}

/// The pauses between the tries of a verb: none at first, then longer ones.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    next: Duration,
}

impl Pauses {
    /// Pauses; false, at once, if the deadline comes before the end of the pause.
    pub(super) async fn pause_before(&mut self, deadline: Instant) -> bool {
        let pause = self.next;
        if Instant::now() + pause >= deadline {
            return false;
        }
        self.next = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
        true
    }
}

impl Shared {
    async fn attempt<T, F>(&self, work: &F) -> Result<T, Failure>
    where
        F: for<'s> Fn(&'s mut Session) -> BoxFuture<'s, Result<T, Failure>>,
    {
        let _permit = self.free.acquire().await.expect("it is never closed");
        let idle = self.take_idle();
        let mut session = match idle {
            Some(session) => session,
            None => self.connector.connect().await?,
        };
        let done = work(&mut session).await;
        if done.as_ref().is_err_and(Failure::breaks_connection) {
            // The others have most likely failed as well.
            self.idle().clear();
        } else if session.leave_transaction().await.is_ok() {
            self.idle().push(session);
        }
        done
    }

    fn take_idle(&self) -> Option<Session> {
        let mut idle = self.idle();
        while let Some(session) = idle.pop() {
            if session.is_usable() {
                return Some(session);
            }
        }
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle
            .lock()
            .expect("nothing panics while it holds the list")
    }
}
