//! Deployments whose jobs are in a PostgreSQL database: the URL is in the mounted file alone, and there
//! are several containers. A program named `docker` plays the engine.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testing::TempProject;

use super::replacing::Engine;
use super::rig::free_port;
use crate::support::{Ended, PATIENCE, Running, flowmill, greeting, words};

const URL: &str = "postgres://me:canary@db.internal/jobs";

/// The containers that there are, all published on that port.
fn has(engine: &Engine, names: &[&str], port: u16, labels: &Value) {
    let secrets = engine.0.path("deploy/secrets/flowmill.env");
    let container = json!({
        "Config": { "Labels": labels, "Cmd": ["serve", "--store", "postgres", "--offline", "--insecure"] },
        "HostConfig": { "PortBindings": { "8000/tcp": [{ "HostIp": "127.0.0.1", "HostPort": port.to_string() }] } },
        "Mounts": [{ "Type": "bind", "Source": secrets, "Destination": "/app/.env" }],
        "Image": "sha256:old",
        "State": { "Running": true, "Restarting": false },
    });
    engine.0.write("container.json", container.to_string());
    engine.0.write("names", names.join("\n") + "\n");
}

/// Something that takes requests at a port.
fn ready(project: &TempProject, port: u16) -> Running {
    let line = format!("serve greeting.yaml --offline --store memory --port {port}");
    let mut server = Running::start(&mut flowmill(project.root(), words(&line)));
    server.url();
    server
}

