//! The one thread that writes. It takes all queued commands, up to [`BATCH`], and commits them
//! together: one `fsync` for all. Each is answered after the commit.
//!
//! If anything fails, the batch is rolled back and each of its commands is tried again in a
//! transaction of its own. So a command that cannot succeed does not affect the others, and
//! commands that can need no savepoint each. A command may therefore run twice and must be
//! repeatable; its first run leaves no trace. A command that panics is answered like one that
//! fails, and the thread goes on.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::database::Database;
use super::fault::{Failure, StartError, panicked, unavailable};
use super::holders::Holders;
use super::tables::{Tables, place};
use crate::store::{Counts, Error};

/// Most commands in one commit.
const BATCH: usize = 256;

/// Most commands in the queue; further callers wait until there is space in it.
const QUEUE: usize = 1024;

/// What the writer has done since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// Commands, including those that the job's state refused.
    pub commands: u64,
    /// Commits of those commands.
    pub transactions: u64,
}

#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once the thread has been told to end.
    commands: Option<mpsc::Sender<Box<dyn Command>>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

/// What the writer shares with its callers.
#[derive(Debug, Default)]
struct Shared {
    /// As of the last commit.
    state: Mutex<State>,
    id_skew_ms: AtomicU64,
    holders: Holders,
    /// The log is to be restarted before the next commit.
    shorten_log: AtomicBool,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    counts: Counts,
    activity: Activity,
    /// Transactions that could not be committed, and how many of those happened before the last
    /// test that found space.
    failures: u64,
    overcome: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds the state")
    }
}

