//! What a workflow may reach: addresses in its file, and no file at all.

use std::path::{Path, PathBuf};

use serde_json::json;
use testing::{FakeModel, TempProject};

use crate::http::{client, serve};
use crate::support::{Ended, Running, flowmill, root, words};

/// One node, whose model is asked at that address.
fn asking(api_base: &str) -> TempProject {
    let text = format!(
        r#"
schema_version: "1.0"
flow: {{name: reach}}
state:
  fields:
    host: {{type: str, required: true}}
    answer: {{type: str}}
nodes:
  - {{id: ask, prompt: "ask {{host}}", output_schema: {{type: str}}, outputs: [answer]}}
edges:
  - {{from: START, to: ask}}
  - {{from: ask, to: END}}
config:
  execution: {{max_retries: 1}}
  llm: {{provider: openai, model: m, api_base: "{api_base}"}}
"#
    );
    TempProject::with_file("reach.yaml", text)
}

fn run(project: &TempProject, options: &str) -> Ended {
    let line = format!("run reach.yaml -i host=127.0.0.1 {options}");
    Ended::of(&mut flowmill(project.root(), words(&line)))
}

/// The model by a name that leads to loopback.
fn by_name(model: &FakeModel) -> String {
    format!("http://localhost:{}/v1", model.address().port())
}

#[test]
fn a_file_may_name_a_server_of_ones_own_and_not_where_clouds_keep_credentials() {
    let model = FakeModel::start();
    run(&asking(&model.base_url()), "").exits(0);
    run(&asking(&by_name(&model)), "").exits(0);
    for address in [
        "http://169.254.169.254/latest/meta-data",
        "http://0xa9fea9fe/",
        "http://[::ffff:169.254.169.254]/v1",
        "http://[fd00:ec2::254]/v1",
        "http://100.100.100.200/v1",
    ] {
        let project = asking(address);
        run(&project, "")
            .exits(5)
            .says(&["may not be reached", "--model-allow"]);
        let served = Ended::of(&mut serve(&project, "reach.yaml"));
        served.exits(5).says(&["may not be reached"]);
    }
}

#[test]
fn with_a_list_a_file_may_name_the_internet_and_what_is_on_it() {
    let model = FakeModel::start();
    let project = asking(&by_name(&model));
    // Where the name leads is found out when it is resolved.
    run(&project, "--model-allow 10.0.0.0/8")
        .exits(1)
        .says(&["localhost:", "may not be reached"]);
    let literal = asking(&model.base_url());
    run(&literal, "--model-allow 10.0.0.0/8").exits(5);
    project.write(
        "flowmill.toml",
        "[models]\nmodel_allow = [\"10.0.0.0/8\", \"*.internal\"]\n",
    );
    run(&project, "").exits(1).says(&["may not be reached"]);
    assert_eq!(model.calls(), 0);

    run(&project, "--model-allow localhost").exits(0);
    run(&project, "--model-allow 127.0.0.0/8,::1").exits(0);
    assert_eq!(model.calls(), 2);
}

#[test]
fn an_address_of_the_operators_is_not_judged() {
    let model = FakeModel::start();
    let project = asking("");
    let line = "run reach.yaml -i host=x --model-allow 10.0.0.0/8";
    let mut command = flowmill(project.root(), words(line));
    Ended::of(command.env("OPENAI_BASE_URL", model.base_url())).exits(0);
    assert_eq!(model.calls(), 1);
}

#[test]
fn an_input_is_no_part_of_an_address() {
    let model = FakeModel::start();
    let port = model.address().port();
    for address in [
        format!("http://{{host}}:{port}/v1"),
        format!("http://{{{{host}}}}:{port}/v1"),
        format!("http://${{host}}:{port}/v1"),
    ] {
        let ended = run(&asking(&address), "");
        assert_ne!(ended.code, Some(0), "{address}: {}", ended.stdout);
    }
    assert_eq!(model.calls(), 0);
}

/// A file with this text must not be read by a run.
const HIDDEN: &str = "nobody may read this";

/// Names a file wherever the language takes a text.
fn naming_files(model: &FakeModel) -> TempProject {
    let base = model.base_url();
    let project = TempProject::with_file(
        "reach.yaml",
        format!(
            r#"
schema_version: "1.0"
flow: {{name: reach, description: "@hidden.txt"}}
state:
  fields:
    host: {{type: str, required: true}}
    path: {{type: str, default: "@hidden.txt"}}
    answer: {{type: str}}
nodes:
  - id: ask
    description: file://hidden.txt
    prompt: "@hidden.txt {{path}} {{host}} file://hidden.txt ../hidden.txt"
    inputs: {{path: "{{path}}", host: "{{host}}"}}
    output_schema: {{type: str}}
    outputs: [answer]
edges:
  - {{from: START, to: ask}}
  - {{from: ask, to: END}}
config:
  llm: {{provider: openai, model: m, api_base: "{base}"}}
  storage: {{backend: sqlite, path: ./made.db}}
  observability: {{mlflow: {{enabled: true, tracking_uri: "file://./made"}}}}
"#
        ),
    );
    project.write("hidden.txt", HIDDEN);
    project
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn nothing_in_a_workflow_or_a_request_names_a_file() {
    let model = FakeModel::start();
    let project = naming_files(&model);
    let before = files(project.root());
    run(&project, "--input path=x").exits(0);
    assert_eq!(files(project.root()), before, "a run made a file");

    let mut server = Running::start(&mut serve(&project, "reach.yaml --store memory"));
    let url = server.url();
    let inputs = json!({"host": "@hidden.txt", "path": "file://hidden.txt"});
    let asked = client().post(format!("{url}/run")).json(&inputs).send();
    let answer = asked.await.expect("an answer").text().await.expect("text");
    assert!(answer.contains("\"success\""), "{answer}");
    assert!(!answer.contains(HIDDEN), "{answer}");
    let asked = model.requests();
    let prompt = asked.last().expect("a call").prompt();
    assert!(prompt.contains("file://hidden.txt @hidden.txt"), "{prompt}");
    for request in &asked {
        assert!(
            !request.body.to_string().contains(HIDDEN),
            "{}",
            request.body
        );
    }
    assert_eq!(files(project.root()), before, "the server made a file");
}

/// Every source below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let (folders, files): (Vec<_>, Vec<_>) =
        files(folder).into_iter().partition(|path| path.is_dir());
    let inner = folders.iter().flat_map(|folder| sources(folder));
    files.into_iter().chain(inner).collect()
}

#[test]
fn only_the_command_line_and_the_store_open_files() {
    let mut read = 0;
    let mut found = Vec::new();
    for layer in [
        "lang",
        "llm",
        "outbound",
        "engine",
        "deploy",
        "service",
        "telemetry",
        "server",
        "jobs",
    ] {
        for path in sources(&root().join("crates").join(layer).join("src")) {
            let is_store = path
                .components()
                .any(|part| part.as_os_str().to_string_lossy().starts_with("sqlite"));
            let is_source = path.extension().is_some_and(|extension| extension == "rs");
            if is_store || !is_source || path.ends_with("tests.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("UTF-8");
            let product = text
                .split("#[cfg(test)]")
                .next()
                .expect("split gives one at least");
            let ways = [
                "std::fs",
                "tokio::fs",
                "fs::",
                "File::open",
                "File::create",
                "OpenOptions",
            ];
            for way in ways.into_iter().filter(|way| product.contains(way)) {
                found.push(format!("{}: {way}", path.display()));
            }
            read += 1;
        }
    }
    assert!(read > 200, "{read} sources");
    assert!(found.is_empty(), "{found:#?}");
}
