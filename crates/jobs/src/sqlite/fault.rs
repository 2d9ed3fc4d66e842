//! SQLite's errors as sentences for people: what is wrong and what to do, without paths.

use rusqlite::ErrorCode;

use crate::store::Error;

/// Why a verb failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The verb refuses. It must not have changed anything by then: it is not rolled back.
    Refused(Error),
    /// SQLite failed.
    Sqlite(rusqlite::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
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

/// Whether a row contains something unreadable: other rows of the file can still be read.
pub(super) fn is_unreadable(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    matches!(
        error,
        E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::InvalidColumnType(..)
            | E::Utf8Error(..)
    )
}

pub(super) fn unavailable(error: &rusqlite::Error) -> Error {
    Error::Unavailable(sentence(error))
}

/// The answer to a caller whose command panicked. The panic has been printed.
pub(super) fn panicked() -> Error {
    Error::Unavailable("it hit a fault inside flowmill; the server's log shows where".to_owned())
}

pub(super) fn sentence(error: &rusqlite::Error) -> String {
    let sentence = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            "there is no space left (on the disk, or within the size set for the store); free some"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program has locked its file; stop that program"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "its file cannot be written; give this user the permission"
        }
        Some(ErrorCode::CannotOpen) => {
            "its file cannot be opened; check that its directory exists, and that this user can write to it \
             and to the files beside it (-wal, -shm)"
        }
        Some(ErrorCode::SystemIoFailure) => {
            "its file cannot be read or written; check the disk, and whether it is full"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "its file is damaged; restore a copy, or move it away to start with an empty store"
        }
        Some(ErrorCode::TooBig) => "a value is larger than 1 GB; send less",
        Some(ErrorCode::OutOfMemory) => "there is no memory left",
        _ => return format!("SQLite reports: {error}"),
    };
    sentence.to_owned()
}
