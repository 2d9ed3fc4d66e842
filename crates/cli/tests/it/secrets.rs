//! A canary in every credential that the program knows, providers that repeat theirs, and
//! everything that the program says or writes searched for it.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use testing::{Act, Echo, Manner, Receiver, Sink, TempProject};

use crate::http::{client, serve};
use crate::support::{Ended, Running, flowmill, words};

/// In every credential, and in nothing else.
const CANARY: &str = "canary";

const ADMIN: &str = "fm_ops_canary0123456789canary0123456789";

/// The providers and the variable that holds each one's key.
const PROVIDERS: [(&str, &str); 3] = [
    ("openai", "OPENAI_API_KEY"),
    ("anthropic", "ANTHROPIC_API_KEY"),
    ("google", "GOOGLE_API_KEY"),
];

/// The password in the address of the fourth, which has no key.
const PASSWORD: &str = "canary-of-ollama";

fn workflow(name: &str, llm: &str) -> String {
    format!(
        r#"
schema_version: "1.0"
flow: {{name: {name}}}
state:
  fields:
    word: {{type: str, required: true}}
    answer: {{type: str}}
nodes:
  - {{id: ask, prompt: "ask {{word}}", output_schema: {{type: str}}, outputs: [answer]}}
edges:
  - {{from: START, to: ask}}
  - {{from: ask, to: END}}
config:
  execution: {{max_retries: 1}}
  llm: {llm}
"#
    )
}

/// A workflow for each provider and each way it answers; their names.
fn workflows(project: &TempProject, echo: &Echo) -> Vec<String> {
    let mut names = Vec::new();
    for way in Echo::WAYS {
        for (provider, _) in PROVIDERS {
            let (name, to) = (format!("{provider}-{way}"), echo.authority());
            let llm =
                format!("{{provider: {provider}, model: m, api_base: \"http://{to}/{way}\"}}");
            project.write(format!("{name}.yaml"), workflow(&name, &llm));
            names.push(name);
        }
    }
    let name = "ollama-refuse".to_owned();
    let llm = "{provider: ollama, model: m}";
    project.write(format!("{name}.yaml"), workflow(&name, llm));
    names.push(name);
    names
}

/// Everything that is secret, in `.env`.
fn environment(echo: &Echo, mlflow: &str, collector: &str, receiver: &Receiver) -> String {
    let with_password = |url: &str| url.replace("://", "://user:canary-in-address@");
    let mut lines = vec![
        format!(
            "OLLAMA_HOST=http://user:{PASSWORD}@{}/refuse",
            echo.authority()
        ),
        format!("FLOWMILL_API_KEYS={ADMIN}:admin"),
        format!(
            "FLOWMILL_WEBHOOK_URL=http://canary:canary@{}/hook?key=canary",
            receiver.address()
        ),
        "FLOWMILL_WEBHOOK_SECRET=whsec_canarycanarycanarycanarycanarycanarycana".to_owned(),
        "FLOWMILL_WEBHOOK_ALLOW=127.0.0.1".to_owned(),
        format!("MLFLOW_TRACKING_URI={}", with_password(mlflow)),
        "MLFLOW_TRACKING_TOKEN=canary-of-mlflow".to_owned(),
        format!("OTEL_EXPORTER_OTLP_ENDPOINT={}", with_password(collector)),
        "OTEL_EXPORTER_OTLP_HEADERS=authorization=canary-of-otlp".to_owned(),
    ];
    lines.extend(PROVIDERS.map(|(provider, key)| format!("{key}=canary-of-{provider}")));
    lines.join("\n")
}

/// As it is, and as it is sent for a name and a password.
#[track_caller]
fn assert_silent(what: &str, text: &str) {
    let basic = STANDARD.encode(format!("user:{PASSWORD}"));
    for secret in [CANARY, &basic] {
        if let Some((before, _)) = text.split_once(secret) {
            let from = before.len().saturating_sub(200);
            let near = before.get(from..).unwrap_or_default();
            panic!("{what} has {secret} after …{near}");
        }
    }
}

/// Every file below a folder but `.env`.
#[track_caller]
fn assert_files_silent(folder: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            count += assert_files_silent(&path);
        } else if path.file_name().is_some_and(|name| name != ".env") {
            let bytes = std::fs::read(&path).expect("readable");
            assert_silent(
                &path.display().to_string(),
                &String::from_utf8_lossy(&bytes),
            );
            count += 1;
        }
    }
    count
}

async fn text_of(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = request.bearer_auth(ADMIN).send().await.expect("an answer");
    let head = format!("{:?}", response.headers());
    let status = response.status().as_u16();
    (status, head + &response.text().await.expect("text"))
}

