//! `flowmill health`, and the container's health check that runs it.

use std::process::Command;

use serde_json::json;
use testing::TempProject;

use super::rig::{Deployment, docker, docker_line, free_port};
use crate::http::{post, start};
use crate::support::{GREETING, PATIENCE, greeting, run_in, words};

#[test]
fn a_server_is_healthy_until_it_is_gone() {
    let project = greeting();
    let mut server = start(&project, "greeting.yaml --offline");
    let url = server.url();
    for options in ["", "--live"] {
        let line = format!("health --url {url} {options}");
        assert_eq!(
            run_in(project.root(), words(&line)).exits(0).stdout,
            "healthy\n"
        );
    }
    let port = url.rsplit_once(':').expect("a port").1;
    run_in(project.root(), words(&format!("health --port {port}"))).exits(0);
    project.write("flowmill.toml", format!("[serve]\nport = {port}\n"));
    run_in(project.root(), ["health"]).exits(0);
    server.signal("TERM");
    server.end();
    let gone = run_in(project.root(), words(&format!("health --url {url}")));
    gone.exits(1).says(&["does not answer"]);
}

#[test]
fn what_is_no_address_is_refused() {
    for url in ["localhost:8000", "ftp://x", "http://"] {
        let refused = run_in(TempProject::new().root(), ["health", "--url", url]);
        refused.exits(2).says(&["is not the address of a server"]);
    }
    let line = format!("health --port {}", free_port());
    run_in(TempProject::new().root(), words(&line)).exits(1);
}

/// Waits for a container's state of health.
async fn until_health(name: &str, wanted: &str) {
    let begun = std::time::Instant::now();
    loop {
        let health = docker(["inspect", "--format", "{{.State.Health.Status}}", name]);
        if health == wanted {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "it is {health}, not {wanted}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// The health check of the image itself, only more often, on a volume that is soon full.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_store_breaks_is_unhealthy() {
    let Some(deployment) = Deployment::of(TempProject::with_file("greeting.yaml", GREETING)) else {
        return;
    };
    let document = deployment.deploy("greeting.yaml".as_ref(), "--offline");
    let (name, image) = (
        &deployment.name,
        document["image"].as_str().expect("an image"),
    );
    docker(["rm", "--force", "--volumes", name]);
    docker_line(&format!(
        "run --detach --name {name} --read-only --publish 127.0.0.1:{}:8000 --tmpfs /data:size=2m,uid=65532,gid=65532 \
         --health-interval 500ms --health-retries 2 {image}",
        deployment.port
    ));
    deployment.ready().await;
    until_health(name, "healthy").await;

    let url = format!("{}/jobs", deployment.url);
    let inputs = json!({ "inputs": { "name": "x".repeat(100_000) } });
    let mut refused = 0;
    for _ in 0..200 {
        if post(url.clone(), inputs.clone()).await.0 == 503 {
            refused += 1;
            if refused > 2 {
                break;
            }
        }
    }
    assert!(refused > 0, "the volume was never full");
    until_health(name, "unhealthy").await;
    let probe = Command::new("docker")
        .args(["exec", name, "/app/flowmill", "health"])
        .output();
    assert_eq!(probe.expect("docker").status.code(), Some(1));
}
