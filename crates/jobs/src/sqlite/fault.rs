//! What SQLite reports, in sentences for people: what is wrong and the way out, without paths.

use rusqlite::ErrorCode;

use crate::store::Error;

/// Why a verb did not happen.
#[derive(Debug)]
pub(super) enum Failure {
    /// The verb itself says no. It must not have changed anything by then: it is not rolled back.
    Refused(Error),
    /// SQLite could not do it.
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

/// Whether a row holds what nobody can read: the row is at fault and not the file, and others can be read.
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

/// For whoever asked for what hit a fault of our own. The panic has been printed.
pub(super) fn panicked() -> Error {
    Error::Unavailable("it hit a fault inside flowmill; the server's log says where".to_owned())
}

pub(super) fn sentence(error: &rusqlite::Error) -> String {
    let sentence = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            "there is no space left (on the disk, or within the size set for the store); make some"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program has locked its file; end that program"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "its file may not be written; give this user the permission"
        }
        Some(ErrorCode::CannotOpen) => {
            "its file cannot be opened; check that its directory exists, and that this user may write that and \
             the files beside it (-wal, -shm)"
        }
        Some(ErrorCode::SystemIoFailure) => {
            "its file cannot be read or written; check the disk, and whether it is full"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "its file is damaged; restore a copy, or move it away to begin with an empty store"
        }
        Some(ErrorCode::TooBig) => "a value is larger than 1 GB; send less",
        Some(ErrorCode::OutOfMemory) => "there is no memory left",
        _ => return format!("SQLite reports: {error}"),
    };
    sentence.to_owned()
}
