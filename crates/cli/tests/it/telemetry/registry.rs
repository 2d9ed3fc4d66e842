//! Workflows and prompts in MLflow's registry, and `mlflow check`.

use serde_json::json;
use testing::TempProject;

use super::rig::{model, project, rig, serve};
use crate::http::{post, start_in};
use crate::support::{Ended, flowmill, words};

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_workflow_is_served_from_there() {
    let Some(rig) = rig() else { return };
    let (model, project) = (model(), project("kept"));
    let register = || {
        let mut command = flowmill(project.root(), words("mlflow register workflow.yaml"));
        command.env("MLFLOW_TRACKING_URI", &rig.url);
        Ended::of(&mut command).exits(0).stdout
    };
    assert_eq!(
        register(),
        "models:/kept/1\nprompts:/kept.write/1\nprompts:/kept.edit/1\n"
    );
    let changed = super::rig::WORKFLOW
        .replace("NAME", "kept")
        .replace("edit {draft}", "polish {draft}");
    std::fs::write(project.path("workflow.yaml"), &changed).expect("it can be written");
    assert_eq!(
        register(),
        "models:/kept/2\nprompts:/kept.write/1\nprompts:/kept.edit/2\n"
    );

    let kept = rig.ask(&json!({"what": "model", "name": "kept"}));
    let version = &kept["versions"][1];
    assert_eq!(version["files"]["workflow.yaml"], changed);
    assert_eq!(version["tags"]["flowmill.version"], "1.2");
    assert_eq!(
        version["tags"]["flowmill.definition_hash"]
            .as_str()
            .map(str::len),
        Some(64)
    );
    let schema = version["tags"]["flowmill.input_schema"]
        .as_str()
        .expect("a schema");
    assert!(schema.contains("\"topic\""), "{schema}");
    let prompt = rig.ask(&json!({"what": "prompt", "name": "kept.edit", "version": "2"}));
    assert_eq!(
        prompt,
        json!({"template": "polish {{draft}}", "variables": ["draft"]})
    );

    rig.ask(&json!({"what": "alias", "name": "kept", "alias": "prod", "version": "1"}));
    let elsewhere = TempProject::new();
    for (uri, prompt) in [
        ("models:/kept@prod", "edit <a>"),
        ("models:/kept/2", "polish <a>"),
    ] {
        let environment = [("MLFLOW_TRACKING_URI", rig.url.as_str())];
        let line = format!("{uri} --store memory");
        let mut server = start_in(&environment, &model, &elsewhere, &line);
        let url = server.url();
        let (status, body) = post(format!("{url}/run"), json!({"topic": "a"})).await;
        assert_eq!(status, 200, "{body}");
        assert!(
            model
                .requests()
                .iter()
                .any(|request| request.prompt() == prompt),
            "{prompt}"
        );
    }
    let refused = |uri: &str, code: i32, says: &str| {
        let mut command = flowmill(elsewhere.root(), ["serve", uri, "--offline"]);
        command.env("MLFLOW_TRACKING_URI", &rig.url);
        Ended::of(&mut command).exits(code).says(&[says]);
    };
    refused("models:/kept/9", 4, "kept");
    refused("models:/kept", 2, "models:/NAME/VERSION");
    refused("models:/kept.edit/1", 4, "flowmill mlflow register");
}

#[test]
fn check_says_what_works_and_what_does_not() {
    let project = TempProject::new();
    let check = |url: &str| {
        let mut command = flowmill(project.root(), words("mlflow check"));
        command.env("MLFLOW_TRACKING_URI", url);
        Ended::of(&mut command)
    };
    check("http://127.0.0.1:1").exits(4).says(&["answers: no"]);
    let Some(rig) = rig() else { return };
    let said = check(&rig.url).exits(0).stdout;
    for what in [
        "answers: MLflow 3.17.2",
        "accepts runs",
        "accepts artifacts: yes",
        "accepts traces: yes",
    ] {
        assert!(said.contains(what), "{said}");
    }
    // Not an MLflow: a flowmill.
    let (model, project) = (model(), super::rig::project("no_mlflow"));
    let mut server = serve(&rig.url, &model, &project, "--store memory");
    check(&server.url())
        .exits(4)
        .says(&["cannot be used as it is"]);
}
