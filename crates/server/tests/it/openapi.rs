//! The `OpenAPI` document: whole, this workflow's own, and about routes that exist.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::client::Call;
use crate::models::Part;
use crate::server::{ECHO, Server, echo_named};

#[tokio::test]
async fn inputs_and_outputs_are_the_workflows_own() {
    let server = Server::start(Part::Echo);
    let document = server.get("/openapi.json").await.json();
    let schemas = server.get("/schema?format=json-schema").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(
        (&document["info"]["title"], &document["info"]["version"]),
        (&json!("echo"), &json!("2.1"))
    );
    let run = &document["paths"]["/run"]["post"];
    assert_eq!(
        run["requestBody"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/Inputs"
    );
    for (component, schema) in [("Inputs", "input"), ("Outputs", "output")] {
        let mut properties = document["components"]["schemas"][component]["properties"].clone();
        without_formats(&mut properties);
        assert_eq!(properties, schemas[schema]["properties"]);
    }
    assert_eq!(
        run["responses"]["200"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/RunResult"
    );
    assert_eq!(
        document["components"]["schemas"]["RunResult"]["properties"]["outputs"]["$ref"],
        "#/components/schemas/Outputs"
    );
}

#[tokio::test]
async fn references_resolve_and_ids_are_unique() {
    let server = Server::start(Part::Echo);
    let document = server.get("/openapi.json").await.json();
    let mut references = Vec::new();
    collect(&document, &mut |key, value| {
        if key == "$ref" {
            references.push(value.as_str().unwrap().to_owned());
        }
    });
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut ids = Vec::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
        }
    }
    let mut links = 0;
    collect(&document, &mut |key, value| {
        if key == "operationId" && value.as_str().is_some_and(|id| id != "webhook_job_ended") {
            assert!(ids.iter().any(|id| value == id), "{value}");
            links += 1;
        }
    });
    assert!(
        links > ids.len(),
        "answers lead to what can be asked of them"
    );
    assert_eq!(
        ids.iter().collect::<BTreeSet<_>>().len(),
        ids.len(),
        "{ids:?}"
    );
}

/// What the document adds for generators of clients.
fn without_formats(properties: &mut Value) {
    for property in properties.as_object_mut().unwrap().values_mut() {
        if property["format"] == "int64" {
            property.as_object_mut().unwrap().remove("format");
        }
    }
}

fn collect(value: &Value, found: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                found(key, member);
                collect(member, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// Whatever the document names is there: no path of it answers 404 `Not Found` or 405.
#[tokio::test]
async fn every_documented_operation_exists() {
    let single = Server::start(Part::Echo);
    let several = Server::with(
        Part::Echo,
        &[ECHO, &echo_named("a b")],
        server::Settings::default(),
        service::Settings::default(),
    );
    for (server, path) in [
        (&single, "/openapi.json"),
        (&single, "/workflows/echo/openapi.json"),
        (&several, "/workflows/a%20b/openapi.json"),
    ] {
        let document = server.get(path).await.json();
        let mut operations = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                let method = match &**method {
                    "get" => "GET",
                    "post" => "POST",
                    "delete" => "DELETE",
                    other => panic!("{other}"),
                };
                let concrete = path
                    .replace("{job_id}", "unknown")
                    .replace("{name}", "echo");
                let answer = server.send(Call::new(method, &concrete)).await;
                assert_ne!(answer.status, 405, "{method} {path}");
                assert!(
                    answer.status != 404 || answer.json()["detail"] == "Job not found",
                    "{method} {path}: {}",
                    answer.body
                );
                operations += 1;
            }
        }
        assert_eq!(operations, 20, "{path}");
    }
}
