//! What the program says at a terminal: nothing that others wrote moves the cursor, hides or turns
//! what stands there. And into a pipe or a file data goes exactly as it is.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use serde_json::{Value, json};
use testing::{FakeModel, Reply, TempProject};

use crate::http::{post, start_with};
use crate::support::{Ended, GREETING, Running, flowmill, greeting, run_in, words};

/// Colours, clears, turns, deletes; in C0, DEL, C1 and marks of direction.
const HOSTILE: &str = "\u{1b}[31mEVIL\u{7f}\u{9b}2J\u{202e}txet\u{2066}\u{7}";

/// A pseudo-terminal: the end of whoever sits at it, and the end of programs.
fn pseudo_terminal() -> (File, OwnedFd) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&terminal).expect("it is ours");
    unlockpt(&terminal).expect("it is ours");
    let other = ioctl_tiocgptpeer(&terminal, OpenptFlags::RDWR | OpenptFlags::NOCTTY)
        .expect("it has another end");
    (File::from(terminal), other)
}

/// What a command says, to its stdout and stderr, where both are a terminal.
fn at_a_terminal(command: &mut Command) -> String {
    let (mut terminal, other) = pseudo_terminal();
    let again = other.try_clone().expect("it can be cloned");
    let mut child = command
        .env("TERM", "dumb")
        .stdout(Stdio::from(other))
        .stderr(Stdio::from(again))
        .spawn()
        .expect("the program starts");
    // Those of this process would keep the terminal open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut said = Vec::new();
    let mut some = [0; 4096];
    // The end of a terminal is an error.
    while let Ok(read @ 1..) = terminal.read(&mut some) {
        said.extend_from_slice(&some[..read]);
    }
    child.wait().expect("it ends");
    String::from_utf8(said).expect("UTF-8")
}

#[track_caller]
fn shows_it_escaped(what: &str, command: &mut Command) {
    let said = at_a_terminal(command);
    assert!(said.contains("EVIL"), "{what} does not show it: {said:?}");
    is_harmless(what, &said);
}

#[track_caller]
fn is_harmless(what: &str, said: &str) {
    let hidden = said
        .replace("\r\n", "\n")
        .chars()
        .find(|letter| lang::visible::is_hidden(*letter) && !matches!(letter, '\n' | '\t'));
    assert_eq!(hidden, None, "{what}: {said:?}");
}

fn asking(model: &FakeModel, project: &TempProject, line: &str) -> Command {
    let mut command = flowmill(project.root(), words(line));
    command
        .args(["--model", "openai/test"])
        .env("OPENAI_BASE_URL", model.base_url())
        .env("OPENAI_API_KEY", "none");
    command
}

#[test]
fn what_a_model_says_is_shown_escaped_by_run() {
    let project = greeting();
    let model = FakeModel::answering(|_| Reply::json(json!({ "result": HOSTILE })));
    for line in [
        "",
        "--format pretty",
        "--format json",
        "--format yaml",
        "--events",
    ] {
        let line = format!("run greeting.yaml --input name=Ada {line}");
        shows_it_escaped(&line, &mut asking(&model, &project, &line));
    }
    let refusing = FakeModel::answering(|_| {
        Reply::status(400).error_body(json!({"error": {"message": HOSTILE}}))
    });
    for line in ["", "--events", "--log-level debug"] {
        let line = format!("run greeting.yaml --input name=Ada {line}");
        shows_it_escaped(&line, &mut asking(&refusing, &project, &line));
    }
    let mut unfit = flowmill(project.root(), words("run greeting.yaml --offline"));
    shows_it_escaped(
        "an unknown input",
        unfit.args(["--input", &format!("{HOSTILE}=1")]),
    );
}

