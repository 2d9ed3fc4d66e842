//! PostgreSQL servers of a test's own, where PostgreSQL is installed.
//!
//! [`database()`] is what most tests want: an empty database on a server that all tests of a binary
//! share. A test that stops, kills or configures its server starts one with [`Server::start`].
//! [`Standby`] and [`PgBouncer`] stand beside or before one.
//! All listen on loopback, keep their files in a temporary folder, and end with the test binary,
//! however that ends.
//!
//! What asks a server here blocks, on a thread of its own: it works from any test, also one with a
//! paused clock. [`Database::client`] is for the rest.

mod daemon;
mod database;
mod pgbouncer;
mod programs;
mod rows;
mod server;
mod standby;
mod sweep;

use std::sync::OnceLock;

pub use self::database::Database;
pub use self::pgbouncer::{PgBouncer, PoolMode};
pub use self::server::{Login, Options, Server};
pub use self::standby::{STANDBY_NAME, Standby};
pub use self::sweep::sweep;

/// The server that all tests of this binary share. It does not sync to disk.
///
/// `None` means the test should return; why was printed.
///
/// # Panics
/// When PostgreSQL is not installed and `CI=true`.
pub fn shared() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| Server::start(Options::default().without_fsync()));
    if shared.is_none() {
        // Each test that is skipped says so.
        programs::find();
    }
    shared.as_ref()
}

/// An empty database on the shared server; dropped with the value.
///
/// `None` means the test should return; why was printed.
///
/// # Panics
/// As [`shared`].
pub fn database() -> Option<Database<'static>> {
    shared().map(Server::database)
}

#[cfg(test)]
mod tests;
