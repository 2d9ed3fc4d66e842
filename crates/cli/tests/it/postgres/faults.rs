//! Every reason why a database cannot be used is one sentence that says the way out, without the
//! password, and the server ends at once.

use testing::postgres::{Options, PgBouncer, PoolMode, Server, Standby};
use testing::{TempProject, postgres};

use super::{start, with_store};
use crate::support::{Ended, greeting};

const CERTIFICATE: &str = include_str!("../certificates/certificate.pem");
const AUTHORITY: &str = include_str!("../certificates/authority.pem");
const KEY: &str = include_str!("../certificates/key.pem");

/// In each URL, and in nothing that is said.
const CANARY: &str = "canary";

/// A server does not start there, and says this.
#[track_caller]
fn refused(project: &TempProject, url: &str, code: i32, texts: &[&str]) {
    refused_with(project, url, "", code, texts);
}

#[track_caller]
fn refused_with(project: &TempProject, url: &str, options: &str, code: i32, texts: &[&str]) {
    let line = format!("serve greeting.yaml --offline --port 0 {options}");
    let ended = Ended::of(&mut with_store(project, url, &line))
        .exits(code)
        .says(texts);
    let errors = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), 1, "{}", ended.stderr);
    assert!(!ended.stderr.contains(CANARY), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

/// A URL with a password, of a server that asks for none.
fn with_password(url: &str) -> String {
    url.replacen("flowmill@", &format!("flowmill:{CANARY}@"), 1)
}

#[test]
fn a_url_that_cannot_be_read() {
    let project = greeting();
    for (url, text) in [
        ("postgres://me:canary@/db", "names no host"),
        ("postgres://me:canary@h", "names no database"),
        ("postgres://me:a@canary@h/db", "write %40"),
        ("postgres://me:canary@h:canary/db", "cannot be read"),
        ("postgres://me:canary@h/db?sslrootcert=canary", "--ca"),
        ("postgres://me:canary@h/db?canary=1", "unknown parameter"),
        ("redis://me:canary@h/0", "not supported as job stores yet"),
        ("mysql://me:canary@h/db", "not that of a store"),
        ("postgres", "FLOWMILL_STORE"),
    ] {
        refused(&project, url, 2, &[text]);
    }
}

#[test]
fn nobody_listens_or_the_host_is_unknown() {
    let project = greeting();
    let url = "postgres://me:canary@127.0.0.1:1/db";
    refused(
        &project,
        url,
        4,
        &[
            "postgres://me@127.0.0.1:1/db: ",
            "cannot connect to the database at 127.0.0.1:1",
            "check that the server is running",
        ],
    );
    let url = "postgres://me:canary@no.such.host.invalid/db";
    refused(
        &project,
        url,
        4,
        &["no address is known for no.such.host.invalid"],
    );
    for line in [
        "jobs list --store postgres",
        "keys list --store postgres",
        "replicas",
    ] {
        let url = "postgres://me:canary@127.0.0.1:1/db";
        let ended = Ended::of(&mut with_store(&project, url, line))
            .exits(4)
            .says(&["cannot connect to the database at 127.0.0.1:1"]);
        assert!(!ended.stderr.contains(CANARY), "{line}: {}", ended.stderr);
    }
}

#[test]
fn a_wrong_password() {
    let options = Options::default().without_fsync().with_password("right");
    let Some(server) = Server::start(options) else {
        return;
    };
    let database = server.database();
    let url = database
        .url()
        .replacen(":right@", &format!(":{CANARY}@"), 1);
    let texts = [
        "does not let this user in",
        "correct user and password in the store's URL",
    ];
    refused(&greeting(), &url, 4, &texts);
    let none = database.url().replacen(":right@", "@", 1);
    refused(&greeting(), &none, 4, &texts);
    start(&greeting(), &database.url(), "");
}

#[test]
fn a_database_that_is_not_there() {
    let Some(server) = postgres::shared() else {
        return;
    };
    let url = with_password(&server.url("nowhere"));
    refused(
        &greeting(),
        &url,
        4,
        &["\"nowhere\" does not exist", "create the database"],
    );
}

#[test]
fn a_certificate_that_nobody_has_vouched_for_and_a_server_without_one() {
    let options = Options::default()
        .without_fsync()
        .with_tls(CERTIFICATE, KEY);
    let Some(server) = Server::start(options) else {
        return;
    };
    let project = greeting();
    project.write("ca.pem", CERTIFICATE);
    project.write("authority.pem", AUTHORITY);
    let url = with_password(&server.database().url()) + "?sslmode=verify-full";
    let texts = [
        "is not trusted",
        "give the certificate of its authority with --ca",
    ];
    refused(&project, &url, 4, &texts);
    let database = server.database();
    let url = with_password(&database.url()) + "?sslmode=require";
    start(&project, &url, "--ca ca.pem");
    // The name of the host is looked at, too.
    let named = url.replacen("127.0.0.1", "localhost", 1);
    refused_with(&project, &named, "--ca ca.pem", 4, &texts);

    let Some(plain) = postgres::database() else {
        return;
    };
    let url = with_password(&plain.url()) + "?sslmode=require";
    refused(&project, &url, 4, &["offers no TLS", "sslmode=disable"]);
}

#[test]
fn a_standby_is_refused_and_passed_over_when_the_primary_is_named_too() {
    let Some(server) = Server::start(Options::default().without_fsync()) else {
        return;
    };
    let database = server.database();
    let standby = Standby::of(&server);
    standby.catch_up_with(&server);
    let url = with_password(&standby.url(database.name()));
    refused(
        &greeting(),
        &url,
        4,
        &["accepts no writes (a standby?)", "name the primary"],
    );
    let both = format!(
        "postgres://flowmill@{},{}/{}",
        standby.address(),
        server.address(),
        database.name()
    );
    start(&greeting(), &both, "");
}

#[test]
fn a_role_without_rights() {
    let Some(database) = postgres::database() else {
        return;
    };
    database.query(&format!(
        "CREATE ROLE guest_{name} LOGIN; REVOKE CREATE ON DATABASE {name} FROM PUBLIC",
        name = database.name()
    ));
    let guest = format!("guest_{}", database.name());
    let url = database
        .url()
        .replacen("flowmill@", &format!("{guest}:{CANARY}@"), 1);
    let project = greeting();
    let way_out = format!("CREATE SCHEMA flowmill AUTHORIZATION \"{guest}\"");
    refused(&project, &url, 4, &["may not create one", &way_out]);
    // Made by another role.
    start(&project, &database.url(), "");
    let texts = ["may not use the schema flowmill", "the owner's role"];
    refused(&project, &url, 4, &texts);
    database.query(&format!("DROP ROLE {guest}"));
}

#[test]
fn a_database_of_a_newer_version() {
    let Some(database) = postgres::database() else {
        return;
    };
    let project = greeting();
    start(&project, &database.url(), "");
    database.query("UPDATE flowmill.meta SET min_level = 99");
    refused(
        &project,
        &with_password(&database.url()),
        4,
        &[
            "a newer version of flowmill has changed this store",
            "level 99",
            "use that version",
        ],
    );
}

#[test]
fn a_pooler_that_breaks_transactions_apart() {
    let Some(database) = postgres::database() else {
        return;
    };
    let Some(pooler) = PgBouncer::start(database.server(), PoolMode::Statement) else {
        return;
    };
    let url = with_password(&database.url_by(pooler.address()));
    refused(
        &greeting(),
        &url,
        4,
        &[
            "statement pooling",
            "set pool_mode to transaction or session",
        ],
    );
}