impl Writer {
    /// Starts the thread on a database whose tables are up to date.
    pub(super) fn start(mut database: Database) -> Result<Self, StartError> {
        let connection = database.connection();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                counts: count(connection)?,
                ..State::default()
            }),
            id_skew_ms: AtomicU64::new(connection.query_row(
                "SELECT ms FROM id_skew",
                [],
                |row| row.get(0),
            )?),
            holders: Holders::default(),
            shorten_log: AtomicBool::new(false),
        });
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writing = WriterThread {
            database,
            shared: shared.clone(),
        };
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writing.run(receiver))?;
        Ok(Self {
            commands: Some(sender),
            thread: Some(thread),
            shared,
        })
    }

    /// Runs a verb in a transaction, and returns once that is committed.
    pub(super) async fn write<T, F>(&self, run: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(&mut Tables<'_>) -> Result<T, Failure> + Send + 'static,
    {
        self.run(run, false).await
    }

    /// As [`write`](Self::write), for a verb that frees space: on a full disk it may use the
    /// reserve.
    pub(super) async fn make_space<T, F>(&self, run: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(&mut Tables<'_>) -> Result<T, Failure> + Send + 'static,
    {
        self.run(run, true).await
    }

    async fn run<T, F>(&self, run: F, makes_space: bool) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(&mut Tables<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let verb = Verb {
            run,
            makes_space,
            result: None,
            reply,
        };
        let stopped = || Error::Unavailable("it has been closed".to_owned());
        self.commands
            .as_ref()
            .ok_or_else(stopped)?
            .send(Box::new(verb))
            .await
            .map_err(|_| stopped())?;
        answer.await.map_err(|_| panicked())?
    }

    pub(super) fn counts(&self) -> Counts {
        self.shared.state().counts
    }

    pub(super) fn activity(&self) -> Activity {
        self.shared.state().activity
    }

    /// The number of transactions that could not be committed, if any has failed since the last
    /// [`overcome`](Self::overcome). A later commit that succeeded proves nothing: it may have
    /// found a free page or changed nothing.
    pub(super) fn failures(&self) -> Option<u64> {
        let State {
            failures, overcome, ..
        } = *self.shared.state();
        (failures > overcome).then_some(failures)
    }

    /// Notes that there is space again for what failed before.
    pub(super) fn overcome(&self, failures: u64) {
        let mut state = self.shared.state();
        state.overcome = state.overcome.max(failures);
    }

    /// Restarts the log before the next commit.
    pub(super) fn shorten_log(&self) {
        self.shared.shorten_log.store(true, Ordering::Relaxed);
    }

    pub(super) fn holders(&self) -> &Holders {
        &self.shared.holders
    }

    pub(super) fn id_skew_ms(&self) -> u64 {
        self.shared.id_skew_ms.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    /// Commits what is queued.
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed, and its callers were told.
            let _ = thread.join();
        }
    }
}

fn count(connection: &Connection) -> rusqlite::Result<Counts> {
    let mut counts = Counts::default();
    let mut statement = connection.prepare(
        "SELECT status, count(*) FROM jobs WHERE status BETWEEN 0 AND 6 GROUP BY status",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        *place(&mut counts, row.get(0)?) += row.get::<_, usize>(1)?;
    }
    Ok(counts)
}

/// A verb in the writer's queue.
trait Command: Send {
    /// Fails only if SQLite does; a refusal is a result.
    fn run(&mut self, tables: &mut Tables<'_>) -> rusqlite::Result<()>;

    /// Whether it frees space.
    fn makes_space(&self) -> bool;

    /// Sends the result of the last run to the caller, or that it could not be committed.
    fn answer(self: Box<Self>, committed: Result<(), Error>);
}

struct Verb<T, F> {
    run: F,
    makes_space: bool,
    result: Option<Result<T, Error>>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Command for Verb<T, F>
where
    T: Send,
    F: Fn(&mut Tables<'_>) -> Result<T, Failure> + Send,
{
    fn run(&mut self, tables: &mut Tables<'_>) -> rusqlite::Result<()> {
        self.result = Some(match (self.run)(tables) {
            Ok(value) => Ok(value),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Sqlite(error)) => return Err(error),
        });
        Ok(())
    }

    fn makes_space(&self) -> bool {
        self.makes_space
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        let answer = match (committed, self.result) {
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => unreachable!("what is committed was run"),
            (Err(error), _) => Err(error),
        };
        // The caller may have gone; the change was made all the same.
        let _ = self.reply.send(answer);
    }
}

/// What only the thread uses.
struct WriterThread {
    database: Database,
    shared: Arc<Shared>,
}

/// Why a transaction was not committed.
enum Uncommitted {
    /// It could not begin: another program has locked the file, or the file is not at its path.
    NotBegun(Error),
    RolledBack(rusqlite::Error),
    Panicked,
}

impl Uncommitted {
    fn is_for_want_of_space(&self) -> bool {
        matches!(self, Self::RolledBack(error)
            if matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure)))
    }
}

impl WriterThread {
    fn run(mut self, mut commands: mpsc::Receiver<Box<dyn Command>>) {
        let mut batch = Vec::with_capacity(BATCH);
        while commands.blocking_recv_many(&mut batch, BATCH) > 0 {
            let committed = self.commit(&mut batch);
            match (committed, batch.len()) {
                (committed, 1) => self.settle(&mut batch, committed),
                (Err(Uncommitted::RolledBack(_) | Uncommitted::Panicked), _) => {
                    self.shared.holders.some_may_have_lapsed();
                    let mut alone = Vec::with_capacity(1);
                    for command in batch.drain(..) {
                        alone.push(command);
                        let committed = self.commit(&mut alone);
                        self.settle(&mut alone, committed);
                    }
                }
                (committed, _) => self.answer(&mut batch, committed),
            }
            self.database.take_reserve_again();
        }
    }

    /// Answers a command that ran alone. One that frees space gets another try with the reserve.
    fn settle(
        &mut self,
        alone: &mut Vec<Box<dyn Command>>,
        mut committed: Result<(), Uncommitted>,
    ) {
        let is_for_want_of_space = committed
            .as_ref()
            .is_err_and(Uncommitted::is_for_want_of_space);
        if is_for_want_of_space && alone.iter().all(|command| command.makes_space()) {
            self.database.give_up_reserve();
            committed = self.commit(alone);
            self.database.take_reserve();
        }
        self.answer(alone, committed);
    }

    fn commit(&mut self, commands: &mut [Box<dyn Command>]) -> Result<(), Uncommitted> {
        let mut log_bytes = self.database.in_place().map_err(Uncommitted::NotBegun)?;
        if self.shared.shorten_log.swap(false, Ordering::Relaxed) && self.database.begin_log_anew()
        {
            log_bytes = 0;
        }
        self.database.bound_log(log_bytes);
        let connection = self.database.connection();
        let committed = AssertUnwindSafe(|| commit(connection, &self.shared, log_bytes, commands));
        catch_unwind(committed).unwrap_or(Err(Uncommitted::Panicked))
    }

    fn answer(&self, commands: &mut Vec<Box<dyn Command>>, committed: Result<(), Uncommitted>) {
        if committed.is_err() {
            // What the undone commands had found must be found again.
            self.shared.holders.some_may_have_lapsed();
            self.shared.state().failures += 1;
        }
        let committed = committed.map_err(|why| match why {
            Uncommitted::NotBegun(error) => error,
            Uncommitted::RolledBack(error) => unavailable(&error),
            Uncommitted::Panicked => panicked(),
        });
        for command in commands.drain(..) {
            command.answer(committed.clone());
        }
    }
}

fn commit(
    connection: &mut Connection,
    shared: &Shared,
    log_bytes: u64,
    commands: &mut [Box<dyn Command>],
) -> Result<(), Uncommitted> {
    let counts = shared.state().counts;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| Uncommitted::NotBegun(unavailable(&error)))?;
    let mut tables = Tables {
        connection: &transaction,
        counts,
        new_jobs: HashMap::new(),
        id_skew_ms: &shared.id_skew_ms,
        holders: &shared.holders,
        log_bytes,
    };
    for command in &mut *commands {
        command.run(&mut tables).map_err(Uncommitted::RolledBack)?;
    }
    tables.count_new_jobs().map_err(Uncommitted::RolledBack)?;
    let counts = tables.counts;
    transaction.commit().map_err(Uncommitted::RolledBack)?;
    let mut state = shared.state();
    state.counts = counts;
    state.activity.commands += commands.len() as u64;
    state.activity.transactions += 1;
    Ok(())
}
