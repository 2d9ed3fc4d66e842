//! The `OpenAPI` 3.1 document of one workflow: its own inputs and outputs are the schemas of
//! `/run`.
//!
//! Each endpoint documents itself (`docs` beside its handler) and the table of endpoints lists
//! both, so a route without documentation cannot be written. This module only assembles.

mod components;
pub(crate) mod endpoint;
mod operation;

pub(crate) use components::{Component, reference};
pub(crate) use operation::{Content, JOBS, KEYS, Operation, RUN, SERVER};

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use service::catalog::LoadedWorkflow;
use service::webhooks::JobEnded;

use self::endpoint::{Endpoint, Method, Scope};
use crate::paths::named_prefix;

/// What the documents of all workflows have in common.
#[derive(Debug)]
pub(crate) struct Documentation {
    operations: Vec<(&'static Endpoint, Operation)>,
    schemas: Map<String, Value>,
}

/// Which document of a workflow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// With the workflow's paths at the root, or below its name.
    pub(crate) scope: Scope,
    /// No other workflow is served.
    pub(crate) is_only: bool,
    /// If API keys are in use, the document says who may use what; otherwise it leaves out the endpoints that
    /// exist only for keys.
    pub(crate) has_keys: bool,
}

impl Documentation {
    pub(crate) fn of(endpoints: &'static [Endpoint]) -> Self {
        let operations: Vec<_> = endpoints
            .iter()
            .filter_map(|endpoint| {
                let operation = (endpoint.docs?)().limited(endpoint.need).bounded();
                Some((endpoint, operation))
            })
            .collect();
        // What no operation refers to by itself.
        let others = [Component::of::<JobEnded<'_>>(), components::event()];
        let components = operations
            .iter()
            .flat_map(|(_, operation)| &operation.components)
            .chain(&others);
        let schemas = components::schemas(components);
        Self {
            operations,
            schemas,
        }
    }

    /// The document of a workflow.
    pub(crate) fn document(&self, loaded: &LoadedWorkflow, options: Options) -> Value {
        let paths = self.paths(&loaded.workflow.name, options);
        let mut schemas = self.schemas.clone();
        components::adapt(&mut schemas, loaded, options.is_only);
        assemble(loaded, &paths, &schemas, options.has_keys)
    }

    fn paths(&self, workflow: &str, options: Options) -> Map<String, Value> {
        let Options {
            scope, has_keys, ..
        } = options;
        let mut paths = Map::new();
        for (endpoint, operation) in &self.operations {
            if ![scope, Scope::Server].contains(&endpoint.scope)
                || operation.is_about_keys() && !has_keys
            {
                continue;
            }
            let (path, short) = match endpoint.scope {
                Scope::Named => {
                    let short = endpoint
                        .path
                        .strip_prefix(NAMED)
                        .expect("the table of endpoints puts named paths below it");
                    (format!("{}{short}", named_prefix(workflow)), short)
                }
                Scope::Root | Scope::Server => (endpoint.path.to_owned(), endpoint.path),
            };
            let method = endpoint.method.as_str();
            let operation = if has_keys {
                operation.clone().guarded(endpoint.need)
            } else {
                operation.clone().open(endpoint.method == Method::Get)
            };
            let operation =
                operation.into_value(&operation_id(method, short), parameters_of(&path, workflow));
            let item = paths.entry(path).or_insert_with(|| json!({}));
            item[method] = operation;
        }
        paths
    }
}

fn assemble(
    loaded: &LoadedWorkflow,
    paths: &Map<String, Value>,
    schemas: &Map<String, Value>,
    has_keys: bool,
) -> Value {
    let workflow = &loaded.workflow;
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": workflow.name,
            "version": workflow.version.as_deref().unwrap_or("unversioned"),
            "description": description(loaded),
        },
        "paths": paths,
        "webhooks": webhooks(),
        "components": { "schemas": schemas },
        "tags": [
            { "name": RUN, "description": "Run the workflow." },
            { "name": JOBS, "description": "Every run is a job: inspect, watch, cancel or retry it." },
            { "name": SERVER, "description": "What the server serves, and its health." },
        ],
    });
    if has_keys {
        document["components"]["securitySchemes"] = operation::security_schemes();
        if let Some(tags) = document["tags"].as_array_mut() {
            tags.push(json!({ "name": KEYS, "description": "The API keys of this server." }));
        }
    }
    drop_unused_schemas(&mut document);
    document
}

/// Drops the schemas that only left-out operations refer to.
fn drop_unused_schemas(document: &mut Value) {
    loop {
        let mut used = BTreeSet::new();
        collect_references(document, &mut used);
        let Some(schemas) = document["components"]["schemas"].as_object_mut() else {
            return;
        };
        let before = schemas.len();
        schemas.retain(|name, _| used.contains(name));
        if schemas.len() == before {
            return;
        }
    }
}

/// The names of all schemas that something refers to.
fn collect_references(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let reference = members.get("$ref").and_then(Value::as_str);
            let name = reference.and_then(|text| text.strip_prefix("#/components/schemas/"));
            names.extend(name.map(str::to_owned));
            for member in members.values() {
                collect_references(member, names);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect_references(item, names);
            }
        }
        _ => {}
    }
}

/// The messages to webhooks.
fn webhooks() -> Value {
    let header = |name: &str, description: &str| {
        json!({
            "name": name, "in": "header", "required": name != "webhook-signature",
            "description": description, "schema": { "type": "string" },
        })
    };
    json!({
        "job_ended": {
            "post": {
                "operationId": "webhook_job_ended",
                "tags": [JOBS],
                "summary": "A job has ended",
                "description": "Sent to the job's `webhook`, or to the server's own (Standard Webhooks).",
                "parameters": [
                    header("webhook-id", "The id of the message, the same at every attempt."),
                    header("webhook-timestamp", "The time of this attempt: seconds since 1970."),
                    header("webhook-signature", "`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, if there is a secret."),
                ],
                "requestBody": {
                    "required": true,
                    "content": { "application/json": { "schema": reference("JobEnded") } },
                },
                "responses": {
                    "2XX": { "description": "Received." },
                    "410": { "description": "The receiver wants no more messages about this job." },
                    "default": { "description": "The message is sent again later, for a day." },
                },
            },
        },
    })
}

const NAMED: &str = "/workflows/{name}";

fn description(loaded: &LoadedWorkflow) -> &str {
    loaded
        .workflow
        .description
        .as_deref()
        .unwrap_or("A workflow served by flowmill.")
}

/// `get /jobs/{job_id}/events` → `get_jobs_job_id_events`: unique, and a fair name in a generated
/// client.
fn operation_id(method: &str, path: &str) -> String {
    let words = path
        .split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .filter(|word| !word.is_empty());
    std::iter::once(method)
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

/// Every `{parameter}` of a path, in the document of that workflow.
fn parameters_of(path: &str, workflow: &str) -> Vec<Value> {
    let names = path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| {
            let (description, schema) = match name {
                "key_id" => ("The key's id.", json!({ "type": "string" })),
                "job_id" => ("The job's id.", json!({ "type": "string", "format": "uuid" })),
                _ => (
                    "The workflow's name.",
                    json!({ "type": "string", "examples": [workflow] }),
                ),
            };
            json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_ids_are_words() {
        assert_eq!(
            operation_id("get", "/jobs/{job_id}/events"),
            "get_jobs_job_id_events"
        );
        assert_eq!(operation_id("get", "/openapi.json"), "get_openapi_json");
        assert_eq!(operation_id("get", "/"), "get");
    }
}
