//! A canary in every sensitive place of a workflow, and every sink of the program searched for it.

use reqwest::Method;
use serde_json::{Value, json};
use testing::{FakeModel, Reply, TempProject};

use crate::http::{call, client, post, start_with};
use crate::support::{Ended, flowmill, run_in, words};

/// In quotes and escapes of its own; only its letters are searched for.
const CANARY: &str = "kanarienvogel \"7f3a\"\nzweite Zeile";
/// What must not be found.
const SONG: &str = "kanarienvogel";

/// An input, an inner field, the items of a fan-out and a node's output are sensitive. `echo` is
/// not, and the model repeats the canary there.
const WORKFLOW: &str = r#"
schema_version: "1.0"
flow: {name: secrets}
state:
  fields:
    secret: {type: str, sensitive: true, required: true}
    account:
      type: object
      required: true
      schema:
        number: {type: str, sensitive: true, required: true}
        city: str
    people: {type: 'list[str]', sensitive: true, required: true}
    limits: {type: 'dict[str, int]', sensitive: true, default: {}}
    echo: {type: str}
    verdict: {type: str}
    line: {type: str}
    lines: {type: 'list[str]'}
nodes:
  - id: tell
    inputs: {about: '{account}'}
    prompt: "tell {secret} {about} {people}"
    output_schema: {type: str}
    outputs: [echo]
  - id: judge
    prompt: "judge {echo}"
    output_schema:
      type: object
      fields:
        - {name: verdict, type: str, sensitive: true}
    outputs: [verdict]
  - id: greet
    prompt: "greet {_parallel_item}"
    output_schema: {type: str}
    outputs: [line]
edges:
  - {from: START, to: tell}
  - {from: tell, to: judge}
  - {from: judge, parallel: {items_field: people, target_node: greet, collect_field: lines}}
  - {from: greet, to: END}
config:
  execution: {max_retries: 2}
"#;

fn project() -> TempProject {
    TempProject::with_file("secrets.yaml", WORKFLOW)
}

/// Inputs full of canaries; the model fails for the item that says so.
fn inputs(last: &str) -> Value {
    json!({
        "secret": CANARY,
        "account": {"number": format!("{SONG}-4711"), "city": "Ulm"},
        "people": [format!("{SONG} Ada"), format!("{SONG} {last}")],
        "limits": {format!("{SONG}-key"): 1},
    })
}

/// A model that repeats whatever it is told, answers `judge` wrongly first, and fails for Bob.
fn parrot() -> FakeModel {
    FakeModel::answering(|request| {
        let prompt = request.prompt();
        if prompt.starts_with("judge") {
            if prompt.contains("could not be used") {
                return Reply::json(json!({"verdict": format!("{SONG} verdict")}));
            }
            return Reply::text(format!("{SONG} is guilty, says the {CANARY}"));
        }
        if prompt.contains("Bob") && prompt.starts_with("greet") {
            let message = format!("no such person: {prompt:?}");
            return Reply::status(400).error_body(json!({"error": {"message": message}}));
        }
        Reply::json(json!({"result": format!("You said {prompt}.")}))
    })
}

#[track_caller]
fn assert_silent(what: &str, text: &str) {
    assert!(!text.to_lowercase().contains(SONG), "{what}:\n{text}");
}

async fn text_of(url: &str) -> String {
    let response = client().get(url).send().await.expect("an answer");
    response.text().await.expect("text")
}

/// A streamed run: its events, and the last message by itself.
async fn streamed(url: &str, inputs: &Value) -> (String, String) {
    let request = client().post(format!("{url}/run")).json(inputs);
    let response = request
        .header("accept", "text/event-stream")
        .send()
        .await
        .expect("an answer");
    let text = response.text().await.expect("text");
    let mut messages: Vec<&str> = text.trim_end().split("\n\n").collect();
    let result = messages.pop().expect("a result").to_owned();
    (messages.join("\n\n"), result)
}

