//! Checks whether the open files are still those at their paths. Somebody may remove or replace
//! them while the server runs, and whatever is written to a file without a path is lost with the
//! process.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::open::beside;

/// How often the file with the memory that connections share is checked.
const LOOK_AT_SHARED_MEMORY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    id: FileId,
}

impl OpenFile {
    /// Identifies a file that has just been opened by its path.
    fn at(path: PathBuf) -> io::Result<Self> {
        let id = FileId::of(&fs::metadata(&path)?);
        Ok(Self { path, id })
    }

    fn look(&self) -> PathState {
        match fs::metadata(&self.path) {
            Ok(metadata) if FileId::of(&metadata) == self.id => PathState::InPlace {
                bytes: metadata.len(),
            },
            Ok(_) => PathState::Replaced,
            Err(_) => PathState::Removed,
        }
    }
}

enum PathState {
    InPlace { bytes: u64 },
    Replaced,
    Removed,
}

/// Which file is no longer at its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The database has been removed.
    Database,
    /// Another file has replaced the database.
    DatabaseReplaced,
    /// The database is at its path; its log or its shared memory is not.
    Log,
}

/// The files of an open database.
#[derive(Debug)]
pub(super) struct OpenFiles {
    database: OpenFile,
    log: OpenFile,
    shared_memory: OpenFile,
    looked_at_shared_memory: Instant,
}

impl OpenFiles {
    /// Identifies the files of a database that has just been opened and written.
    pub(super) fn of(database: &Path) -> io::Result<Self> {
        Ok(Self {
            database: OpenFile::at(database.to_owned())?,
            log: OpenFile::at(beside(database, "-wal"))?,
            shared_memory: OpenFile::at(beside(database, "-shm"))?,
            looked_at_shared_memory: Instant::now(),
        })
    }

    /// The length of the log, if all files are at their paths.
    pub(super) fn log_bytes(&mut self) -> Result<u64, Missing> {
        match self.database.look() {
            PathState::InPlace { .. } => {}
            PathState::Replaced => return Err(Missing::DatabaseReplaced),
            PathState::Removed => return Err(Missing::Database),
        }
        let PathState::InPlace { bytes } = self.log.look() else {
            return Err(Missing::Log);
        };
        if self.looked_at_shared_memory.elapsed() >= LOOK_AT_SHARED_MEMORY {
            let PathState::InPlace { .. } = self.shared_memory.look() else {
                return Err(Missing::Log);
            };
            self.looked_at_shared_memory = Instant::now();
        }
        Ok(bytes)
    }
}
