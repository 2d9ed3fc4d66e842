//! What can go wrong with a statement, what is done about it, and the sentences for people.

use std::error::Error as StdError;
use std::io;

use tokio_postgres::error::SqlState;

use super::connect::{ConnectError, cause};
use crate::store::Error;

/// Why a verb failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The verb refuses. Its transaction is rolled back.
    Refused(Error),
    /// The server, or the connection.
    Postgres(tokio_postgres::Error),
    /// There is no connection.
    Connect(ConnectError),
    /// There was no answer in time.
    Silent,
    /// It panicked, which has been printed.
    Panicked,
    /// The transaction met another one at the wrong moment, which only the verb can know.
    Conflict,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The verb again, on another connection.
    Reconnect,
    /// The verb again.
    Repeat,
    /// None.
    GiveUp,
}

impl Failure {
    pub(super) fn remedy(&self) -> Remedy {
        match self {
            Self::Connect(error) if error.may_pass() => Remedy::Reconnect,
            Self::Refused(_) | Self::Panicked | Self::Connect(_) => Remedy::GiveUp,
            Self::Silent => Remedy::Reconnect,
            Self::Conflict => Remedy::Repeat,
            Self::Postgres(error) => match error.code() {
                Some(code) if is_of_connection(code) => Remedy::Reconnect,
                Some(code) if is_of_concurrency(code) => Remedy::Repeat,
                None if is_lost(error) => Remedy::Reconnect,
                _ => Remedy::GiveUp,
            },
        }
    }

    /// Whether the connection cannot be used any more.
    pub(super) fn breaks_connection(&self) -> bool {
        self.remedy() == Remedy::Reconnect
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Postgres(error) => Self::Unavailable(sentence(&error)),
            Failure::Connect(error) => Self::Unavailable(error.to_string()),
            Failure::Silent => Self::Unavailable("the database does not answer".to_owned()),
            Failure::Panicked => panicked(),
            Failure::Conflict => {
                Self::Unavailable("too many others change the same jobs; try again".to_owned())
            }
        }
    }
}

/// The server goes, has gone, or has become a standby: another connection may lead to another one.
fn is_of_connection(code: &SqlState) -> bool {
    code.code().starts_with("08")
        || [
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::CANT_CHANGE_RUNTIME_PARAM,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            SqlState::TOO_MANY_CONNECTIONS,
        ]
        .contains(code)
        // idle_session_timeout
        || code.code() == "57P05"
}

fn is_of_concurrency(code: &SqlState) -> bool {
    [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
    ]
    .contains(code)
}

/// Whether it is the connection that failed, not the reading of a value.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || error.source().is_some_and(<dyn StdError>::is::<io::Error>)
}

/// The answer to a caller whose verb panicked. The panic has been printed.
pub(super) fn panicked() -> Error {
    Error::Unavailable("it hit a fault inside flowmill; the server's log shows where".to_owned())
}

/// What the server says, without the values that its detail may quote.
pub(super) fn sentence(error: &tokio_postgres::Error) -> String {
    let Some(error) = error.as_db_error() else {
        return format!("the connection to the database failed: {}", cause(error));
    };
    let code = error.code();
    let way_out = if *code == SqlState::DISK_FULL {
        "free some space on the database server"
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        "give the role of the store's URL all rights on the schema flowmill"
    } else if [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME].contains(code) {
        "restore the schema flowmill, or restart flowmill to make it anew"
    } else if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        "name the primary in the store's URL, or all servers separated by commas"
    } else {
        return format!("the database reports: {}", error.message());
    };
    format!("the database reports: {}; {way_out}", error.message())
}
