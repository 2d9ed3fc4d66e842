//! The writer's database: its connection, and what happens when its files are no longer at their
//! paths, when the log has grown too long, or when the disk is full.
//!
//! Whatever is written to a file that somebody has removed is lost when the file is closed. So the
//! files are checked before every commit. If only the log was removed, it is copied into the
//! database and everything is opened again. If the database was removed, it is written again from
//! what is still open. If another file has replaced it, nothing more is written: only a person
//! knows which of the two counts.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::fault::{sentence, unavailable};
use super::files::{Missing, OpenFiles};
use super::open::{self, Lock, OpenError, beside};
use super::options::Options;
use super::readers::Connections;
use super::reserve::Reserve;
use super::space;
use crate::store::Error;

/// How long to wait for readers of the log when it has grown too long. Our own take milliseconds.
const WAIT_FOR_READERS: Duration = Duration::from_millis(100);

/// Time between two attempts to restore a database that is not at its path.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// So many logs of the length at which they are copied into the file fit into the reserve: one
/// transaction may make a log several times as long.
const LOGS_IN_RESERVE: u64 = 4;

/// Free pages given back to a full disk, or fewer if there is no space to do that.
const CUT_OFF_PAGES: [u64; 3] = [2048, 256, 32];

#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    options: Options,
    readers: Arc<Connections>,
    /// `None` if it could not be opened again.
    open: Option<Open>,
    truncate_log_at: u64,
    reserve: Reserve,
    /// Why it is not at its path, and when the next attempt to restore it is due.
    out_of_place: Option<(Error, Instant)>,
    /// Held until the database is closed.
    lock: Lock,
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    files: OpenFiles,
}

impl Open {
    fn new(path: &Path, options: &Options) -> Result<Self, OpenError> {
        let connection = open::connect_writer(path, options)?;
        let files = OpenFiles::of(path)?;
        Ok(Self { connection, files })
    }
}

impl Database {
    /// Opens it for the first time, unless it is damaged.
    pub(super) fn open(
        path: PathBuf,
        lock: Lock,
        options: Options,
        readers: Arc<Connections>,
    ) -> Result<Self, OpenError> {
        let mut reserve = Reserve::new(&path, options.reserve_bytes);
        let open = match Open::new(&path, &options) {
            // It may be for want of space, and to make some it has to be open.
            Err(OpenError::Failed(_)) if reserve.give_up() => Open::new(&path, &options),
            opened => opened,
        }?;
        open::refuse_damage(&open.connection)?;
        reserve.take();
        let mut options = options;
        if reserve.bytes() > 0 {
            options.checkpoint_bytes = options
                .checkpoint_bytes
                .min(reserve.bytes() / LOGS_IN_RESERVE);
            open::checkpoint_each(&open.connection, options.checkpoint_bytes)?;
        }
        Ok(Self {
            truncate_log_at: options.max_log_bytes,
            path,
            options,
            readers,
            open: Some(open),
            reserve,
            out_of_place: None,
            lock,
        })
    }

    /// Checks that the files are at their paths, and returns the length of the log.
    pub(super) fn in_place(&mut self) -> Result<u64, Error> {
        let missing = match &mut self.open {
            Some(open) => match open.files.log_bytes() {
                Ok(bytes) => return Ok(bytes),
                Err(missing) => Some(missing),
            },
            None => None,
        };
        let now = Instant::now();
        if let Some((reason, until)) = &self.out_of_place
            && now < *until
        {
            return Err(reason.clone());
        }
        match self.put_in_place(missing) {
            Ok(()) => {
                self.out_of_place = None;
                tracing::warn!(
                    ?missing,
                    "a file of the job store had been removed; it has been written again, nothing is lost"
                );
                Ok(0)
            }
            Err(reason) => {
                self.out_of_place = Some((reason.clone(), now + TRY_AGAIN));
                Err(reason)
            }
        }
    }

    /// # Panics
    /// Where it is not in its place.
    pub(super) fn connection(&mut self) -> &mut Connection {
        let open = self.open.as_mut().expect("it is in its place");
        &mut open.connection
    }

    /// Opens everything again with all its content; `None` if it is not even open.
    fn put_in_place(&mut self, missing: Option<Missing>) -> Result<(), Error> {
        if missing == Some(Missing::DatabaseReplaced) {
            return Err(Error::Unavailable(
                "another file has replaced its own; stop the server before you replace files"
                    .to_owned(),
            ));
        }
        let mut copy = None;
        match (missing, &self.open) {
            (Some(Missing::Database), Some(open)) => {
                copy = Some(copy_beside(&open.connection, &self.path)?);
                self.hold_lock()?;
            }
            (_, Some(open)) => {
                let is_whole = begin_log_anew(&open.connection, self.options.busy_timeout);
                if !is_whole.map_err(|error| unavailable(&error))? {
                    return Err(Error::Unavailable(
                        "another program is reading it; stop that program".to_owned(),
                    ));
                }
            }
            (_, None) => {}
        }
        // They read nothing meanwhile, and open theirs anew afterwards.
        let readers = Arc::clone(&self.readers);
        let closed_readers = readers.close();
        // Closing the last connection removes what there is of its log.
        self.open = None;
        if let Some(copy) = copy {
            move_into_place(&copy, &self.path).map_err(|error| removed(&error.to_string()))?;
            let lock = open::lock_database(&self.path);
            self.lock.database = lock.map_err(|error| removed(&error.to_string()))?;
        }
        self.open = Some(
            Open::new(&self.path, &self.options).map_err(|error| removed(&error.to_string()))?,
        );
        self.truncate_log_at = self.options.max_log_bytes;
        drop(closed_readers);
        Ok(())
    }

