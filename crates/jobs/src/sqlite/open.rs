//! Opening a file: locks it, checks that it is ours, and migrates it to the present format.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, TransactionBehavior};

use super::fault::{StartError, sentence};
use super::options::Options;
use super::tables::STATEMENTS;

/// Marks the files that are ours: `FLOW`.
const APPLICATION_ID: i32 = 0x464c_4f57;

/// In their order; a file's `user_version` is the number of migrations it has had. Never edit one
/// that was released: add the next.
const MIGRATIONS: [&str; 7] = [
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
];

/// The writer's and a reader's cache, in KiB. A long queue fills it and a short one does not, so it
/// is what the length of the queue costs in memory; sixteen times as much made nothing faster.
const WRITER_CACHE_KIB: i32 = 1_000;
const READER_CACHE_KIB: i32 = 1_000;

/// How long a file is checked for damage when it is opened. A large one is checked in part.
const LOOK_FOR_DAMAGE: Duration = Duration::from_secs(1);

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another store has it open, in this process or another.
    #[error("another process is using this store; stop it, or choose another file")]
    InUse,
    /// A newer version of the program has written it.
    #[error(
        "a newer version of flowmill has written this store (format {found}; this version knows \
         formats up to {known}); use that version, or choose another file"
    )]
    Newer {
        /// The file's format.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// The file contains something else.
    #[error("this file is not a flowmill store; choose another file")]
    NotAStore,
    /// Its pages are inconsistent.
    #[error(
        "the store is damaged ({0}); restore a copy, or move the file away to start with an empty store"
    )]
    Damaged(String),
    /// It can be read but not written.
    #[error(
        "the store cannot be written: its file belongs to user {owner}, and this process runs as user {user}; \
         change the file's owner or permissions, or choose another file"
    )]
    ReadOnly {
        /// The user who owns the file.
        owner: u32,
        /// The user of this process.
        user: u32,
    },
    /// The directory, the lock beside the file, or a thread is not available.
    #[error("the store cannot be opened: {0}")]
    Io(#[from] io::Error),
    /// SQLite failed; a sentence.
    #[error("the store cannot be opened: {0}")]
    Failed(String),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotAStore,
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            _ => Self::Failed(sentence(&error)),
        }
    }
}

impl From<StartError> for OpenError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Thread(error) => error.into(),
            StartError::Sqlite(error) => error.into(),
        }
    }
}

/// The file's canonical path: a link to it must not lead to another lock and another log.
pub(super) fn locate(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().ok_or(error)?;
            let directory = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            Ok(fs::canonicalize(directory)?.join(name))
        }
        found => found,
    }
}

/// `flowmill.db` → `flowmill.db-wal`.
pub(super) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(suffix);
    name.into()
}

/// Keeps every other store off a file until it is dropped or its process ends. To be dropped after
/// all connections to the file.
#[derive(Debug)]
pub(super) struct Lock {
    /// Lock of the file beside the database, which exists before the database.
    pub(super) beside: File,
    /// Lock of the database itself, since somebody may remove the other file.
    pub(super) database: Option<File>,
}

impl Drop for Lock {
    /// Closing the files would do, if nobody else had them: a process that another thread has just
    /// forked has, until it executes its program.
    fn drop(&mut self) {
        for file in [Some(&self.beside), self.database.as_ref()]
            .into_iter()
            .flatten()
        {
            if let Err(error) = file.unlock() {
                tracing::debug!(%error, "a lock of the store goes only with its file");
            }
        }
    }
}

impl Lock {
    pub(super) fn of(file: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            beside: lock_beside(file)?,
            database: lock_database(file)?,
        })
    }
}