#[test]
fn what_stands_in_a_file_is_shown_escaped_by_validate_schema_and_explain() {
    let project = greeting();
    // YAML takes no such characters as they are, but its escapes.
    let escaped = r"\e[31mEVIL\x7f\x9b2J\u202etxet\a";
    let faulty = GREETING.replace("outputs: [greeting]", &format!("outputs: [\"{escaped}\"]"));
    project.write("faulty.yaml", faulty);
    for format in ["human", "short", "json"] {
        let line = format!("validate faulty.yaml --format {format}");
        shows_it_escaped(&line, &mut flowmill(project.root(), words(&line)));
    }
    let field = format!("name: {{type: str, required: true, description: \"{escaped}\"}}");
    let described = GREETING.replace("name: {type: str, required: true}", &field);
    project.write("described.yaml", described);
    let mut schema = flowmill(project.root(), words("schema described.yaml"));
    shows_it_escaped("schema", &mut schema);
    for arguments in [
        vec!["explain", HOSTILE],
        vec!["validate", HOSTILE],
        vec!["undeploy", HOSTILE],
        vec!["keys", "revoke", HOSTILE, "--store", "sqlite:none.db"],
        vec!["jobs", "show", HOSTILE, "--store", "sqlite:none.db"],
        vec!["health", "--url", HOSTILE],
        vec!["report", "costs", "--store", HOSTILE],
        vec!["init", HOSTILE],
        vec!["serve", HOSTILE],
        vec!["deploy", HOSTILE],
    ] {
        let said = at_a_terminal(&mut flowmill(project.root(), &arguments));
        is_harmless(&format!("{arguments:?}"), &said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_jobs_hold_is_shown_escaped_and_a_keys_name_holds_no_such_thing() {
    let project = greeting();
    let model = FakeModel::answering(|request| {
        if request.body.to_string().contains("Bob") {
            return Reply::status(400).error_body(json!({"error": {"message": HOSTILE}}));
        }
        Reply::json(json!({ "result": HOSTILE }))
    });
    let mut server = start_with(
        &model,
        &project,
        "greeting.yaml --store sqlite:flowmill.db --log-level debug",
    );
    let url = server.url();
    let mut ids = Vec::new();
    for name in ["Ada", "Bob"] {
        let body = json!({"inputs": {"name": name}, "metadata": {"label": HOSTILE}});
        let (_, answer) = post(format!("{url}/jobs"), body).await;
        let id = answer["job_id"].as_str().expect("an id").to_owned();
        run_in(
            project.root(),
            words(&format!("jobs events {id} --follow --server {url}")),
        );
        ids.push(id);
    }
    for id in &ids {
        for line in [
            format!("jobs show {id}"),
            format!("jobs show {id} --format json"),
            format!("jobs events {id} --format json"),
        ] {
            let line = format!("{line} --server {url}");
            shows_it_escaped(&line, &mut flowmill(project.root(), words(&line)));
        }
        let line = format!("jobs events {id} --server {url}");
        let said = at_a_terminal(&mut flowmill(project.root(), words(&line)));
        is_harmless(&line, &said);
    }
    server.signal("TERM");
    let said = server.said();
    is_harmless("the server's log", &said);
    for line in [
        "jobs list",
        "jobs list --format json",
        "report costs --by model",
        "report runs",
    ] {
        let line = format!("{line} --store sqlite:flowmill.db");
        let said = at_a_terminal(&mut flowmill(project.root(), words(&line)));
        is_harmless(&line, &said);
    }
    for name in ["a\u{1b}b", "a\u{7f}b", "a\u{9b}b", "a\u{202e}b"] {
        let create = [
            "keys",
            "create",
            "--name",
            name,
            "--store",
            "sqlite:flowmill.db",
        ];
        let said = at_a_terminal(&mut flowmill(project.root(), create));
        assert!(
            said.contains("a key's name must not contain"),
            "{name:?}: {said}"
        );
        is_harmless("keys create", &said);
    }
}

/// Every character there is, twice what a terminal acts on.
fn all_of_unicode() -> String {
    let hidden = ('\0'..=char::MAX).filter(|letter| lang::visible::is_hidden(*letter));
    ('\0'..=char::MAX).chain(hidden).collect()
}

#[test]
fn all_of_unicode_leaves_unaltered_on_stdout_in_events_and_in_files() {
    let project = greeting();
    let all = all_of_unicode();
    let answer = json!({ "result": all });
    let model = FakeModel::answering(move |_| Reply::json(answer.clone()));
    let said = Ended::of(&mut asking(
        &model,
        &project,
        "run greeting.yaml --input name=Ada --format json --record cassette.json",
    ))
    .exits(0);
    let outputs = &said.json()["outputs"];
    assert!(outputs["greeting"] == *all, "--format json altered it");
    let cassette = std::fs::read_to_string(project.root().join("cassette.json")).expect("a file");
    let escaped = serde_json::to_string(&all).expect("text is JSON");
    assert!(
        cassette.contains(&escaped[1..escaped.len() - 1]) || holds(&cassette, &all),
        "--record altered it"
    );
    let said = Ended::of(&mut asking(
        &model,
        &project,
        "run greeting.yaml --input name=Ada --events",
    ))
    .exits(0);
    let mut events = said
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let completed = events.rfind(|event| event["event"] == "run_completed");
    let completed = completed.expect("it ends");
    assert!(
        completed.to_string().contains(&escaped),
        "--events altered it"
    );
}

/// Whether some text in a JSON file holds it.
fn holds(file: &str, text: &str) -> bool {
    fn within(value: &Value, text: &str) -> bool {
        match value {
            Value::String(found) => {
                found.contains(text) || {
                    let inner: Option<Value> = serde_json::from_str(found).ok();
                    inner.is_some_and(|inner| !inner.is_string() && within(&inner, text))
                }
            }
            Value::Array(items) => items.iter().any(|item| within(item, text)),
            Value::Object(members) => members.values().any(|member| within(member, text)),
            _ => false,
        }
    }
    let mut documents = serde_json::Deserializer::from_str(file).into_iter::<Value>();
    documents.any(|document| document.is_ok_and(|document| within(&document, text)))
}

#[test]
fn a_hang_up_ends_a_server_that_was_started_at_a_terminal() {
    let project = greeting();
    let (_terminal, stdin) = pseudo_terminal();
    let line = "serve greeting.yaml --offline --store memory --port 0";
    let mut command = flowmill(project.root(), words(line));
    let mut server = Running::start(command.stdin(Stdio::from(stdin)));
    server.url();
    server.signal("HUP");
    // A process that did not listen for the signal would have no exit code.
    assert_eq!(server.end().0, Some(0));
}