#[tokio::test]
async fn a_server_tells_a_canary_to_nobody_but_its_caller() {
    let model = parrot();
    let project = project();
    let mut server = start_with(
        &model,
        &project,
        "secrets.yaml --log-level debug --log-format json",
    );
    let url = server.url();

    // One that completes: its caller gets all of it, whoever watches none.
    let (events, result) = streamed(&url, &inputs("Cy")).await;
    assert!(
        events.contains("llm_delta") && events.contains("node_retried"),
        "{events}"
    );
    assert!(events.contains("[sensitive]"), "{events}");
    assert_silent("streamed events", &events);
    assert!(result.contains(&format!("{SONG} verdict")), "{result}");
    let (status, answer) = post(format!("{url}/run"), inputs("Cy")).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outputs"]["secret"], json!(CANARY));
    assert_eq!(
        answer["outputs"]["lines"][1],
        json!(format!("You said greet {SONG} Cy."))
    );
    let done = answer["job_id"].as_str().expect("an id").to_owned();
    let status: Value =
        serde_json::from_str(&text_of(&format!("{url}/status/{done}")).await).expect("JSON");
    assert_eq!(status["outputs"], answer["outputs"]);

    // One that fails, in the fan-out, with the canary in the provider's error.
    let (status, problem) = post(format!("{url}/run"), inputs("Bob")).await;
    assert_eq!(status, 500, "{problem}");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("greet")),
        "{problem}"
    );
    assert_silent("the problem", &problem.to_string());
    let failed = problem["job_id"].as_str().expect("an id").to_owned();
    assert_silent(
        "the failed status",
        &text_of(&format!("{url}/status/{failed}")).await,
    );

    // Inputs that do not fit.
    let mut odd = inputs("Cy");
    odd["limits"] = json!({format!("{SONG}-key"): SONG});
    odd["people"] = json!([SONG, 5]);
    odd["account"] = json!({"number": 5, "city": 5});
    odd.as_object_mut().expect("an object").remove("secret");
    for accept in ["application/json", "application/problem+json"] {
        let request = client()
            .post(format!("{url}/run"))
            .json(&odd)
            .header("accept", accept);
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 422);
        let faults = response.text().await.expect("text");
        assert!(faults.contains("limits"), "{faults}");
        assert_silent("faults", &faults);
    }

    // What anybody may look at later.
    for path in ["jobs", "", "schema", "openapi.json", "workflows", "health"] {
        assert_silent(path, &text_of(&format!("{url}/{path}")).await);
    }
    for id in [&done, &failed] {
        let events = text_of(&format!("{url}/jobs/{id}/events")).await;
        assert!(
            events.contains("node_completed") && events.contains("[sensitive]"),
            "{events}"
        );
        assert!(!events.contains("sealed"), "{events}");
        assert_silent("events", &events);
    }
    for line in ["list", "list --format json"] {
        let ended = run_in(
            project.root(),
            words(&format!("jobs {line} --server {url}")),
        )
        .exits(0);
        assert_silent(line, &ended.stdout);
    }

    // Repeated from where it failed, what had completed is still what it was.
    let asked_before = model.requests().len();
    let (status, again) = call(
        Method::POST,
        format!("{url}/jobs/{failed}/retry"),
        None,
        None,
    )
    .await;
    assert_eq!(status, 202, "{again}");
    let again = again["job_id"].as_str().expect("an id").to_owned();
    assert_silent(
        "a retry's events",
        &text_of(&format!("{url}/jobs/{again}/events")).await,
    );
    // Beside it, perhaps, the other item, if that was not done when the first run failed.
    let asked: Vec<String> = model.requests()[asked_before..]
        .iter()
        .map(|request| request.prompt().to_owned())
        .collect();
    assert!(asked.contains(&format!("greet {SONG} Bob")), "{asked:?}");

    server.signal("TERM");
    let ended = server.ended();
    assert!(
        ended.stderr.contains("answered"),
        "it logs at debug level: {}",
        ended.stderr
    );
    assert_silent("the log", &ended.stderr);
    assert_silent("stdout", &ended.stdout);

    // The file of the server that has ended.
    for line in [
        format!("events {done}"),
        format!("events {done} --format json"),
        format!("events {failed} --format json"),
    ] {
        let ended = run_in(
            project.root(),
            words(&format!("jobs {line} --store sqlite:flowmill.db")),
        )
        .exits(0);
        assert!(!ended.stdout.contains("sealed"), "{}", ended.stdout);
        assert_silent(&line, &ended.stdout);
    }
}

/// `flowmill run` with a model.
fn run(model: &FakeModel, project: &TempProject, last: &str, line: &str) -> Ended {
    std::fs::write(project.root().join("inputs.json"), inputs(last).to_string())
        .expect("it is written");
    let mut command = flowmill(
        project.root(),
        words("run secrets.yaml --inputs inputs.json --model openai/test"),
    );
    command
        .args(words(line))
        .env("OPENAI_BASE_URL", model.base_url())
        .env("OPENAI_API_KEY", "none");
    Ended::of(&mut command)
}

#[test]
fn the_command_line_tells_a_canary_on_stdout_alone() {
    let model = parrot();
    let project = project();
    let completed = run(&model, &project, "Cy", "--log-level trace").exits(0);
    assert!(
        completed.stdout.contains(&format!("{SONG} verdict")),
        "{}",
        completed.stdout
    );
    assert!(completed.stderr.contains("judge"), "{}", completed.stderr);
    assert_silent("progress", &completed.stderr);

    let events = run(&model, &project, "Cy", "--events").exits(0);
    assert!(events.stdout.contains("run_completed"), "{}", events.stdout);
    assert_silent("events", &events.stdout);

    for line in ["", "--format json", "--events"] {
        let failed = run(&model, &project, "Bob", line).exits(1);
        assert!(failed.stderr.contains("greet"), "{}", failed.stderr);
        assert_silent(line, &format!("{}\n{}", failed.stdout, failed.stderr));
    }

    let odd =
        json!({"secret": 5, "account": {"number": [SONG]}, "people": SONG, "limits": {SONG: SONG}});
    for format in ["pretty", "json"] {
        let inputs = odd.to_string();
        std::fs::write(project.root().join("odd.json"), inputs).expect("it is written");
        let line = format!("run secrets.yaml --offline --inputs odd.json --format {format}");
        let refused = run_in(project.root(), words(&line)).exits(3);
        assert_silent(format, &format!("{}\n{}", refused.stdout, refused.stderr));
    }
}

#[test]
fn no_cassette_is_made_of_a_canary() {
    let model = parrot();
    let project = project();
    let refused = run(&model, &project, "Cy", "--record tape.jsonl")
        .exits(2)
        .says(&[
            "--record would write the sensitive field `secret`",
            "without `sensitive`",
        ]);
    assert_silent("the refusal", &refused.stderr);
    run_in(
        project.root(),
        words("serve secrets.yaml --offline --record tape.jsonl"),
    )
    .exits(2)
    .says(&["--record would write the sensitive field `secret`"]);
    assert!(!project.root().join("tape.jsonl").exists());
    assert_eq!(model.calls(), 0);
}