pub(super) fn lock_beside(file: &Path) -> Result<File, OpenError> {
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(beside(file, ".lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// If the file cannot be locked, SQLite will report why, or the lock beside it has to do.
///
/// On Linux this kind of lock and SQLite's do not affect each other. Elsewhere they are of the same
/// kind.
#[cfg(target_os = "linux")]
pub(super) fn lock_database(file: &Path) -> Result<Option<File>, OpenError> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let database = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        // As SQLite makes it.
        .mode(0o644)
        .open(file);
    let Ok(database) = database else {
        return Ok(None);
    };
    match database.try_lock() {
        Ok(()) => Ok(Some(database)),
        Err(TryLockError::WouldBlock) => {
            // To close it would release the locks that SQLite may hold on it in this process.
            std::mem::forget(database);
            Err(OpenError::InUse)
        }
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn lock_database(_: &Path) -> Result<Option<File>, OpenError> {
    Ok(None)
}

/// The writer's connection, to tables in their latest shape.
pub(super) fn connect_writer(file: &Path, options: &Options) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = connect(file, flags, options.busy_timeout)?;
    // SQLite falls back to reading where it may not write.
    if connection.is_readonly(MAIN_DB)? {
        return Err(OpenError::ReadOnly {
            owner: fs::metadata(file)?.uid(),
            user: rustix::process::geteuid().as_raw(),
        });
    }
    if is_empty(&connection)? {
        // Only possible before the first table.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    } else {
        expect_ours(&connection)?;
    }
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenError::Failed(
            "its file system cannot share memory between programs; choose a local disk".to_owned(),
        ));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Off, whatever the build's default: a job is forgotten in one place, which forgets all of it,
    // and to look for its row with each that refers to it would be a tenth of what it takes to
    // store a run.
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    checkpoint_each(&connection, options.checkpoint_bytes)?;
    connection.pragma_update(
        None,
        "journal_size_limit",
        i64::try_from(options.max_log_bytes).unwrap_or(i64::MAX),
    )?;
    if let Some(bytes) = options.max_bytes {
        let page_bytes: u64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = u32::try_from(bytes / page_bytes).unwrap_or(u32::MAX);
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    migrate(&mut connection)?;
    match try_to_write(&connection) {
        // There is a way out of that, and the store has to be open for it.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {}
        tried => tried?,
    }
    Ok(connection)
}

/// Makes SQLite copy the log into the file whenever it has that length.
pub(super) fn checkpoint_each(connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
    let page_bytes: u64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = u32::try_from(bytes / page_bytes).unwrap_or(u32::MAX);
    connection.pragma_update(None, "wal_autocheckpoint", pages.max(1))
}

/// Writes without changing anything.
pub(super) fn try_to_write(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE id_skew SET ms = ms")?
        .execute([])
        .map(drop)
}

/// Fails if a short check of the pages finds damage.
pub(super) fn refuse_damage(connection: &Connection) -> Result<(), OpenError> {
    let interrupt = connection.get_interrupt_handle();
    let (looked, wait) = mpsc::channel::<()>();
    let verdict = thread::scope(|scope| {
        scope.spawn(move || {
            if wait.recv_timeout(LOOK_FOR_DAMAGE) == Err(RecvTimeoutError::Timeout) {
                interrupt.interrupt();
            }
        });
        let verdict =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        drop(looked);
        verdict
    });
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(fault) => Err(OpenError::Damaged(fault.replace('\n', " "))),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Ok(()),
            Some(ErrorCode::DatabaseCorrupt) => Err(OpenError::Damaged(error.to_string())),
            _ => Err(error.into()),
        },
    }
}

pub(super) fn connect_reader(file: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect(file, flags, busy_timeout)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(connection)
}

fn connect(file: &Path, flags: OpenFlags, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Or else SQLite would plan a prepared statement anew for every value bound to it, which takes
    // longer than to run it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// Whether it is empty: new, or left by a process that ended before the first migration.
fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let unmarked = application_id(connection)? == 0 && version(connection)? == 0;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(unmarked && tables == 0)
}

fn expect_ours(connection: &Connection) -> Result<(), OpenError> {
    if application_id(connection)? != APPLICATION_ID {
        return Err(OpenError::NotAStore);
    }
    let (found, known) = (version(connection)?, MIGRATIONS.len());
    match u32::try_from(known) {
        Ok(known) if found > known => Err(OpenError::Newer { found, known }),
        _ => Ok(()),
    }
}

fn application_id(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0))
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Each migration happens as a whole, with its number.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    for (version_after, script) in (1u32..).zip(MIGRATIONS) {
        if version(connection)? >= version_after {
            continue;
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version_after)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite::StatementStatus;

    use super::{Lock, OpenError, connect_writer, locate};
    use crate::sqlite::Options;

    #[test]
    fn a_prepared_statement_is_not_planned_anew_for_each_value() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("flowmill.db");
        let connection = connect_writer(&file, &Options::default()).unwrap();
        let mut statement = connection
            .prepare("SELECT max(id) FROM events WHERE job = ?1")
            .unwrap();
        for job in 0..9 {
            assert!(statement.exists([job]).unwrap());
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }

    #[test]
    fn a_file_that_is_not_there_yet_has_its_path_already() {
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        let name = "no-such-file.db";
        assert_eq!(locate(Path::new(name)).unwrap(), here.join(name));
        assert_eq!(
            locate(&here.join("src/..").join(name)).unwrap(),
            here.join(name)
        );
        assert!(locate(Path::new("no/such/directory/file.db")).is_err());
        assert!(locate(Path::new("..")).is_ok());
    }

    #[test]
    fn a_dropped_lock_is_gone_although_a_forked_process_still_has_its_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("jobs.db");
        std::fs::File::create(&file).expect("a file");
        let lock = Lock::of(&file).expect("nobody has it");
        assert!(matches!(Lock::of(&file), Err(OpenError::InUse)));
        let database = lock.database.as_ref().expect("there is a file");
        let inherited = [lock.beside.try_clone(), database.try_clone()];
        drop(lock);
        Lock::of(&file).expect("nobody has it any more");
        drop(inherited);
    }
}
