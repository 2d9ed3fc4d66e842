//! The one thread that writes. It takes every command that waits, up to [`BATCH`], and commits them
//! together: one `fsync` for all. Each is answered after the commit.
//!
//! Should anything fail, the batch is rolled back and each of its commands is tried again in a
//! transaction of its own; so a command that cannot succeed spoils none of the others, and those that
//! can do not pay for a savepoint each. A command may therefore run twice and must be repeatable; its
//! first run leaves no trace.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::fault::{Failure, unavailable};
use super::tables::{Tables, place};
use crate::store::{Counts, Error};

/// Commands committed together at most.
const BATCH: usize = 256;

/// Commands that wait at most; beyond it callers wait for a place.
const QUEUE: usize = 1024;

/// How long the log's readers are waited for when it has grown too long. Our own take milliseconds.
const WAIT_FOR_READERS: Duration = Duration::from_millis(100);

/// What the writer has done since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// Changes asked for, granted or refused by the job's state.
    pub commands: u64,
    /// Commits they took.
    pub transactions: u64,
}

#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once it is to end.
    commands: Option<mpsc::Sender<Box<dyn Command>>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

/// What readers may know of the writer.
#[derive(Debug, Default)]
struct Shared {
    /// As of the last commit.
    state: Mutex<State>,
    id_skew_ms: AtomicU64,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    counts: Counts,
    activity: Activity,
    /// A transaction could not be committed since [`Writer::take_failing`].
    failing: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds the state")
    }
}

/// Where the log is, and how long it may become.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) path: PathBuf,
    pub(super) max_bytes: u64,
    /// How long locks of other programs are waited for.
    pub(super) busy_timeout: Duration,
}

impl Writer {
    /// Starts on a connection whose tables are in place.
    pub(super) fn start(connection: Connection, log: Log) -> Result<Self, StartError> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                counts: count(&connection)?,
                ..State::default()
            }),
            id_skew_ms: AtomicU64::new(connection.query_row(
                "SELECT ms FROM id_skew",
                [],
                |row| row.get(0),
            )?),
        });
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writing = Writing {
            connection,
            shared: shared.clone(),
            truncate_log_at: log.max_bytes,
            log,
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
        let (reply, answer) = oneshot::channel();
        let verb = Verb {
            run,
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
        answer.await.map_err(|_| stopped())?
    }

    pub(super) fn counts(&self) -> Counts {
        self.shared.state().counts
    }

    pub(super) fn activity(&self) -> Activity {
        self.shared.state().activity
    }

    /// Whether a transaction could not be committed since this was called last. A later one that was
    /// may have found a free place or changed nothing, so it proves nothing.
    pub(super) fn take_failing(&self) -> bool {
        std::mem::take(&mut self.shared.state().failing)
    }

    pub(super) fn id_skew_ms(&self) -> u64 {
        self.shared.id_skew_ms.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    /// Commits what waits.
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed, and its callers were told.
            let _ = thread.join();
        }
    }
}

/// Why a thread of the store could not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Thread(#[from] std::io::Error),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

fn count(connection: &Connection) -> rusqlite::Result<Counts> {
    let mut counts = Counts::default();
    let mut statement = connection.prepare(
        "SELECT status, count(*) FROM jobs WHERE status BETWEEN 0 AND 5 GROUP BY status",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        *place(&mut counts, row.get(0)?) += row.get::<_, usize>(1)?;
    }
    Ok(counts)
}

/// A verb on its way through the writer.
trait Command: Send {
    /// Fails only where SQLite does; a refusal is a result.
    fn run(&mut self, tables: &mut Tables<'_>) -> rusqlite::Result<()>;

    /// Hands out what the last run found, or that it could not be committed.
    fn answer(self: Box<Self>, committed: Result<(), Error>);
}

struct Verb<T, F> {
    run: F,
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

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        let answer = match (committed, self.result) {
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => unreachable!("what is committed was run"),
            (Err(error), _) => Err(error),
        };
        // Whoever asked may have gone; it happened all the same.
        let _ = self.reply.send(answer);
    }
}

/// The thread's own.
struct Writing {
    connection: Connection,
    shared: Arc<Shared>,
    log: Log,
    truncate_log_at: u64,
}

/// Why a transaction was not committed.
enum Uncommitted {
    /// It could not even begin: another program has locked the file.
    NotBegun(rusqlite::Error),
    RolledBack(rusqlite::Error),
}

impl Writing {
    fn run(mut self, mut commands: mpsc::Receiver<Box<dyn Command>>) {
        let mut batch = Vec::with_capacity(BATCH);
        while commands.blocking_recv_many(&mut batch, BATCH) > 0 {
            match self.commit(&mut batch) {
                Err(Uncommitted::RolledBack(_)) if batch.len() > 1 => {
                    for mut command in batch.drain(..) {
                        let committed = self.commit(std::slice::from_mut(&mut command));
                        self.answer([command], committed);
                    }
                }
                committed => self.answer(batch.drain(..), committed),
            }
            self.bound_log();
        }
    }

    fn commit(&mut self, commands: &mut [Box<dyn Command>]) -> Result<(), Uncommitted> {
        let mut state = *self.shared.state();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Uncommitted::NotBegun)?;
        let mut tables = Tables {
            connection: &transaction,
            counts: state.counts,
            new_jobs: HashMap::new(),
            id_skew_ms: &self.shared.id_skew_ms,
        };
        for command in &mut *commands {
            command.run(&mut tables).map_err(Uncommitted::RolledBack)?;
        }
        tables.count_new_jobs().map_err(Uncommitted::RolledBack)?;
        state.counts = tables.counts;
        transaction.commit().map_err(Uncommitted::RolledBack)?;
        state.activity.commands += commands.len() as u64;
        state.activity.transactions += 1;
        *self.shared.state() = state;
        Ok(())
    }

    fn answer(
        &self,
        commands: impl IntoIterator<Item = Box<dyn Command>>,
        committed: Result<(), Uncommitted>,
    ) {
        if committed.is_err() {
            self.shared.state().failing = true;
        }
        let committed = committed.map_err(|why| match why {
            Uncommitted::NotBegun(error) | Uncommitted::RolledBack(error) => unavailable(&error),
        });
        for command in commands {
            command.answer(committed.clone());
        }
    }

    /// SQLite copies the log into the file as it goes and then begins the log anew; but while there is
    /// always somebody reading it, that moment never comes. So when the log has grown too long, readers
    /// are waited for.
    fn bound_log(&mut self) {
        let bytes = fs::metadata(&self.log.path).map_or(0, |log| log.len());
        if bytes < self.truncate_log_at {
            return;
        }
        let is_anew = self.begin_log_anew();
        // A reader that stays, such as a backup by another program, is not waited for at every commit.
        self.truncate_log_at = match is_anew {
            Ok(true) => self.log.max_bytes,
            Ok(false) | Err(_) => bytes.saturating_mul(2),
        };
    }

    fn begin_log_anew(&self) -> rusqlite::Result<bool> {
        self.connection.busy_timeout(WAIT_FOR_READERS)?;
        let is_busy: rusqlite::Result<bool> =
            self.connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        self.connection.busy_timeout(self.log.busy_timeout)?;
        Ok(!is_busy?)
    }
}
