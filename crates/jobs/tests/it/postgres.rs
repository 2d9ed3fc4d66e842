//! What is particular to PostgreSQL: several stores on one database.

mod allotments;
mod claims;
mod deliveries;
mod failing;
mod filled;
mod listing;
mod mixed;
mod opening;
mod removal;
mod replicas;
mod signals;
mod writing;

use std::time::Duration;

use jiff::Timestamp;
use jobs::postgres::{Clock, Options, PostgresStore};
use testing::postgres::Database;

fn options(database: &Database<'_>) -> Options {
    options_of(&database.url())
}

fn options_of(url: &str) -> Options {
    Options::new(url.parse().unwrap(), tls(rustls::RootCertStore::empty()), 1)
}

fn tls(roots: rustls::RootCertStore) -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn open(database: &Database<'_>) -> PostgresStore {
    PostgresStore::open(&options(database)).await.unwrap()
}

/// A store that takes the times it is called with for the present.
async fn at_callers_time(database: &Database<'_>) -> PostgresStore {
    let options = Options {
        clock: Clock::Caller,
        // Some cases make thousands of calls at once, on a machine that does other things as well.
        verb_timeout: Duration::from_secs(120),
        ..options(database)
    };
    PostgresStore::open(&options).await.unwrap()
}

/// The server's clock counts.
fn any_time() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

/// A store on a database of its own, if there is a server.
pub(crate) async fn fresh() -> Option<(PostgresStore, Database<'static>)> {
    let database = testing::postgres::database()?;
    Some((at_callers_time(&database).await, database))
}

/// As [`fresh`], with a second store on the same database.
pub(crate) async fn two_fresh() -> Option<(PostgresStore, PostgresStore, Database<'static>)> {
    let (store, database) = fresh().await?;
    Some((store, at_callers_time(&database).await, database))
}