    /// The lock may have been removed with the database.
    fn hold_lock(&mut self) -> Result<(), Error> {
        let is_ours = || {
            let (held, named) = (
                self.lock.beside.metadata().ok()?,
                fs::metadata(beside(&self.path, ".lock")).ok()?,
            );
            Some((held.dev(), held.ino()) == (named.dev(), named.ino()))
        };
        if is_ours() != Some(true) {
            let lock = open::lock_beside(&self.path);
            self.lock.beside = lock.map_err(|error| removed(&error.to_string()))?;
        }
        Ok(())
    }

    /// SQLite copies the log into the file from time to time and then restarts the log, but only
    /// when nobody is reading it. Under constant reading that moment never comes. So when the log
    /// has grown too long, the writer waits for the readers.
    pub(super) fn bound_log(&mut self, bytes: u64) {
        if bytes < self.truncate_log_at {
            return;
        }
        // A reader that stays, such as a backup by another program, is not waited for at every
        // commit.
        self.truncate_log_at = if self.begin_log_anew() {
            self.options.max_log_bytes
        } else {
            bytes.saturating_mul(2)
        };
    }

    /// Copies the log into the file and gives its space back; returns whether that was possible.
    pub(super) fn begin_log_anew(&mut self) -> bool {
        let busy_timeout = self.options.busy_timeout;
        begin_log_anew(self.connection(), busy_timeout).unwrap_or(false)
    }

    /// Releases the reserve for a verb that frees space.
    pub(super) fn give_up_reserve(&mut self) {
        if self.reserve.give_up() {
            tracing::warn!(
                "there is no space left for the job store; deleting old jobs with the space reserved for that"
            );
        }
        self.shorten_log();
    }

    /// Gives back the space of the log, if there is enough space for all that it adds to the file:
    /// copying half of it would only use up the rest.
    fn shorten_log(&mut self) {
        let bytes = space::file_bytes(self.connection()).unwrap_or(u64::MAX);
        let growth =
            fs::metadata(&self.path).map_or(u64::MAX, |file| bytes.saturating_sub(file.len()));
        if self.reserve.is_free(growth) {
            self.begin_log_anew();
        }
    }

    /// Takes the reserve again after such a verb: gives free pages of the file and the log back to
    /// the disk first. The log may only fit into the file once that has become shorter.
    pub(super) fn take_reserve(&mut self) {
        for pages in CUT_OFF_PAGES {
            if space::cut_off(self.connection(), pages).is_ok() {
                break;
            }
        }
        self.shorten_log();
        self.reserve.take();
    }

    /// Takes the reserve again if it was released: there may be space on the disk by now.
    pub(super) fn take_reserve_again(&mut self) {
        if self.reserve.is_due() {
            self.reserve.take();
        }
    }
}

fn begin_log_anew(connection: &Connection, busy_timeout: Duration) -> rusqlite::Result<bool> {
    connection.busy_timeout(WAIT_FOR_READERS)?;
    let is_busy: rusqlite::Result<bool> =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    connection.busy_timeout(busy_timeout)?;
    Ok(!is_busy?)
}

/// Copies a database to another file, even if it no longer has a path.
fn copy_beside(connection: &Connection, path: &Path) -> Result<PathBuf, Error> {
    let copy = beside(path, ".restored");
    let _ = fs::remove_file(&copy);
    let name = copy
        .to_str()
        .ok_or_else(|| removed("its path is not UTF-8"))?;
    connection
        .execute("VACUUM INTO ?1", [name])
        .map_err(|error| removed(&sentence(&error)))?;
    let written = File::open(&copy).and_then(|file| file.sync_all());
    written.map_err(|error| removed(&error.to_string()))?;
    Ok(copy)
}

/// Moves a copy to its path, unless there is a file by now.
fn move_into_place(copy: &Path, path: &Path) -> io::Result<()> {
    for suffix in ["-wal", "-shm"] {
        // It belongs to the database that was removed.
        let _ = fs::remove_file(beside(path, suffix));
    }
    fs::hard_link(copy, path)?;
    fs::remove_file(copy)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn removed(why: &str) -> Error {
    Error::Unavailable(format!(
        "its file was removed and cannot be written again ({why}); restore its directory, or restart the server"
    ))
}
