//! `--record`: a file is never destroyed by a run that did not happen.

use serde_json::{Value, json};
use testing::{FakeModel, Reply, TempProject};

use crate::http::{client, serve};
use crate::support::{Ended, GREETING, Running, flowmill, greeting, run_in, words};

const RUN: &str = "run greeting.yaml --input name=Ada";

/// Runs the greeting against that model.
fn against(model: &FakeModel, project: &TempProject, options: &str) -> Ended {
    let line = format!("{RUN} --model openai/m {options}");
    Ended::of(
        flowmill(project.root(), words(&line))
            .env("OPENAI_BASE_URL", model.base_url())
            .env("OPENAI_API_KEY", "none"),
    )
}

/// A project with a cassette that answers `old`.
fn with_cassette() -> (TempProject, String) {
    let project = greeting();
    let model = FakeModel::answering(|_| Reply::json(json!({"result": "old"})));
    against(&model, &project, "--record tape.jsonl").exits(0);
    let tape = project.read("tape.jsonl");
    (project, tape)
}

#[track_caller]
fn leaves_nothing_beside(project: &TempProject) {
    let part = project.root().join("tape.jsonl.part");
    assert!(!part.exists(), "{}", part.display());
}

#[test]
fn record_never_replaces_what_is_no_cassette() {
    let project = greeting();
    project.write("notes.txt", "precious");
    project.write("inputs.json", r#"{"name": "Ada"}"#);
    for file in ["greeting.yaml", "notes.txt", "inputs.json"] {
        let before = project.read(file);
        for line in [
            format!("{RUN} --offline --record {file}"),
            format!("{RUN} --offline --force --record {file}"),
            format!("serve greeting.yaml --offline --port 0 --store memory --record {file}"),
        ] {
            run_in(project.root(), words(&line))
                .exits(4)
                .says(&["is not a cassette", "tape.jsonl"]);
            assert_eq!(project.read(file), before, "{line}");
        }
    }
    run_in(
        project.root(),
        words(&format!("{RUN} --offline --record .")),
    )
    .exits(4)
    .says(&["is a directory"]);
}

#[test]
fn a_good_cassette_survives_a_run_that_did_not_happen() {
    let (project, tape) = with_cassette();
    let check = |line: &str, code: i32, says: &[&str]| {
        let mut command = flowmill(project.root(), words(line));
        command.env("OPENAI_BASE_URL", "http://127.0.0.1:9/v1");
        if line.contains("--input name") && !line.contains("keyless") {
            command.env("OPENAI_API_KEY", "none");
        }
        Ended::of(&mut command).exits(code).says(says);
        assert_eq!(project.read("tape.jsonl"), tape, "{line}");
        leaves_nothing_beside(&project);
    };
    let record = "--record tape.jsonl";
    check(
        &format!("{RUN} --offline {record}"),
        4,
        &["is a cassette already", "--force"],
    );
    // No inputs, no key, no server.
    check(
        &format!("run greeting.yaml --offline --force {record}"),
        3,
        &["name"],
    );
    check(
        &format!("run greeting.yaml --inputs keyless.json --model openai/m --force {record}"),
        4,
        &["keyless.json"],
    );
    project.write("keyless.json", r#"{"name": "Ada"}"#);
    check(
        &format!("run greeting.yaml --inputs keyless.json --model anthropic/m --force {record}"),
        5,
        &["ANTHROPIC_API_KEY"],
    );
    check(
        &format!("{RUN} --model openai/m --force {record}"),
        1,
        &[
            "no connection to",
            "nothing was recorded",
            "; tape.jsonl is unchanged",
        ],
    );
    check(
        &format!("serve greeting.yaml --model anthropic/m --store memory --force {record}"),
        5,
        &["ANTHROPIC_API_KEY"],
    );
}

#[test]
fn force_replaces_a_cassette_once_the_run_has_succeeded() {
    let (project, tape) = with_cassette();
    // Paid for, but not what the node wants: kept beside.
    let model = FakeModel::answering(|_| Reply::json(json!({"result": ["no", "text"]})));
    against(&model, &project, "--record tape.jsonl --force")
        .exits(1)
        .says(&["the recording is in", "tape.jsonl.part"]);
    assert_eq!(project.read("tape.jsonl"), tape);
    assert!(project.read("tape.jsonl.part").contains("no"));

    let model = FakeModel::answering(|_| Reply::json(json!({"result": "new"})));
    against(&model, &project, "--record tape.jsonl --force").exits(0);
    leaves_nothing_beside(&project);
    let replayed = run_in(project.root(), words(&format!("{RUN} --replay tape.jsonl")));
    assert_eq!(replayed.exits(0).json()["greeting"], json!("new"));
}

#[test]
fn a_first_recording_is_kept_although_the_run_failed() {
    let project = greeting();
    let model = FakeModel::answering(|_| Reply::json(json!({"result": ["no", "text"]})));
    against(&model, &project, "--record tape.jsonl").exits(1);
    leaves_nothing_beside(&project);
    assert!(project.read("tape.jsonl").lines().count() > 1);
    // Without an answer there is nothing to keep.
    let project = greeting();
    let model = FakeModel::answering(|_| Reply::status(400));
    against(&model, &project, "--record tape.jsonl").exits(1);
    assert!(!project.root().join("tape.jsonl").exists());
    leaves_nothing_beside(&project);
}

#[test]
fn a_device_is_written_as_it_is() {
    let project = greeting();
    run_in(
        project.root(),
        words(&format!("{RUN} --offline --record /dev/null")),
    )
    .exits(0);
}

#[cfg(unix)]
#[test]
fn a_link_leads_to_the_file_that_is_replaced() {
    let (project, _) = with_cassette();
    let link = project.root().join("link.jsonl");
    std::os::unix::fs::symlink("tape.jsonl", &link).expect("a link");
    let model = FakeModel::answering(|_| Reply::json(json!({"result": "new"})));
    against(&model, &project, "--record link.jsonl --force").exits(0);
    assert!(link.is_symlink());
    assert!(project.read("tape.jsonl").contains("new"));
}

#[tokio::test]
async fn a_server_keeps_the_old_cassette_until_a_model_has_answered() {
    let (project, tape) = with_cassette();
    let model = FakeModel::answering(|_| Reply::json(json!({"result": "served"})));
    let mut command = serve(
        &project,
        "greeting.yaml --model openai/m --record tape.jsonl --force",
    );
    command
        .env("OPENAI_BASE_URL", model.base_url())
        .env("OPENAI_API_KEY", "none");
    let mut server = Running::start(&mut command);
    let url = server.url();
    assert_eq!(project.read("tape.jsonl"), tape);
    let answer: Value = client()
        .post(format!("{url}/run"))
        .json(&json!({"name": "Ada"}))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(answer["outputs"]["greeting"], json!("served"), "{answer}");
    // What is answered is in the file by then, whatever becomes of the server.
    drop(server);
    assert!(project.read("tape.jsonl").contains("served"));
    leaves_nothing_beside(&project);
}

#[test]
fn a_deployment_replaces_no_program_that_it_did_not_write() {
    let project = TempProject::with_file("greeting.yaml", GREETING);
    project.write("deploy/flowmill", "#!/bin/sh\necho mine\n");
    run_in(
        project.root(),
        words("deploy greeting.yaml --offline --generate"),
    )
    .exits(4)
    .says(&["flowmill", "--force"]);
    assert_eq!(project.read("deploy/flowmill"), "#!/bin/sh\necho mine\n");
}
