//! What is particular to PostgreSQL: several stores on one database.

mod allotments;
mod claims;
mod deliveries;
mod failing;
mod filled;
mod levels;
mod listing;
mod migrating;
mod mixed;
mod opening;
mod removal;
mod replicas;
mod signals;
mod writing;

use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use jobs::postgres::{Clock, Options, PostgresStore};
use testing::postgres::{Database, PgBouncer, PoolMode};

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
    at_callers_time_by(&database.url()).await
}

async fn at_callers_time_by(url: &str) -> PostgresStore {
    let options = Options {
        clock: Clock::Caller,
        // Some cases make thousands of calls at once, on a machine that does other things as well.
        verb_timeout: Duration::from_secs(120),
        ..options_of(url)
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

/// Two stores on one database, both through the pooler that all tests of this binary share.
pub(crate) async fn two_through_pgbouncer()
-> Option<(PostgresStore, PostgresStore, Database<'static>)> {
    static SHARED: OnceLock<Option<PgBouncer>> = OnceLock::new();
    let database = testing::postgres::database()?;
    let shared = SHARED.get_or_init(|| PgBouncer::start(database.server(), PoolMode::Transaction));
    let url = database.url_by(shared.as_ref()?.address());
    let (one, other) = (
        at_callers_time_by(&url).await,
        at_callers_time_by(&url).await,
    );
    Some((one, other, database))
}
