//! Traces in MLflow.

use serde_json::json;

use super::rig::{model, project, rig, serve, span, spans};
use crate::http::post;

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_the_tree_of_the_run_with_contents_tokens_and_cost() {
    let Some(rig) = rig() else { return };
    let (model, project) = (model(), project("traced"));
    let mut server = serve(&rig.url, &model, &project, "--store memory");
    let url = server.url();
    let (status, body) = post(format!("{url}/run"), json!({"topic": "again otters"})).await;
    assert_eq!(status, 200, "{body}");
    let trace = rig.trace("traced");
    assert_eq!(trace["state"], "OK");
    assert_eq!(trace["tags"]["mlflow.traceName"], "traced");
    assert_eq!(trace["tags"]["flowmill.job_id"], body["job_id"]);
    let tokens = json!({"input_tokens": 30, "output_tokens": 15, "total_tokens": 45});
    assert_eq!(trace["tokens"], tokens);
    let cost = trace["metadata"]["mlflow.trace.cost"].as_str();
    let cost: serde_json::Value = serde_json::from_str(cost.expect("a cost")).expect("JSON");
    assert_eq!(cost["total_cost"], 0.045);

    let root = span(&trace, "invoke_workflow traced");
    assert_eq!(
        (&root["parent"], &root["type"]),
        (&json!(null), &json!("CHAIN"))
    );
    assert_eq!(root["inputs"], json!({"topic": "again otters"}));
    assert_eq!(root["outputs"], body["outputs"]);
    let write = span(&trace, "invoke_agent write");
    assert_eq!(
        (&write["parent"], &write["type"]),
        (&root["id"], &json!("AGENT"))
    );
    assert_eq!(write["events"], json!(["retry"]));
    assert_eq!(write["outputs"], json!({"draft": "<otters>"}));
    let calls: Vec<_> = spans(&trace)
        .iter()
        .filter(|span| span["parent"] == write["id"])
        .collect();
    assert_eq!(calls.len(), 2, "{trace}");
    let attempt = |number: u64| {
        let of = |span: &&&serde_json::Value| span["attributes"]["flowmill.attempt"] == number;
        *calls.iter().find(of).expect("that attempt")
    };
    let (first, second) = (attempt(1), attempt(2));
    assert_eq!(
        (&first["type"], &first["name"]),
        (&json!("CHAT_MODEL"), &json!("chat test"))
    );
    assert_eq!(
        (&first["status"], &second["status"]),
        (&json!("ERROR"), &json!("OK"))
    );
    assert!(
        first["error"]
            .as_str()
            .is_some_and(|error| error.contains("result")),
        "{first}"
    );
    assert_eq!(
        first["inputs"]["messages"][0]["content"],
        "write about again otters"
    );
    assert_eq!(
        second["outputs"]["choices"][0]["message"]["content"],
        r#"{"result":"<otters>"}"#
    );
    let attributes = &second["attributes"];
    assert_eq!(attributes["gen_ai.provider.name"], "openai");
    assert_eq!(attributes["gen_ai.usage.input_tokens"], 10);
    assert_eq!(attributes["mlflow.llm.model"], "test");
}
