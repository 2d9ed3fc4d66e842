//! One workflow at the root, several by name.

use serde_json::json;

use crate::client::Call;
use crate::models::Part;
use crate::server::{ECHO, Server, echo_named};

fn two() -> Server {
    Server::with(
        Part::Echo,
        &[ECHO, &echo_named("two words/ž")],
        server::Settings::default(),
        service::Settings::default(),
    )
}

#[tokio::test]
async fn several_workflows_are_listed_and_run_by_name() {
    let server = two();
    let listed = server.get("/workflows").await.json();
    assert_eq!(listed["workflows"][0]["name"], "echo");
    assert_eq!(listed["workflows"][1]["name"], "two words/ž");
    let run = listed["workflows"][1]["endpoints"]["run"].as_str().unwrap();
    assert_eq!(run, "/workflows/two%20words%2F%C5%BE/run");
    let answer = server.post(run, r#"{"message": "hi"}"#).await;
    assert_eq!(answer.status, 200);
    let job = server
        .get(&format!("/status/{}", answer.job_id()))
        .await
        .json();
    assert_eq!(job["workflow"], "two words/ž");
    for path in ["schema", "openapi.json", "docs", ""] {
        let path = format!("/workflows/two%20words%2F%C5%BE/{path}");
        assert_eq!(
            server.get(path.trim_end_matches('/')).await.status,
            200,
            "{path}"
        );
    }
}

#[tokio::test]
async fn root_paths_need_a_single_workflow() {
    let server = two();
    for path in ["/schema", "/openapi.json", "/docs"] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    assert_eq!(server.post("/run", "{}").await.status, 404);
    assert_eq!(server.get("/").await.json()["workflow"], json!(null));
    let answer = server
        .post("/jobs", r#"{"inputs": {"message": "hi"}}"#)
        .await;
    assert_eq!(
        (answer.status, &answer.json()["detail"][0]["loc"]),
        (422, &json!(["body", "workflow"]))
    );
    assert_eq!(
        server
            .post(
                "/jobs",
                r#"{"inputs": {"message": "hi"}, "workflow": "echo"}"#
            )
            .await
            .status,
        202
    );
}

#[tokio::test]
async fn the_only_workflow_has_both_paths() {
    let server = Server::start(Part::Echo);
    let root = server.get("/").await.json();
    assert_eq!(
        (&root["workflow"], &root["status"], &root["version"]),
        (&json!("echo"), &json!("running"), &json!("2.1"))
    );
    assert_eq!(root["endpoints"]["run"], "/run");
    assert_eq!(
        server
            .post("/workflows/echo/run", r#"{"message": "hi"}"#)
            .await
            .status,
        200
    );
    assert_eq!(
        server.get("/workflows/echo").await.json()["endpoints"]["run"],
        "/workflows/echo/run"
    );
}

#[tokio::test]
async fn the_schema_comes_in_two_shapes() {
    let server = Server::start(Part::Echo);
    assert_eq!(
        server.get("/schema").await.json(),
        json!({
            "workflow": "echo",
            "inputs": {
                "message": { "type": "str", "required": true, "default": null, "description": "text to repeat" },
                "result": { "type": "str", "required": false, "default": "", "description": "" },
            },
            "outputs": ["message", "result"],
        })
    );
    let schemas = server.get("/schema?format=json-schema").await.json();
    assert_eq!(schemas["input"]["required"], json!(["message"]));
    assert_eq!(
        schemas["output"]["properties"]["result"]["x-written-by"],
        json!(["say"])
    );
    assert_eq!(
        server.get("/schema?format=xml").await.json()["detail"][0]["loc"],
        json!(["query", "format"])
    );
}

#[tokio::test]
async fn a_reloaded_workflow_is_served_at_once() {
    let server = Server::start(Part::Echo);
    let text = ECHO.replace("Say {state.message}", "Shout {state.message}");
    let source = lang::source::Source {
        name: "workflow.yaml".into(),
        text: text.into(),
    };
    let workflow = lang::check(&source).workflow.unwrap();
    server
        .service
        .catalog()
        .put(service::catalog::LoadedWorkflow::new(&source, workflow));
    let answer = server
        .send(Call::post("/run", r#"{"message": "hi"}"#))
        .await
        .json();
    assert_eq!(answer["outputs"]["result"], "R:Shout hi");
}

#[tokio::test]
async fn head_answers_as_get_without_a_body() {
    let server = Server::start(Part::Echo);
    let get = server.get("/health/live").await;
    let head = server.send(Call::new("HEAD", "/health/live")).await;
    assert_eq!((head.status, &*head.body), (200, ""));
    assert_eq!(head.header("content-length"), get.header("content-length"));
}
