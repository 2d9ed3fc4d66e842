//! A deployment whose callers need keys: they come with the file of variables, and the server wants
//! them.

use std::net::IpAddr;

use serde_json::json;
use testing::TempProject;

use super::rig::{Deployment, docker};
use crate::http::{client, post};
use crate::support::{Ended, GREETING};

const KEY: &str = "fm_shop_0123456789abcdef0123456789abcdef";

#[tokio::test(flavor = "multi_thread")]
async fn a_deployed_server_lets_in_who_has_a_key_of_the_file() {
    let project = TempProject::with_file("greeting.yaml", GREETING);
    project.write(".env", format!("FLOWMILL_API_KEYS={KEY}\n"));
    let Some(deployment) = Deployment::of(project) else {
        return;
    };
    deployment.deploy("greeting.yaml".as_ref(), "--offline");
    let run = format!("{}/run", deployment.url);
    let (status, problem) = post(run.clone(), json!({"name": "Ada"})).await;
    assert_eq!(status, 401, "{problem}");
    let asked = client()
        .post(run)
        .bearer_auth(KEY)
        .json(&json!({"name": "Ada"}));
    assert_eq!(asked.send().await.expect("an answer").status(), 200);

    // Neither open nor with the key for all to see.
    let shown = docker(["inspect", &deployment.name]);
    assert!(!shown.contains("--insecure"), "{shown}");
    assert!(!shown.contains(KEY), "{shown}");
    let listed = [
        "exec",
        "--env",
        &format!("FLOWMILL_API_KEY={KEY}"),
        &deployment.name,
        "/app/flowmill",
        "jobs",
        "list",
    ];
    assert!(docker(listed).contains("greeting"));

    // Without its keys the same image does not start.
    let image = deployment.inspect("{{.Config.Image}}");
    let without = Ended::of(
        std::process::Command::new("docker")
            .args([
                "run",
                "--rm",
                "--name",
                &format!("{}-open", deployment.name),
            ])
            .args([&image, "serve", "workflow.yaml"])
            .args(["--host", "0.0.0.0", "--store", "memory", "--offline"]),
    );
    without.exits(2).says(&["there are no API keys"]);
    deployment.undeploy();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_keys_it_may_be_published_for_others() {
    let project = TempProject::with_file("greeting.yaml", GREETING);
    project.write(".env", format!("FLOWMILL_API_KEYS={KEY}\n"));
    let Some(deployment) = Deployment::of(project) else {
        return;
    };
    deployment.deploy("greeting.yaml".as_ref(), "--offline --host 0.0.0.0");
    let bindings = "{{(index (index .HostConfig.PortBindings \"8000/tcp\") 0).HostIp}}";
    let published: IpAddr = deployment.inspect(bindings).parse().expect("an address");
    assert!(published.is_unspecified(), "{published}");
    let (status, _) = post(format!("{}/run", deployment.url), json!({"name": "Ada"})).await;
    assert_eq!(status, 401);
    deployment.undeploy();
}
