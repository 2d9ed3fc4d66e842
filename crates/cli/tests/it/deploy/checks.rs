//! What is refused before anything is written, each with its way out. Where an engine is asked, a
//! program named `docker` plays it.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use testing::TempProject;

use super::rig::free_port;
use crate::support::{Ended, GREETING, flowmill, greeting, root, words};

/// `flowmill deploy greeting.yaml`, asking a `docker` that behaves as the script says.
fn deploy(project: &TempProject, script: &str, options: &str) -> Command {
    let docker = project.write("bin/docker", format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(docker, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let path = format!("{}:/usr/bin:/bin", project.path("bin").display());
    let mut command = flowmill(project.root(), words("deploy greeting.yaml"));
    command.args(words(options)).env("PATH", path);
    command
}

/// An engine with these containers.
fn engine(containers: &str) -> String {
    format!(
        "case \"$1\" in\n\
         version) echo linux/amd64 ;;\n\
         ps) echo '{containers}' ;;\n\
         container) echo '{{\"Config\": {{\"Labels\": {{\"io.flowmill.deployment\": \"greeting\"}}}}}}' ;;\n\
         *) exit 9 ;;\n\
         esac"
    )
}

/// Refused with that code and those words, with nothing written.
#[track_caller]
fn refused(mut command: Command, project: &TempProject, code: i32, texts: &[&str]) {
    Ended::of(&mut command).exits(code).says(texts);
    assert!(!project.path("deploy").exists(), "something was written");
}

#[test]
fn an_invalid_workflow() {
    let project =
        TempProject::with_file("greeting.yaml", GREETING.replace("to: greet", "to: gret"));
    refused(
        deploy(&project, "exit 9", ""),
        &project,
        3,
        &["FM0501", "is not valid"],
    );
}

#[test]
fn docker_is_not_installed() {
    let project = greeting();
    let mut command = deploy(&project, "", "--offline");
    command.env("PATH", project.path("nothing"));
    refused(
        command,
        &project,
        5,
        &["`docker` is not installed", "--generate"],
    );
}

#[test]
fn the_engine_does_not_run() {
    let project = greeting();
    let script =
        "echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2; exit 1";
    refused(
        deploy(&project, script, "--offline"),
        &project,
        5,
        &[
            "engine does not answer",
            "Cannot connect",
            "systemctl start docker",
        ],
    );
    let script = "echo 'permission denied while trying to connect' >&2; exit 1";
    refused(
        deploy(&project, script, "--offline"),
        &project,
        5,
        &["group `docker`"],
    );
}

#[test]
fn the_port_is_in_use() {
    let project = greeting();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    refused(
        deploy(&project, &engine(""), &format!("--offline --port {port}")),
        &project,
        4,
        &["is in use", "--port"],
    );
}

#[test]
fn the_name_is_taken() {
    let project = greeting();
    let options = format!("--offline --port {}", free_port());
    refused(
        deploy(&project, &engine("greeting"), &options),
        &project,
        4,
        &["there already is a container `greeting`", "--replace"],
    );
    let foreign = engine("greeting").replace("io.flowmill.deployment", "other");
    refused(
        deploy(&project, &foreign, &format!("{options} --replace")),
        &project,
        4,
        &["that flowmill did not create", "--name"],
    );
}

#[test]
fn a_name_that_docker_would_refuse() {
    let project = greeting();
    refused(
        deploy(&project, &engine(""), "--offline --name=-Ä-"),
        &project,
        2,
        &["cannot name a container", "--name workflow"],
    );
}

#[test]
fn the_program_is_dynamic_and_there_is_no_other() {
    let project = greeting();
    let options = format!("--offline --port {} --binary bin/docker", free_port());
    refused(
        deploy(&project, &engine(""), &options),
        &project,
        5,
        &["is not a Linux program", "scripts/dist"],
    );
    let own = env!("CARGO_BIN_EXE_flowmill");
    let options = format!("--offline --port {} --binary {own}", free_port());
    refused(
        deploy(&project, &engine(""), &options),
        &project,
        5,
        &["is dynamically linked"],
    );
}

#[test]
fn the_file_of_variables() {
    let project = greeting();
    let named = deploy(&project, &engine(""), "--env-file keys.env");
    refused(
        named,
        &project,
        4,
        &["`keys.env` does not exist", "--no-env-file"],
    );
    project.write("keys.env", "GOOD=1\nsk-secret-without-a-name\nBAD=a b 'c\n");
    let malformed = Ended::of(&mut deploy(&project, &engine(""), "--env-file keys.env"))
        .exits(2)
        .says(&["`keys.env` cannot be read as variables", "NAME=value"]);
    assert!(
        !malformed.stderr.contains("sk-secret"),
        "{}",
        malformed.stderr
    );
}

#[test]
fn a_variable_that_is_needed() {
    let project = greeting();
    let openai = "--model openai/m";
    refused(
        deploy(&project, &engine(""), openai),
        &project,
        5,
        &["OPENAI_API_KEY is not set", ".env", "--offline"],
    );
    project.write("keys.env", "OPENAI_API_KEY=\n");
    refused(
        deploy(
            &project,
            &engine(""),
            &format!("{openai} --env-file keys.env"),
        ),
        &project,
        5,
        &["OPENAI_API_KEY is not set", "keys.env"],
    );
    // A model of this machine is another machine's, seen from a container.
    refused(
        deploy(&project, &engine(""), "--model ollama/m"),
        &project,
        5,
        &["OLLAMA_HOST=http://host.docker.internal:11434"],
    );
    // What the shell has is taken along; the next check is reached.
    let mut command = deploy(&project, "exit 1", openai);
    command.env("OPENAI_API_KEY", "sk-1");
    refused(command, &project, 5, &["engine does not answer"]);
    let mut command = deploy(&project, "exit 1", openai);
    command
        .env("OPENAI_API_KEY", "sk-1")
        .env("OPENAI_BASE_URL", "http://127.0.0.1:1/v1");
    refused(
        command,
        &project,
        5,
        &["OPENAI_BASE_URL is a loopback address"],
    );
}

#[test]
fn an_address_that_the_container_would_not_ask() {
    let llm = "{provider: openai, model: m, api_base: 'http://169.254.169.254/v1'}";
    let text = format!("{GREETING}config: {{llm: {llm}}}\n");
    let project = TempProject::with_file("greeting.yaml", text);
    let texts = ["not deployed", "may not be reached", "--model-allow"];
    refused(deploy(&project, "exit 9", ""), &project, 5, &texts);
    let allowed = deploy(&project, "exit 1", "--model-allow 169.254.169.254");
    refused(allowed, &project, 5, &["engine does not answer"]);
}

#[test]
fn options_that_contradict() {
    let project = greeting();
    for (options, text) in [
        ("--offline --mlflow", "--target compose"),
        ("--offline --host 0.0.0.0", "--insecure"),
        (
            "--offline --store sqlite:/var/lib/jobs.db",
            "would not outlive the container",
        ),
        ("--offline --push", "--registry"),
        ("--offline --platform linux/riscv64", "linux/arm64"),
        ("--offline --record tape", "cannot record a cassette"),
    ] {
        refused(deploy(&project, &engine(""), options), &project, 2, &[text]);
    }
}

#[test]
fn a_server_that_others_reach_without_keys() {
    let project = greeting();
    let go_on = |options: &str| {
        let mut command = deploy(&project, "exit 1", options);
        Ended::of(&mut command)
            .exits(5)
            .says(&["engine does not answer"]);
    };
    for options in ["--host 0.0.0.0", "--target kubernetes"] {
        let refused_ones = deploy(&project, "exit 9", &format!("--offline {options}"));
        let texts = ["no API keys are set up", "FLOWMILL_API_KEYS", "--insecure"];
        refused(refused_ones, &project, 2, &texts);
        go_on(&format!("--offline {options} --insecure"));
        let mut command = deploy(&project, "exit 1", &format!("--offline {options}"));
        command.env("FLOWMILL_API_KEYS", KEY);
        refused(command, &project, 5, &["engine does not answer"]);
    }
    // What the cluster's secret holds is not known here.
    go_on("--offline --target kubernetes --no-env-file");
    project.write(".env", format!("FLOWMILL_API_KEYS={KEY}:admin\n"));
    go_on("--offline --host 0.0.0.0");
}

const KEY: &str = "fm_shop_0123456789abcdef0123456789abcdef";

#[test]
fn a_list_of_keys_that_the_server_would_refuse() {
    let project = greeting();
    for list in ["hush-hush", &format!("{KEY}:hush"), &format!("{KEY} {KEY}")] {
        project.write(".env", format!("FLOWMILL_API_KEYS='{list}'\n"));
        let mut command = deploy(&project, "exit 9", "--offline");
        let ended = Ended::of(&mut command)
            .exits(2)
            .says(&["FLOWMILL_API_KEYS: key "]);
        assert!(!ended.stderr.contains("hush-hush"), "{}", ended.stderr);
        assert!(!ended.stderr.contains(KEY), "{}", ended.stderr);
    }
    assert!(!project.path("deploy").exists());
}

/// A workflow with a gate that forbids deployment at that many tokens.
fn gated(max: u32) -> String {
    format!(
        "{GREETING}config: {{gates: {{gates: [{{metric: total_tokens, max: {max}}}], on_fail: block_deploy}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_the_latest_run_failed() {
    let project = TempProject::with_file("greeting.yaml", gated(1));
    // Nothing was recorded yet: only Docker is in the way.
    refused(
        deploy(&project, "exit 1", "--offline"),
        &project,
        5,
        &["engine does not answer"],
    );

    let run = async |text: String| {
        project.write("greeting.yaml", text);
        let mut server = crate::http::start(&project, "greeting.yaml --offline");
        let url = server.url();
        let body = serde_json::json!({ "name": "Ada" });
        let (status, answer) = crate::http::post(format!("{url}/run"), body).await;
        assert_eq!(status, 200, "{answer}");
        server.signal("TERM");
        server.end();
    };
    run(gated(1)).await;
    refused(
        deploy(&project, "exit 1", "--offline"),
        &project,
        1,
        &[
            "the latest recorded run of `greeting` failed a gate",
            "Gate `total_tokens`",
            "--ignore-gates",
        ],
    );
    let ignoring = deploy(&project, "exit 1", "--offline --ignore-gates");
    refused(ignoring, &project, 5, &["engine does not answer"]);
    let elsewhere = deploy(&project, "exit 1", "--offline --runs sqlite:other.db");
    refused(elsewhere, &project, 5, &["engine does not answer"]);

    run(gated(100_000)).await;
    refused(
        deploy(&project, "exit 1", "--offline"),
        &project,
        5,
        &["engine does not answer"],
    );
}

#[test]
fn undeploying_what_is_not_there_or_not_ours() {
    let project = greeting();
    let undeploy = |script: &str| {
        let path = deploy(&project, script, "")
            .get_envs()
            .find_map(|(name, value)| value.filter(|_| name == "PATH").map(ToOwned::to_owned))
            .expect("it has a path");
        Ended::of(flowmill(project.root(), words("undeploy greeting")).env("PATH", path))
    };
    undeploy(&engine(""))
        .exits(1)
        .says(&["no container is named `greeting`"]);
    let foreign = engine("greeting").replace("io.flowmill.deployment", "other");
    undeploy(&foreign)
        .exits(1)
        .says(&["was not created by flowmill"]);
}

#[test]
fn every_example_says_which_variables_it_needs() {
    for file in crate::examples::examples() {
        let project = TempProject::new();
        let path = file.to_str().expect("UTF-8");
        crate::support::run_in(project.root(), ["deploy", path, "--generate"]).exits(0);
        let example = project.read("deploy/.env.example");
        assert!(example.contains("\nGOOGLE_API_KEY=\n"), "{path}: {example}");
        let source = std::fs::read_to_string(root().join(path)).expect("the example");
        let packaged = project.read("deploy/workflow.yaml");
        assert_eq!(packaged, source);
    }
}
