//! The package of every example is built and run.

use reqwest::Method;
use serde_json::{Value, json};
use testing::TempProject;

use super::rig::Deployment;
use crate::examples::examples;
use crate::http::{call, get, post};
use crate::support::{in_parallel, root};

#[test]
fn every_example_is_deployed_and_answers() {
    if testing::rigs::static_program().is_none() {
        return;
    }
    in_parallel(&examples(), |file| {
        let deployment = Deployment::of(TempProject::new()).expect("there is an engine");
        let document = deployment.deploy(file, "--offline");
        assert_eq!(document["url"], deployment.url.as_str());
        let name = file
            .file_stem()
            .and_then(|stem| stem.to_str())
            .ok_or("a name")?;
        let inputs = root()
            .join("examples/inputs")
            .join(name)
            .with_extension("json");
        let inputs: Value =
            serde_json::from_str(&std::fs::read_to_string(inputs).expect("inputs")).expect("JSON");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime
            .block_on(check(&deployment, &inputs))
            .map_err(|problem| format!("{name}: {problem}"))?;
        deployment.undeploy();
        Ok(())
    });
}

async fn check(deployment: &Deployment, inputs: &Value) -> Result<(), String> {
    let url = &deployment.url;
    let (status, answer) = post(format!("{url}/run"), inputs.clone()).await;
    if status != 200 || answer["status"] != "success" {
        return Err(format!("POST /run: {status} {answer}"));
    }
    let (status, handle) = post(format!("{url}/jobs"), json!({ "inputs": inputs })).await;
    let id = handle["job_id"]
        .as_str()
        .ok_or(format!("POST /jobs: {status} {handle}"))?;
    let job = deployment.ended(id).await;
    if job["status"] != "completed" {
        return Err(format!("the job: {job}"));
    }
    let served = get(format!("{url}/openapi.json")).await.1;
    let packaged: Value =
        serde_json::from_str(&deployment.project.read("package/openapi.json")).expect("JSON");
    if served != packaged {
        return Err("openapi.json is not what the server serves".to_owned());
    }
    // The clock of the empty image.
    let health = call(Method::GET, format!("{url}/health"), None, None)
        .await
        .1;
    let said = health["timestamp"]
        .as_str()
        .ok_or(format!("no time: {health}"))?;
    let said: jiff::Timestamp = said.parse().map_err(|error| format!("{said}: {error}"))?;
    let since = std::time::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs_f64()
        - said.as_duration().as_secs_f64();
    if since.abs() > 60.0 {
        return Err(format!("its clock is {since} s behind"));
    }
    Ok(())
}
