//! `--replace`: what was chosen for a deployment is kept with its container. A program named
//! `docker` plays the engine and notes what it is asked.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};
use testing::TempProject;

use super::rig::free_port;
use crate::support::{Ended, Running, flowmill, greeting, words};

/// Plays an engine with the containers in `names`, each of which is described in `container.json`.
const ENGINE: &str = r#"#!/bin/sh
printf '%s\n' "$@" >> calls
case "$1" in
version) echo linux/amd64 ;;
ps) cat names ;;
container) cat container.json ;;
image) case "$*" in *RepoTags*) cat tags ;; *) echo 1000000 ;; esac ;;
import) cat > /dev/null ;;
start) exit "$(cat starts)" ;;
esac
"#;

pub(super) struct Engine(pub(super) TempProject);

impl Engine {
    /// With no container, and a program that could go into an image.
    pub(super) fn new() -> Self {
        let project = greeting();
        let docker = project.write("bin/docker", ENGINE);
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(docker, executable).expect("it is ours");
        let mut program = vec![0; 64];
        program[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (program[6], program[16], program[18]) = (1, 2, 62);
        std::fs::write(project.path("program"), program).expect("it is ours");
        for (file, content) in [
            ("names", ""),
            ("starts", "1"),
            ("tags", "0"),
            ("keys.env", "A=1\n"),
        ] {
            project.write(file, content);
        }
        Self(project)
    }

    pub(super) fn deploy(&self, options: &str) -> Command {
        let _ = std::fs::remove_file(self.0.path("calls"));
        let path = format!("{}:/usr/bin:/bin", self.0.path("bin").display());
        let mut command = flowmill(
            self.0.root(),
            words("deploy greeting.yaml --binary program"),
        );
        command.args(words(options)).env("PATH", path);
        command
    }

    /// The words of all that it was asked.
    pub(super) fn calls(&self) -> Vec<String> {
        self.0.read("calls").lines().map(str::to_owned).collect()
    }

    /// The label of the container that was made last.
    pub(super) fn label(&self) -> String {
        let calls = self.calls();
        let label = calls
            .iter()
            .find_map(|word| word.strip_prefix("io.flowmill.options="));
        label.expect("what was chosen is a label").to_owned()
    }

    /// From now on there is a container, at that port.
    fn has(&self, labels: &Value, arguments: &Value, port: u16) {
        let published = json!([{ "HostIp": "127.0.0.1", "HostPort": port.to_string() }]);
        let container = json!({
            "Config": { "Labels": labels, "Cmd": arguments },
            "HostConfig": { "PortBindings": { "8000/tcp": published } },
            "Image": "sha256:old",
        });
        self.0.write("container.json", container.to_string());
        self.0.write("names", "greeting\n");
    }
}

#[test]
fn a_replaced_deployment_keeps_what_was_chosen() {
    let engine = Engine::new();
    let port = free_port();
    // It does not come up, but it was made.
    let options = format!("--port {port} --offline --env-file keys.env --drain-timeout 5s");
    Ended::of(&mut engine.deploy(&options)).exits(1);
    let label = engine.label();

    engine.0.write("starts", "0");
    let labels = json!({ "io.flowmill.deployment": "greeting", "io.flowmill.options": label });
    engine.has(&labels, &json!(["serve", "--offline", "--insecure"]), port);
    let line = format!("serve greeting.yaml --offline --store memory --port {port}");
    let mut server = Running::start(&mut flowmill(engine.0.root(), words(&line)));
    server.url();
    let ended = Ended::of(&mut engine.deploy("--replace --format json")).exits(0);
    let calls = engine.calls();
    for word in [
        &format!("127.0.0.1:{port}:8000"),
        &format!("io.flowmill.options={label}"),
    ] {
        assert!(calls.contains(word), "{word} is not in {calls:#?}");
    }
    let arguments = calls
        .iter()
        .find(|word| word.starts_with("CMD "))
        .expect("an image");
    assert!(
        arguments.contains(r#""--drain-timeout","5s""#),
        "{arguments}"
    );
    assert!(arguments.contains(r#""--offline""#), "{arguments}");
    assert!(calls.iter().any(|word| word.contains("target=/app/.env")));
    let update = ended.json()["update"].as_str().expect("a line").to_owned();
    let keys = engine.0.path("keys.env");
    assert_eq!(
        update,
        format!(
            "flowmill deploy greeting.yaml --name=greeting --port={port} --drain-timeout=5s --env-file={} \
             --offline=true --replace",
            keys.display()
        )
    );
    assert!(!ended.stderr.contains("changes from"), "{}", ended.stderr);
    ended.says(&[&format!("kept from the previous deployment: --port={port}")]);
}

#[test]
fn a_change_of_port_or_model_is_said() {
    let engine = Engine::new();
    let labels = json!({ "io.flowmill.deployment": "greeting" });
    engine.has(&labels, &json!(["serve", "--offline", "--insecure"]), 9_321);
    let port = free_port();
    let host = "OLLAMA_HOST=http://host.docker.internal:11434\n";
    engine.0.write("ollama.env", host);
    let options = format!("--replace --port {port} --model ollama/m --env-file ollama.env");
    Ended::of(&mut engine.deploy(&options)).exits(1).says(&[
        &format!("the address changes from 127.0.0.1:9321 to 127.0.0.1:{port}"),
        "the models change from the built-in offline model to ollama/m",
    ]);
}

#[test]
fn a_replaced_deployment_does_not_lose_its_keys() {
    let engine = Engine::new();
    let labels = json!({ "io.flowmill.deployment": "greeting" });
    engine.has(&labels, &json!(["serve", "--offline"]), free_port());
    Ended::of(&mut engine.deploy("--replace")).exits(2).says(&[
        "the previous deployment requires an API key",
        "FLOWMILL_API_KEYS",
        "--insecure",
    ]);
    Ended::of(&mut engine.deploy("--replace --insecure")).exits(1);
    assert!(engine.calls().contains(&"create".to_owned()));
}

#[test]
fn the_image_of_a_replaced_container_goes_unless_it_has_a_name() {
    for (names, is_removed) in [("0", true), ("1", false)] {
        let engine = Engine::new();
        let port = free_port();
        engine.0.write("starts", "0");
        engine.0.write("tags", names);
        let labels = json!({ "io.flowmill.deployment": "greeting" });
        engine.has(&labels, &json!(["serve", "--offline", "--insecure"]), port);
        let line = format!("serve greeting.yaml --offline --store memory --port {port}");
        let mut server = Running::start(&mut flowmill(engine.0.root(), words(&line)));
        server.url();
        Ended::of(&mut engine.deploy("--replace --offline --no-env-file")).exits(0);
        let calls = engine.calls();
        let removal = ["image", "rm", "sha256:old"];
        let removed = calls.windows(3).any(|words| words == removal);
        assert_eq!(removed, is_removed, "{calls:#?}");
    }
}
