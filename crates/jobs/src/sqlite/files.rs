//! Whether the files that are open are still those at their paths. Somebody may remove or replace
//! them while the server runs: whatever is written into a file without a path is gone with the
//! process.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::open::beside;

/// How often the file is looked at that is only memory shared between connections.
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
    /// Of a file that was opened a moment ago by its path.
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

/// What is not where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The database has no path any more.
    Database,
    /// Another file has the database's path.
    DatabaseReplaced,
    /// The database is in place; its log or its shared memory is not.
    Log,
}

/// The files of a database that is open.
#[derive(Debug)]
pub(super) struct OpenFiles {
    database: OpenFile,
    log: OpenFile,
    shared_memory: OpenFile,
    looked_at_shared_memory: Instant,
}

impl OpenFiles {
    /// Of a database that was opened a moment ago and has been written.
    pub(super) fn of(database: &Path) -> io::Result<Self> {
        Ok(Self {
            database: OpenFile::at(database.to_owned())?,
            log: OpenFile::at(beside(database, "-wal"))?,
            shared_memory: OpenFile::at(beside(database, "-shm"))?,
            looked_at_shared_memory: Instant::now(),
        })
    }

    /// How long the log is, where everything is in its place.
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
