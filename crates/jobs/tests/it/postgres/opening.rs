//! What opening a store says when it cannot.

use std::net::TcpListener;
use std::time::Duration;

use jobs::postgres::{ConnectError, OpenError, PostgresStore};
use jobs::store::JobStore as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use testing::postgres::{self, PgBouncer, PoolMode, Server};

use super::{Options, open, options, options_of, tls};
use crate::fixtures::{completed, new_job, start};

/// Of 127.0.0.1, signed by itself.
const CERTIFICATE: &str = include_str!("../../../../cli/tests/it/certificates/certificate.pem");
const KEY: &str = include_str!("../../../../cli/tests/it/certificates/key.pem");

async fn refusal(options: &Options) -> OpenError {
    PostgresStore::open(options)
        .await
        .expect_err("it cannot be opened")
}

async fn connect_refusal(url: &str) -> ConnectError {
    match refusal(&options_of(url)).await {
        OpenError::Connect(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_from_a_host_that_is_not_there() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = connect_refusal(&format!("postgres://me:letmein@{port}/db")).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    let sentence = error.to_string();
    assert!(sentence.contains(&port.to_string()), "{sentence}");
    assert!(!sentence.contains("letmein"), "{sentence}");
    let error = connect_refusal("postgres://no-such-host.invalid/db").await;
    assert!(matches!(error, ConnectError::UnknownHost { .. }), "{error}");
}

#[tokio::test]
async fn a_wrong_password_a_certificate_of_nobody_and_no_tls_are_told_apart() {
    let settings = postgres::Options::default()
        .without_fsync()
        .with_password("letmein")
        .with_tls(CERTIFICATE, KEY);
    let Some(server) = Server::start(settings) else {
        return;
    };
    let url = server.url("postgres");
    let error = connect_refusal(&url.replace("letmein", "letmeout")).await;
    assert!(matches!(error, ConnectError::Password { .. }), "{error}");
    assert!(!error.to_string().contains("letmeout"), "{error}");

    let verified = format!("{url}?sslmode=verify-full");
    let error = connect_refusal(&verified).await;
    assert!(matches!(error, ConnectError::Untrusted { .. }), "{error}");

    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap())
        .unwrap();
    let trusting = |url: &str| Options {
        tls: tls(roots.clone()),
        ..options_of(url)
    };
    let other_name = verified.replace("127.0.0.1", "[::ffff:127.0.0.1]");
    assert!(PostgresStore::open(&trusting(&other_name)).await.is_err());
    let store = PostgresStore::open(&trusting(&verified)).await.unwrap();
    store.ping().await.unwrap();
    let encrypted = server.query(
        "SELECT count(*) FILTER (WHERE ssl), count(*) > 0 FROM pg_stat_ssl JOIN pg_stat_activity
         USING (pid) WHERE application_name = 'flowmill'",
    );
    assert_ne!(encrypted, [["0", "t"]]);
}

#[tokio::test]
async fn a_server_without_tls_is_told_when_tls_is_asked_for() {
    let Some(database) = postgres::database() else {
        return;
    };
    let error = connect_refusal(&format!("{}?sslmode=require", database.url())).await;
    assert!(matches!(error, ConnectError::NoTls { .. }), "{error}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let Some(server) = postgres::shared() else {
        return;
    };
    let error = connect_refusal(&server.url("no_such_database")).await;
    assert!(matches!(error, ConnectError::NoDatabase { .. }), "{error}");
    assert!(error.to_string().contains("no_such_database"), "{error}");
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_refused_and_another_host_is_taken() {
    let (Some(reading), Some(server)) = (postgres::database(), postgres::shared()) else {
        return;
    };
    server.query(&format!(
        "ALTER DATABASE {} SET default_transaction_read_only = on",
        reading.name()
    ));
    let error = connect_refusal(&reading.url()).await;
    assert!(matches!(error, ConnectError::ReadOnly { .. }), "{error}");
}

#[tokio::test]
async fn without_the_right_to_make_the_schema_the_way_out_is_a_statement_that_works() {
    let (Some(database), Some(server)) = (postgres::database(), postgres::shared()) else {
        return;
    };
    let role = format!("limited_{}", database.name());
    server.query(&format!("CREATE ROLE {role} LOGIN"));
    let options = options_of(&database.url().replace("flowmill@", &format!("{role}@")));
    let error = refusal(&options).await;
    let sentence = error.to_string();
    let (_, statement) = sentence.split_once("run: ").expect("it says what to run");
    assert_eq!(error, OpenError::NoRight { role });
    database.query(statement);
    PostgresStore::open(&options)
        .await
        .unwrap()
        .ping()
        .await
        .unwrap();
}

#[tokio::test]
async fn the_schema_of_another_role_is_refused() {
    let (Some(database), Some(server)) = (postgres::database(), postgres::shared()) else {
        return;
    };
    drop(open(&database).await);
    let role = format!("stranger_{}", database.name());
    server.query(&format!("CREATE ROLE {role} LOGIN"));
    let url = database.url().replace("flowmill@", &format!("{role}@"));
    let error = refusal(&options_of(&url)).await;
    assert!(
        matches!(&error, OpenError::Forbidden { role: named, .. } if *named == role),
        "{error}"
    );
}

#[tokio::test]
async fn a_store_that_needs_a_newer_program_is_refused_and_one_that_was_only_extended_is_not() {
    let Some(database) = postgres::database() else {
        return;
    };
    drop(open(&database).await);
    database.query("UPDATE flowmill.meta SET format = 99");
    drop(open(&database).await);
    assert_eq!(database.value("SELECT format FROM flowmill.meta"), "99");
    database.query("UPDATE flowmill.meta SET min_level = 2");
    let error = refusal(&options(&database)).await;
    let sentence = error.to_string();
    assert!(
        sentence.contains("needs level 2") && sentence.contains("use that version"),
        "{sentence}"
    );
    let (needed, level) = (2, 1);
    assert_eq!(error, OpenError::Newer { needed, level });
    let newer = Options {
        level: 2,
        ..options(&database)
    };
    let store = PostgresStore::open(&newer).await.unwrap();
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_schema_that_was_restored_in_part_is_refused() {
    let Some(database) = postgres::database() else {
        return;
    };
    drop(open(&database).await);
    database.query("DELETE FROM flowmill.meta");
    assert_eq!(refusal(&options(&database)).await, OpenError::Incomplete);
    database.query("DROP TABLE flowmill.meta");
    assert_eq!(refusal(&options(&database)).await, OpenError::Incomplete);
}

/// (A report: several servers started at once on an empty database and failed on each other's
/// tables.)
#[tokio::test]
async fn many_that_start_at_once_on_an_empty_database_make_one_schema() {
    let Some(database) = postgres::database() else {
        return;
    };
    let options = options(&database);
    let each = (0..5).map(|_| PostgresStore::open(&options));
    let stores = futures_util::future::try_join_all(each).await.unwrap();
    assert_eq!(database.count("SELECT count(*) FROM flowmill.meta"), 1);
    for store in stores {
        store.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_migration_that_another_process_makes_is_waited_for_and_not_for_ever() {
    let Some(database) = postgres::database() else {
        return;
    };
    let other = database.client().await;
    other
        .batch_execute("BEGIN; SELECT pg_advisory_xact_lock(x'666c6f776d696c6c'::bigint)")
        .await
        .unwrap();
    let impatient = Options {
        open_timeout: Duration::ZERO,
        ..options(&database)
    };
    let error = refusal(&impatient).await;
    assert!(error.to_string().contains("lock"), "{error}");
    let patient = options(&database);
    let opening = tokio::spawn(async move { PostgresStore::open(&patient).await });
    other.batch_execute("COMMIT").await.unwrap();
    opening.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_pooler_that_allows_no_transactions_is_refused() {
    let Some(database) = postgres::database() else {
        return;
    };
    let Some(pooler) = PgBouncer::start(database.server(), PoolMode::Statement) else {
        return;
    };
    let error = refusal(&options_of(&database.url_by(pooler.address()))).await;
    assert_eq!(error, OpenError::StatementPooling);
}

#[tokio::test]
async fn a_pooler_that_lends_a_connection_for_a_transaction_is_enough() {
    let Some(database) = postgres::database() else {
        return;
    };
    let Some(pooler) = PgBouncer::start(database.server(), PoolMode::Transaction) else {
        return;
    };
    let options = options_of(&database.url_by(pooler.address()));
    let each = (0..3).map(|_| PostgresStore::open(&options));
    let stores = futures_util::future::try_join_all(each).await.unwrap();
    let runs = (0..60_u32).map(|number| {
        let store = &stores[number as usize % 3];
        async move {
            let claimed = start(store, new_job(number)).await;
            let progress = Some(claimed.workload.inputs);
            store
                .checkpoint(&claimed.lease, progress, Vec::new())
                .await
                .unwrap();
            store
                .finish(&claimed.lease, completed(9), Vec::new())
                .await
                .unwrap();
        }
    });
    futures_util::future::join_all(runs).await;
    assert_eq!(stores[0].counts().await.unwrap().ended, 60);

    let unknown = options_of(
        &database
            .server()
            .url_by(pooler.address(), "no_such_database"),
    );
    match refusal(&unknown).await {
        OpenError::Connect(ConnectError::NoDatabase { .. }) => {}
        other => panic!("{other}"),
    }
}
