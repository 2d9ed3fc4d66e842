//! What is particular to PostgreSQL: several stores on one database.

mod deliveries;
mod filled;
mod listing;
mod removal;

use jiff::Timestamp;
use jobs::postgres::{Options, PostgresStore};
use testing::postgres::Database;

async fn open(database: &Database<'_>) -> PostgresStore {
    let tls = rustls::ClientConfig::builder_with_provider(
        rustls::crypto::ring::default_provider().into(),
    )
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(rustls::RootCertStore::empty())
    .with_no_client_auth();
    let options = Options::new(database.url().parse().unwrap(), tls, 1);
    PostgresStore::open(&options).await.unwrap()
}

/// The server's clock counts.
fn any_time() -> Timestamp {
    Timestamp::UNIX_EPOCH
}
