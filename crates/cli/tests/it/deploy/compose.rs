//! The Compose file: what Compose makes of it, and a deployment with it.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use testing::{TempProject, rigs};

use super::rig::{Deployment, docker_line};
use crate::examples::examples;
use crate::http::post;
use crate::support::{GREETING, run_in};

/// Compose as it is installed, if it is.
fn compose() -> Option<Command> {
    rigs::static_program()?;
    let mut plugin = Command::new("docker");
    plugin.arg("compose");
    let has_plugin = Command::new("docker").args(["compose", "version"]).output();
    if has_plugin.is_ok_and(|output| output.status.success()) {
        return Some(plugin);
    }
    if Command::new("docker-compose")
        .arg("version")
        .output()
        .is_ok()
    {
        return Some(Command::new("docker-compose"));
    }
    rigs::outside("Compose", "/usr/bin/docker-compose".as_ref())?;
    None
}

#[test]
fn compose_reads_every_package_with_and_without_mlflow() {
    if compose().is_none() {
        return;
    }
    let check = |file: &Path, options: &[&str], servers: &[&str]| {
        let project = TempProject::new();
        let path = file.to_str().expect("UTF-8");
        let line = ["deploy", path, "--generate"];
        run_in(project.root(), line.iter().chain(options)).exits(0);
        let services = |profile: &[&str]| {
            let mut command = compose().expect("it was there");
            command
                .current_dir(project.path("deploy"))
                .args(profile)
                .args(["config", "--services"]);
            let output = command.output().expect("it starts");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{path}: {said}");
            let mut services: Vec<String> = String::from_utf8_lossy(&output.stdout)
                .lines()
                .map(str::to_owned)
                .collect();
            services.sort();
            services
        };
        let all = [servers, &["mlflow"]].concat();
        assert_eq!(services(&["--profile", "mlflow"]), all, "{path}");
        // Older ones list the services of all profiles; none takes a file it cannot read.
        let listed = services(&[]);
        for server in servers {
            assert!(listed.iter().any(|one| one == server), "{path}: {server}");
        }
    };
    for file in examples() {
        check(&file, &[], &["flowmill"]);
    }
    let servers = ["flowmill", "flowmill-2", "flowmill-3"];
    let several = ["--store", "postgres", "--replicas", "3"];
    check(&examples()[0], &several, &servers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compose_project_is_started_replaced_and_taken_down() {
    if compose().is_none() {
        return;
    }
    let project = TempProject::with_file("greeting.yaml", GREETING);
    let deployment = Deployment::of(project).expect("there is an engine");
    deployment.deploy("greeting.yaml".as_ref(), "--offline --target compose");
    let run = format!("{}/run", deployment.url);
    let (status, answer) = post(run.clone(), json!({ "name": "Ada" })).await;
    assert_eq!(status, 200, "{answer}");
    let id = answer["job_id"].as_str().expect("an id");
    assert_eq!(deployment.inspect("{{.HostConfig.ReadonlyRootfs}}"), "true");

    deployment
        .project
        .write("greeting.yaml", GREETING.replace("Greet", "Welcome"));
    deployment.deploy(
        "greeting.yaml".as_ref(),
        "--offline --target compose --replace",
    );
    let job = deployment.job(id).await;
    assert_eq!(job["status"], "completed", "{job}");

    let name = deployment.name.clone();
    deployment.undeploy();
    let networks = docker_line("network ls --format {{.Name}}");
    assert!(!networks.contains(&name), "{networks}");
}
