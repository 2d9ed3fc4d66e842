//! Against the PostgreSQL that is installed.

use super::*;

#[test]
fn databases_are_empty_and_apart() {
    let (Some(one), Some(other)) = (database(), database()) else {
        return;
    };
    one.query("CREATE TABLE t (n int)");
    one.query("INSERT INTO t VALUES (1), (2)");
    assert_eq!(one.query("SELECT n FROM t ORDER BY n"), [["1"], ["2"]]);
    assert_eq!(one.count("SELECT count(*) FROM t"), 2);
    let tables = "SELECT count(*) FROM pg_class WHERE relname = 't'";
    assert_eq!(other.count(tables), 0);
}

#[test]
fn a_dropped_database_is_gone_though_a_client_is_connected() {
    let Some(database) = database() else {
        return;
    };
    let name = database.name().to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(database.client());
    let server = database.server();
    drop(database);
    let named = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(server.query(&named), [["0"]]);
    assert!(runtime.block_on(client.simple_query("SELECT 1")).is_err());
}

#[test]
fn what_was_committed_survives_a_crash() {
    let Some(server) = Server::start(Options::default()) else {
        return;
    };
    let database = server.database();
    database.query("CREATE TABLE t (n int)");
    database.query("INSERT INTO t VALUES (7)");
    let address = server.address();
    server.stop_immediate();
    assert!(std::net::TcpStream::connect(address).is_err());
    server.start_again();
    assert_eq!(server.address(), address);
    assert_eq!(database.value("SELECT n FROM t"), "7");
}

#[test]
fn a_server_with_a_password_refuses_another() {
    let options = Options::default()
        .without_fsync()
        .with_password("p@ss/ word");
    let Some(server) = Server::start(options) else {
        return;
    };
    assert_eq!(server.query("SELECT 1"), [["1"]]);
    let wrong = server.url("postgres").replace("p%40ss", "other");
    let error = rows::text_rows(&wrong, "SELECT 1").unwrap_err();
    assert_eq!(
        error.code(),
        Some(&tokio_postgres::error::SqlState::INVALID_PASSWORD)
    );
}

#[test]
fn statements_are_counted_for_each_database() {
    let (Some(one), Some(other)) = (database(), database()) else {
        return;
    };
    for n in 0..3 {
        one.query(&format!("SELECT {n}"));
    }
    let statements = one.statements();
    assert!(
        statements.contains(&("SELECT $1".to_owned(), 3)),
        "{statements:?}"
    );
    assert_eq!(other.statements_run(), 0);
}

#[test]
fn terminated_backends_are_gone() {
    let Some(server) = Server::start(Options::default().without_fsync()) else {
        return;
    };
    let database = server.database();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(database.client());
    server.terminate_all_backends();
    assert!(runtime.block_on(client.simple_query("SELECT 1")).is_err());
}

#[test]
fn a_server_and_its_files_go_with_the_value() {
    let Some(server) = Server::start(Options::default().without_fsync()) else {
        return;
    };
    let (address, data) = (server.address(), server.data());
    assert!(data.exists());
    drop(server);
    assert!(!data.exists());
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_promoted_standby_has_what_it_caught_up_with_and_nothing_later() {
    let options = Options::default()
        .without_fsync()
        .with_password("se'cr\\et");
    let Some(primary) = Server::start(options) else {
        return;
    };
    primary.query("CREATE TABLE t (n int)");
    let standby = Standby::of(&primary);
    primary.query("INSERT INTO t VALUES (1)");
    standby.catch_up_with(&primary);
    assert_eq!(standby.query("SELECT n FROM t"), [["1"]]);

    standby.disconnect();
    primary.query("INSERT INTO t VALUES (2)");
    primary.stop_immediate();
    standby.promote();
    standby.query("INSERT INTO t VALUES (3)");
    assert_eq!(standby.query("SELECT n FROM t ORDER BY n"), [["1"], ["3"]]);
}

#[test]
fn a_commit_waits_for_a_synchronous_standby() {
    let Some(primary) = Server::start(Options::default().without_fsync()) else {
        return;
    };
    primary.query("CREATE TABLE t (n int)");
    let standby = Standby::of(&primary);
    let names = format!("ALTER SYSTEM SET synchronous_standby_names = '{STANDBY_NAME}'");
    primary.query(&names);
    primary.query("ALTER SYSTEM SET synchronous_commit = 'remote_apply'");
    primary.query("SELECT pg_reload_conf()");
    primary.query("INSERT INTO t VALUES (1)");
    primary.stop_immediate();
    standby.promote();
    assert_eq!(standby.query("SELECT n FROM t"), [["1"]]);
}

#[test]
fn pgbouncer_gives_a_connection_back_after_each_transaction_or_statement() {
    for login in [None, Some("pass\"word")] {
        let mut options = Options::default().without_fsync();
        if let Some(password) = login {
            options = options.with_password(password);
        }
        let Some(server) = Server::start(options) else {
            return;
        };
        let run = |mode, sql: &str| {
            let pooler = PgBouncer::start(&server, mode)?;
            let url = server.url_by(pooler.address(), "postgres");
            Some(rows::text_rows(&url, sql))
        };
        let two = "BEGIN; SELECT 1; COMMIT";
        let Some(pooled) = run(PoolMode::Transaction, two) else {
            return;
        };
        assert_eq!(pooled.unwrap(), [["1"]]);
        let refused = run(PoolMode::Statement, "BEGIN").unwrap();
        assert!(refused.is_err(), "{refused:?}");
    }
}
