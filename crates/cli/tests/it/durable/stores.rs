//! Where jobs are kept, and what is said when they cannot be.

use serde_json::json;
use testing::TempProject;

use crate::http::{get, post, start};
use crate::support::{greeting, run_in, words};

#[tokio::test]
async fn a_job_is_there_after_a_restart() {
    let project = greeting();
    let mut server = start(&project, "greeting.yaml --offline");
    let url = server.url();
    server.line_with("jobs are kept in flowmill.db");
    let (_, answer) = post(format!("{url}/run"), json!({"name": "Ada"})).await;
    let job = answer["job_id"].as_str().expect("an id").to_owned();
    let before = get(format!("{url}/jobs/{job}")).await;
    drop(server);

    let mut server = start(&project, "greeting.yaml --offline");
    let url = server.url();
    assert_eq!(get(format!("{url}/jobs/{job}")).await, before);
    assert_eq!(before.1["outputs"], answer["outputs"]);
}

#[test]
fn the_store_is_where_the_settings_say() {
    let check = |line: &str, says: &str, file: Option<&str>| {
        let project = greeting();
        let mut server = start(&project, &format!("greeting.yaml --offline {line}"));
        server.line_with(says);
        assert_eq!(
            project.path("flowmill.db").exists(),
            file == Some("flowmill.db"),
            "{line}"
        );
        if let Some(file) = file {
            assert!(project.path(file).is_file(), "{line}: {file}");
        }
    };
    check("", "jobs are kept in flowmill.db", Some("flowmill.db"));
    check(
        "--data-dir var/lib",
        "jobs are kept in var/lib/flowmill.db",
        Some("var/lib/flowmill.db"),
    );
    check(
        "--store sqlite:my.db --data-dir var",
        "jobs are kept in my.db",
        Some("my.db"),
    );
    check("--store memory", "jobs are kept in memory", None);
}

#[test]
fn a_second_server_on_the_same_file_is_refused() {
    let project = greeting();
    let mut server = start(&project, "greeting.yaml --offline");
    server.url();
    run_in(
        project.root(),
        words("serve greeting.yaml --offline --port 0 --store sqlite:./flowmill.db"),
    )
    .exits(4)
    .says(&[
        "`./flowmill.db`: another process is using this store",
        "choose another file",
    ]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_second_server_is_refused_though_the_lock_file_was_removed() {
    let project = greeting();
    let mut server = start(&project, "greeting.yaml --offline");
    let url = server.url();
    std::fs::remove_file(project.path("flowmill.db.lock")).expect("it is there");
    for line in [
        "serve greeting.yaml --offline --port 0",
        "jobs list --store sqlite:flowmill.db",
    ] {
        run_in(project.root(), words(line))
            .exits(4)
            .says(&["another process is using this store"]);
    }
    let (status, _) = post(format!("{url}/run"), json!({"name": "Ada"})).await;
    assert_eq!(status, 200);
}

#[test]
fn a_store_that_cannot_be_opened_is_named_as_it_was_given() {
    let project = greeting();
    project.write(
        "notes.db",
        "Dear diary, this is no database at all. ".repeat(40),
    );
    newer_store(&project, "newer.db");
    let check = |store: &str, says: &[&str]| {
        run_in(
            project.root(),
            words(&format!(
                "serve greeting.yaml --offline --port 0 --store sqlite:{store}"
            )),
        )
        .exits(4)
        .says(says);
    };
    check(
        "notes.db",
        &["`notes.db`: this file is not a flowmill store"],
    );
    check(
        "newer.db",
        &["`newer.db`: a newer version of flowmill has written this store"],
    );
    check(
        "no/such/jobs.db",
        &["`no/such/jobs.db` cannot be created: its folder does not exist"],
    );
    check(".", &["`.`: "]);
    assert_eq!(project.read("notes.db").len(), 1600, "it is left alone");
}

/// A store as a later version would leave it.
fn newer_store(project: &TempProject, name: &str) {
    let mut server = start(
        project,
        &format!("greeting.yaml --offline --store sqlite:{name}"),
    );
    server.url();
    drop(server);
    let connection = rusqlite::Connection::open(project.path(name)).expect("a database");
    connection
        .pragma_update(None, "user_version", 999)
        .expect("it can be written");
}