#[tokio::test]
async fn a_server_tells_nobody_a_secret_that_it_was_trusted_with() {
    let (echo, mlflow, collector) = (
        Echo::start(),
        Sink::start(Manner::Fine),
        Sink::start(Manner::Fine),
    );
    let receiver =
        Receiver::acting(|number, _| Act::Answer(if number % 2 == 0 { 500 } else { 204 }));
    let project = TempProject::new();
    let names = workflows(&project, &echo);
    project.write(
        ".env",
        environment(&echo, &mlflow.url(), &collector.url(), &receiver),
    );
    let files: Vec<String> = names.iter().map(|name| format!("{name}.yaml")).collect();
    let options = "--log-level trace --log-format json --record tape.jsonl";
    let line = format!("{} {options}", files.join(" "));
    let mut server = Running::start(&mut serve(&project, &line));
    let url = server.url();

    let mut masked = HashSet::new();
    for name in &names {
        for accept in ["application/json", "text/event-stream"] {
            let request = client()
                .post(format!("{url}/workflows/{name}/run"))
                .header("accept", accept)
                .json(&json!({"word": "bees"}));
            let (status, answer) = text_of(request).await;
            assert_ne!(status, 404, "{name}: {answer}");
            assert_silent(&format!("{name} as {accept}"), &answer);
            if answer.contains("***") {
                masked.insert(name.as_str());
            }
        }
    }
    // What was hidden had been there.
    for name in &names {
        let is_told = ["-refuse", "-fail", "-error", "-stream"];
        let is_told = is_told.iter().any(|way| name.ends_with(way));
        assert!(!is_told || masked.contains(name.as_str()), "{name}");
    }
    assert!(echo.calls() >= 2 * names.len(), "{}", echo.calls());
    for (provider, _) in PROVIDERS {
        assert!(
            echo.has_heard(&format!("canary-of-{provider}")),
            "{provider}"
        );
    }
    assert!(echo.has_heard(&STANDARD.encode(format!("user:{PASSWORD}"))));

    for path in [
        "jobs?limit=100",
        "",
        "workflows",
        "metrics",
        "keys",
        "health",
        "workflows/openai-refuse/openapi.json",
    ] {
        let (status, answer) = text_of(client().get(format!("{url}/{path}"))).await;
        assert!(matches!(status, 200 | 300 | 409), "{path}: {status}");
        assert_silent(path, &answer);
    }
    let (_, jobs) = text_of(client().get(format!("{url}/jobs?limit=100"))).await;
    let ids: Vec<&str> = jobs
        .split("\"job_id\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert_eq!(ids.len(), 2 * names.len(), "{jobs}");
    for id in ids {
        for path in [format!("jobs/{id}"), format!("jobs/{id}/events")] {
            let (_, answer) = text_of(client().get(format!("{url}/{path}"))).await;
            assert_silent(&path, &answer);
        }
    }
    for message in receiver.got(2 * names.len()).await {
        assert_silent("a webhook", &String::from_utf8_lossy(&message.body));
    }

    server.signal("TERM");
    let ended = server.ended();
    assert!(ended.stderr.contains("\"TRACE\""), "it logs everything");
    assert_silent("the log", &ended.stderr);
    assert_silent("stdout", &ended.stdout);
    for (what, sink) in [("MLflow", &mlflow), ("the collector", &collector)] {
        let arrived = sink.received("/");
        assert!(!arrived.is_empty(), "{what} got something");
        for request in arrived {
            assert_silent(what, &request.path);
            assert_silent(what, &String::from_utf8_lossy(&request.body));
        }
    }
    for line in [
        "jobs list --all --format json",
        "report costs --by model",
        "report runs --format json",
    ] {
        let line = format!("{line} --store sqlite:flowmill.db --log-level trace");
        let said = Ended::of(&mut flowmill(project.root(), words(&line))).exits(0);
        assert_silent(&line, &(said.stdout + &said.stderr));
    }
    // The store, the cassette.
    assert!(project.path("tape.jsonl").is_file() && project.path("flowmill.db").is_file());
    assert_files_silent(project.root());
}

#[test]
fn the_command_line_tells_nobody_either() {
    let echo = Echo::start();
    // Telemetry is refused, with what it was sent.
    let refusing = format!("http://{}/refuse", echo.authority());
    let project = TempProject::new();
    let names = workflows(&project, &echo);
    project.write(
        ".env",
        environment(&echo, &refusing, &refusing, &Receiver::start()),
    );
    let run = |line: &str| {
        let mut command: Command = flowmill(project.root(), words(line));
        let said = Ended::of(&mut command);
        assert_silent(line, &format!("{}{}", said.stdout, said.stderr));
        said
    };
    for name in &names {
        for format in ["--format json", "--events", ""] {
            run(&format!(
                "run {name}.yaml -i word=bees {format} --log-level trace"
            ));
        }
    }
    assert!(echo.has_heard("canary-of-google"));
    let masked = run("run openai-refuse.yaml -i word=bees --format json").exits(1);
    assert!(masked.stdout.contains("***"), "{}", masked.stdout);

    for line in [
        "validate openai-refuse.yaml",
        "mlflow check --log-level trace",
        "serve no-such-file.yaml",
        "serve openai-refuse.yaml --webhook-url ftp://canary@x/canary",
        "serve openai-refuse.yaml --webhook-url http://127.0.0.2/canary",
        "serve openai-refuse.yaml --webhook-url https://x.example --webhook-secret canary",
        "serve openai-refuse.yaml --api-keys canary",
        "serve openai-refuse.yaml --api-keys fm_x_canary",
        "jobs list --server http://127.0.0.1:1 --api-key canary --log-level trace",
        "run openai-refuse.yaml --model acme/m",
    ] {
        run(line);
    }
    let bad_line = std::fs::read_to_string(project.path(".env")).expect("it is there");
    project.write("bad.env", format!("{bad_line}\nBAD=a 'canary\ncanary\n"));
    run("deploy openai-refuse.yaml --env-file bad.env").exits(2);
    std::fs::remove_file(project.path("bad.env")).expect("it was there");
    run("deploy openai-refuse.yaml --generate").exits(0);
    assert!(assert_files_silent(&project.path("deploy")) > 8);
    assert_files_silent(project.root());
}