/// The first of two ports that nobody listens on.
fn two_free_ports() -> u16 {
    loop {
        let port = free_port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

fn secrets(engine: &Engine) -> String {
    engine.0.read("deploy/secrets/flowmill.env")
}

#[test]
fn the_url_is_in_the_mounted_file_alone_and_is_kept() {
    let engine = Engine::new();
    engine.0.write("url", URL);
    let port = free_port();
    for options in ["--store-file url", &format!("--store {URL}")] {
        let _ = std::fs::remove_dir_all(engine.0.path("deploy"));
        engine.0.write("names", "");
        // It does not come up, but it was made.
        let line = format!("--port {port} --offline {options}");
        let ended = Ended::of(&mut engine.deploy(&line)).exits(1);
        assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
        let calls = engine.calls().join("\n");
        assert!(!calls.contains("canary"), "{calls}");
        assert!(!calls.contains("type=volume"), "{calls}");
        assert!(calls.contains(r#""--store","postgres""#), "{calls}");
        assert!(secrets(&engine).contains(&format!("FLOWMILL_STORE='{URL}'")));
    }
    assert!(engine.label().contains("--store=postgres"));

    let label = engine.label();
    let labels = json!({ "io.flowmill.deployment": "greeting", "io.flowmill.options": label });
    has(&engine, &["greeting"], port, &labels);
    engine.0.write("starts", "0");
    let _server = ready(&engine.0, port);
    let ended = Ended::of(&mut engine.deploy("--replace --format json")).exits(0);
    assert!(!(ended.stdout.clone() + &ended.stderr).contains("canary"));
    assert!(secrets(&engine).contains(&format!("FLOWMILL_STORE='{URL}'")));
    let update = ended.json()["update"].as_str().expect("a line").to_owned();
    assert!(update.contains("--store=postgres "), "{update}");
    assert!(
        !ended.stderr.contains("the job store changes"),
        "{}",
        ended.stderr
    );
}

#[test]
fn several_servers_are_replaced_one_after_the_other_and_surplus_ones_removed() {
    let engine = Engine::new();
    engine.0.write(".env", format!("FLOWMILL_STORE={URL}\n"));
    let port = two_free_ports();
    let labels =
        json!({ "io.flowmill.deployment": "greeting", "com.docker.compose.project": "greeting" });
    has(
        &engine,
        &["greeting", "greeting-2", "greeting-3"],
        port,
        &labels,
    );
    let (_one, two) = (ready(&engine.0, port), ready(&engine.0, port + 1));
    // The engine has all of them on the first port, so the second one is in use.
    let line = format!("--store postgres --target compose --offline --replace --port {port}");
    Ended::of(&mut engine.deploy(&line))
        .exits(4)
        .says(&["is in use"]);

    drop(two);
    let mut command = engine.deploy(&line);
    let deploying = std::thread::spawn(move || Ended::of(&mut command));
    let deadline = Instant::now() + PATIENCE;
    // Compose runs in the folder of the package.
    let composed = || -> Vec<String> {
        let calls = std::fs::read_to_string(engine.0.path("deploy/calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    };
    let has_begun = || composed().contains(&"flowmill-2".to_owned());
    while !has_begun() && !deploying.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(has_begun(), "{:?}", deploying.join());
    // It waits for the second before it goes on.
    assert_eq!(composed().iter().filter(|word| *word == "up").count(), 1);
    let _two = ready(&engine.0, port + 1);
    deploying.join().expect("it ends").exits(0);
    let composed = composed();
    let second = ["up", "--detach", "--no-build", "--no-deps", "flowmill-2"];
    let rest = ["--project-name", "greeting", "up", "--detach", "--no-build"];
    assert!(
        composed.windows(5).any(|words| words == second),
        "{composed:#?}"
    );
    assert!(
        composed.ends_with(&rest.map(str::to_owned)),
        "{composed:#?}"
    );
    let calls = engine.calls();
    let at = |words: &[&str]| {
        calls
            .windows(words.len())
            .position(|window| window == words)
    };
    assert!(at(&["stop", "greeting-3"]).is_some(), "{calls:#?}");
    assert!(
        at(&["rm", "--volumes", "greeting-3"]).is_some(),
        "{calls:#?}"
    );
    assert!(at(&["stop", "greeting-2"]).is_none(), "{calls:#?}");
}

/// Compose starts what has exited again: nothing was removed.
#[test]
fn a_server_of_several_that_does_not_come_up_is_said_to_stay() {
    let engine = Engine::new();
    engine.0.write(".env", format!("FLOWMILL_STORE={URL}\n"));
    let port = two_free_ports();
    let line = format!("--store postgres --target compose --replicas 2 --offline --port {port}");
    let ended = Ended::of(&mut engine.deploy(&line)).exits(1);
    let ended = ended.says(&["exited during startup", "flowmill undeploy greeting"]);
    assert!(!ended.stderr.contains("was removed"), "{}", ended.stderr);
}

#[test]
fn what_does_not_fit_a_database_is_refused() {
    let project = greeting();
    let check = |line: &str, texts: &[&str]| {
        let mut command = flowmill(project.root(), words("deploy greeting.yaml --offline"));
        let ended = Ended::of(command.args(words(line))).exits(2).says(texts);
        assert!(!ended.stderr.contains("canary"), "{line}: {}", ended.stderr);
        assert!(!project.path("deploy").exists(), "something was written");
    };
    check(
        "--store postgres",
        &["FLOWMILL_STORE is not set", "FLOWMILL_STORE=postgres://"],
    );
    check(
        "--replicas 3 --target compose",
        &[
            "3 replicas need a job store that they share",
            "--store postgres",
        ],
    );
    check(
        &format!("--store {URL} --replicas 3"),
        &["--target docker starts one container"],
    );
    check(
        &format!("--store {URL} --replicas 3 --target compose --port 65534"),
        &["3 replicas need a port each"],
    );
    check(
        &format!("--store {URL} --max-replicas 3"),
        &[
            "only a cluster starts further servers",
            "--target kubernetes",
        ],
    );
    check(
        "--target kubernetes --insecure --max-replicas 3",
        &["--max-replicas needs a job store that the servers share"],
    );
    check(
        &format!("--store {URL} --target kubernetes --insecure --replicas 4 --max-replicas 3"),
        &["--max-replicas 3 is less than the 4"],
    );
    check(
        "--store redis://me:canary@h",
        &["not supported as job stores yet"],
    );
    check("--store postgres://me:canary@", &["names no host"]);
    project.write(".env", "FLOWMILL_STORE=sqlite:a.db\n");
    check("--store postgres", &["FLOWMILL_STORE: "]);
}

#[test]
fn a_database_on_this_machine_has_another_name_in_a_container() {
    let engine = Engine::new();
    let line = "--offline --store postgres://me:canary@localhost/jobs";
    Ended::of(&mut engine.deploy(line)).exits(1).says(&[
        "FLOWMILL_STORE is a loopback address",
        "host.docker.internal",
    ]);
    let calls = engine.calls();
    assert!(
        calls.contains(&"host.docker.internal:host-gateway".to_owned()),
        "{calls:#?}"
    );
}
