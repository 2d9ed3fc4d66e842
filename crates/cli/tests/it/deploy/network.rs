//! Names are looked up inside the empty image: in `/etc/hosts` (the model of the other tests is found there)
//! and by asking the engine's name server.

use std::process::Command;

use testing::TempProject;

use super::rig::{Deployment, docker, docker_line};
use crate::support::GREETING;

/// A network of the engine's, removed on drop.
struct Network(String);

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("docker")
            .args(["network", "rm", &self.0])
            .output();
    }
}

#[test]
fn a_container_finds_another_by_its_name() {
    let project = || TempProject::with_file("greeting.yaml", GREETING);
    let Some(one) = Deployment::of(project()) else {
        return;
    };
    let network = Network(format!("{}-net", one.name));
    let other = Deployment::of(project()).expect("there is an engine");
    one.deploy("greeting.yaml".as_ref(), "--offline");
    other.deploy("greeting.yaml".as_ref(), "--offline");
    docker(["network", "create", &network.0]);
    for name in [&one.name, &other.name] {
        docker(["network", "connect", &network.0, name]);
    }
    let ask = |url: &str| {
        Command::new("docker")
            .args(["exec", &one.name, "/app/flowmill", "health", "--url", url])
            .output()
            .expect("docker")
    };
    let found = ask(&format!("http://{}:8000", other.name));
    assert!(
        found.status.success(),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
    let unknown = ask("http://no-such-container:8000");
    assert_eq!(unknown.status.code(), Some(1));
    for name in [&one.name, &other.name] {
        docker_line(&format!("network disconnect --force {} {name}", network.0));
    }
}
