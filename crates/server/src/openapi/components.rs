//! The schemas that operations refer to by name. `Inputs` and `Outputs` are the workflow's own.

use serde_json::{Value, json};
use service::catalog::LoadedWorkflow;
use service::limits::{MOST_TOKENS, USD};

use super::operation::{API_KEY, BEARER};
use crate::request::{duration, number};

/// `components.securitySchemes`: two ways to send the same key.
pub(super) fn security_schemes() -> Value {
    json!({
        BEARER: { "type": "http", "scheme": "bearer", "description": "`fm_<id>_<secret>`" },
        API_KEY: { "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same." },
    })
}

/// `components.schemas`. `is_only`: no other workflow is served.
pub(super) fn schemas(loaded: &LoadedWorkflow, is_only: bool) -> Value {
    let (required, which) = if is_only {
        let which = json!({ "type": ["string", "null"], "description": "Which workflow: there is only one." });
        (json!(["inputs"]), which)
    } else {
        let which = json!({ "const": loaded.workflow.name, "description": "Which workflow: for another one see its own document." });
        (json!(["inputs", "workflow"]), which)
    };
    let outputs = json!({ "$ref": "#/components/schemas/Outputs" });
    let mut schemas = json!({
        "Inputs": embedded(&loaded.input_schema),
        "Outputs": embedded(&loaded.output_schema),
        "RunResult": object(&["status", "execution_time_ms", "outputs", "job_id", "message", "usage"], json!({
            "status": { "const": "success" },
            "execution_time_ms": { "type": "integer", "minimum": 0 },
            "outputs": outputs,
            "job_id": id(),
            "message": { "type": "null" },
            "usage": reference("Usage"),
        })),
        "RunPending": object(&["status", "execution_time_ms", "outputs", "job_id", "message"], json!({
            "status": { "const": "async" },
            "execution_time_ms": { "type": "null" },
            "outputs": { "type": "null" },
            "job_id": id(),
            "message": { "type": "string" },
        })),
        "Job": object(
            &["job_id", "status", "created_at", "completed_at", "execution_time_ms", "outputs", "error", "workflow", "started_at", "usage", "problem", "metadata", "retried_from", "webhook"],
            job_properties(&[
                ("webhook", or_null(webhook())),
                ("outputs", or_null(if_of_this_workflow(&outputs))),
                ("problem", or_null(json!({ "type": "object", "description": "RFC 9457 members, once failed." }))),
            ]),
        ),
        "JobEnded": object(&["type", "timestamp", "data"], json!({
            "type": { "enum": ["job.completed", "job.failed", "job.cancelled"] },
            "timestamp": { "type": "string", "format": "date-time" },
            "data": {
                "type": "object",
                "description": "The job without `webhook`.",
                "required": ["job_id", "status", "created_at", "completed_at", "execution_time_ms", "outputs", "error", "workflow", "started_at", "usage", "problem", "metadata", "retried_from"],
                "properties": job_properties(&[
                    ("outputs", or_null(if_of_this_workflow(&outputs))),
                    ("problem", or_null(json!({ "type": "object" }))),
                ]),
            },
        })),
        "JobRow": object(
            &["job_id", "status", "created_at", "completed_at", "execution_time_ms", "error", "workflow", "started_at", "usage", "metadata", "retried_from"],
            job_properties(&[]),
        ),
        "JobPage": object(&["jobs", "next_cursor"], json!({
            "jobs": { "type": "array", "items": reference("JobRow") },
            "next_cursor": { "type": ["string", "null"], "description": "Pass it as `cursor` for the next page; null on the last." },
        })),
        "JobStatus": { "enum": ["pending", "running", "cancelling", "completed", "failed", "cancelled"] },
        "JobHandle": object(&["job_id", "status"], json!({ "job_id": id(), "status": reference("JobStatus") })),
        "JobRequest": {
            "type": "object",
            "required": required,
            "properties": {
                "inputs": reference("Inputs"),
                "workflow": which,
                "metadata": { "type": ["object", "null"], "description": "Labels of your own, at most 16 KiB as JSON; they come back with the job." },
                "deadline": {
                    "type": ["string", "number", "null"],
                    "pattern": duration::PATTERN,
                    "exclusiveMinimum": 0,
                    "description": "The run is stopped this long after its acceptance: seconds, or a text such as 30s, 5m, 1h.",
                },
                "budget": {
                    "type": ["object", "null"],
                    "description": "Limits of this run, besides the workflow's own.",
                    "properties": {
                        "max_cost_usd": { "type": ["number", "null"], "minimum": 0 },
                        "max_tokens": limit(),
                        "max_llm_calls": limit(),
                    },
                    "additionalProperties": false,
                },
                "webhook": {
                    "type": ["object", "null"],
                    "description": "Where the job's end is told (Standard Webhooks).",
                    "required": ["url"],
                    "properties": {
                        "url": { "type": "string", "format": "uri", "maxLength": 2048 },
                        "secret": {
                            "type": ["string", "null"],
                            "pattern": SECRET,
                            "writeOnly": true,
                            "description": "Messages are signed with it: `whsec_` and the base64 of 24 to 64 random bytes.",
                        },
                    },
                    "additionalProperties": false,
                },
            },
            "additionalProperties": false,
        },
        "RetryRequest": {
            "type": "object",
            "properties": {
                "from": { "type": ["string", "null"], "minLength": 1, "description": "`failed` (the default): where it failed. A node's id: that node again, and all after it. For a node that runs once per item: all of its items." },
                "definition": { "type": ["string", "null"], "enum": ["original", "current", null], "description": "The workflow that the job began with (the default), or as it is now." },
            },
            "additionalProperties": false,
        },
        "Usage": object(&["input_tokens", "cached_tokens", "output_tokens", "llm_calls", "cost_usd", "nodes"], json!({
            "input_tokens": count(),
            "cached_tokens": count(),
            "output_tokens": count(),
            "llm_calls": count(),
            "cost_usd": { "type": ["number", "null"], "description": "Null as soon as one call has no known price." },
            "estimated": estimated(),
            "price_table": { "type": ["string", "null"], "description": "Version of the price table that costs were worked out by; null where none was used." },
            "nodes": { "type": "object", "description": "By node id.", "additionalProperties": reference("NodeUsage") },
        })),
        "NodeUsage": object(&["model", "input_tokens", "cached_tokens", "output_tokens", "llm_calls", "cost_usd"], json!({
            "model": { "type": ["string", "null"], "description": "`provider/model` that answered last." },
            "input_tokens": count(),
            "cached_tokens": count(),
            "output_tokens": count(),
            "llm_calls": count(),
            "cost_usd": { "type": ["number", "null"], "description": "Null where a call has no known price." },
            "estimated": estimated(),
        })),
        "Problem": object(&["type", "title", "status", "detail", "instance", "code", "retryable", "error_source"], json!({
            "type": { "type": "string", "format": "uri-reference" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "instance": { "type": "string", "format": "uri-reference" },
            "code": { "type": "string", "description": "For programs: stable." },
            "retryable": { "type": "boolean", "description": "The same request may succeed later." },
            "error_source": { "enum": ["request", "workflow", "provider", "server"] },
            "job_id": id(),
            "errors": { "type": "array", "items": reference("Fault") },
        })),
        "Fault": {
            "type": "object",
            "required": ["type", "loc", "msg", "input"],
            "properties": {
                "type": { "type": "string" },
                "loc": { "type": "array", "items": { "type": ["string", "integer"] } },
                "msg": { "type": "string" },
                "input": { "description": "What was given there." },
                "ctx": { "type": "object", "description": "The broken rule's parameters." },
            },
        },
        "ValidationFaults": object(&["detail"], json!({ "detail": { "type": "array", "items": reference("Fault") } })),
        "Detail": object(&["detail"], json!({ "detail": { "type": "string" } })),
        "Fields": object(&["workflow", "inputs", "outputs"], json!({
            "workflow": { "type": "string" },
            "inputs": { "type": "object", "additionalProperties": { "type": "object" } },
            "outputs": { "type": "array", "items": { "type": "string" } },
        })),
        "JsonSchemas": object(&["input", "output"], json!({ "input": { "type": "object" }, "output": { "type": "object" } })),
        "SchemaAnswer": { "oneOf": [reference("Fields"), reference("JsonSchemas")] },
        "EventStream": {
            "anyOf": [{ "type": "string" }, reference("Event")],
        },
        "Event": object(&["event", "data"], json!({
            "id": { "type": "string", "pattern": "^[0-9]+$", "description": "Rises within a job; of what is not replayed there is none." },
            "event": { "enum": [
                "run_started", "node_started", "llm_delta", "node_retried", "node_warning", "node_completed", "node_failed",
                "gate_failed", "run_completed", "run_failed", "run_cancelled", "server_stopping", "result",
            ] },
            "data": { "type": "string", "contentMediaType": "application/json" },
        })),
        "Overview": object(&["workflow", "status", "version", "description", "endpoints"], json!({
            "workflow": { "type": ["string", "null"], "description": "Null where several are served." },
            "status": { "const": "running" },
            "version": { "type": ["string", "null"] },
            "description": { "type": ["string", "null"] },
            "endpoints": endpoints(),
        })),
        "Workflows": object(&["workflows"], json!({ "workflows": { "type": "array", "items": object(
            &["name", "version", "description", "endpoints"],
            json!({
                "name": { "type": "string" },
                "version": { "type": ["string", "null"] },
                "description": { "type": ["string", "null"] },
                "endpoints": endpoints(),
            }),
        ) } })),
        "OpenApi": object(&["openapi", "info", "paths"], json!({
            "openapi": { "const": "3.1.0" },
            "info": { "type": "object" },
            "paths": { "type": "object" },
        })),
        "Key": object(&KEY_PROPERTIES, key_properties()),
        "MadeKey": {
            "allOf": [
                reference("Key"),
                object(&["key"], json!({
                    "key": { "type": "string", "description": "The whole key. It is not shown again." },
                    "warnings": { "type": "array", "items": { "type": "string" }, "description": "What may not be meant." },
                })),
            ],
        },
        "Keys": object(&["keys"], json!({ "keys": { "type": "array", "items": reference("Key") } })),
        "KeyRequest": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": { "type": "string", "minLength": 1, "maxLength": 100, "pattern": NAME, "description": "For people." },
                "scopes": { "type": ["array", "null"], "items": scope(), "minItems": 1, "default": ["run", "read"] },
                "workflows": {
                    "type": ["array", "null"],
                    "items": { "type": "string" },
                    "minItems": 1,
                    "description": "Only these; null for all.",
                },
                "limits": or_null(reference("Limits")),
                "expires_at": { "type": ["string", "null"], "format": "date-time" },
            },
            "additionalProperties": false,
        },
        "RotateRequest": {
            "type": "object",
            "properties": {
                "grace_seconds": { "type": ["integer", "null"], "minimum": 0, "maximum": 2_592_000, "default": 0 },
            },
            "additionalProperties": false,
        },
        "Health": object(&["status"], json!({
            "status": { "type": "string" },
            "timestamp": { "type": "string", "format": "date-time" },
        })),
    });
    for (name, schema) in about_limits() {
        schemas[name] = schema;
    }
    schemas
}

/// What keys may use and have used.
fn about_limits() -> [(&'static str, Value); 4] {
    let spending = [
        "requests",
        "runs",
        "model_calls",
        "input_tokens",
        "output_tokens",
    ];
    let usage = object(
        &[
            "key",
            "name",
            "limits",
            "running",
            "waiting",
            "today",
            "left",
            "renews_at",
            "days",
        ],
        json!({
            "key": { "type": "string" },
            "name": { "type": ["string", "null"], "description": "null: a key of the environment, or one that is gone." },
            "limits": reference("Limits"),
            "running": count(),
            "waiting": count(),
            "today": reference("Spending"),
            "left": object(&["tokens", "cost_usd"], json!({
                "tokens": { "type": ["integer", "null"], "minimum": 0, "description": "null: not limited." },
                "cost_usd": { "type": ["number", "null"], "minimum": 0 },
            })),
            "renews_at": { "type": "string", "format": "date-time" },
            "days": { "type": "array", "items": reference("Spending"), "description": "The last 30 days, the newest first." },
        }),
    );
    let mut day = json!({
        "day": { "type": "string", "format": "date" },
        "cost_usd": { "type": "number", "minimum": 0 },
    });
    for name in spending {
        day[name] = count();
    }
    let day_names: Vec<_> = spending.into_iter().chain(["day", "cost_usd"]).collect();
    let usages = json!({ "keys": { "type": "array", "items": reference("KeyUsage") } });
    [
        ("Limits", limits()),
        ("Usages", object(&["keys"], usages)),
        ("KeyUsage", usage),
        ("Spending", object(&day_names, day)),
    ]
}

/// A schema without the dialect line, which only a document of its own may carry.
fn embedded(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(members) = schema.as_object_mut() {
        members.shift_remove("$schema");
        members.shift_remove("$id");
        // Its name is the component's: both have the workflow's as their title, and generators of
        // clients name what they make by it.
        members.shift_remove("title");
    }
    name_integers(&mut schema);
    schema
}

/// An `int` of the language has 64 bits.
fn name_integers(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let is_integer = match members.get("type") {
                Some(Value::String(only)) => only == "integer",
                Some(Value::Array(several)) => several.iter().any(|one| one == "integer"),
                _ => false,
            };
            if is_integer {
                members.insert("format".to_owned(), "int64".into());
            }
            members.values_mut().for_each(name_integers);
        }
        Value::Array(items) => items.iter_mut().for_each(name_integers),
        _ => {}
    }
}

fn job_properties(more: &[(&str, Value)]) -> Value {
    let mut properties = json!({
        "job_id": id(),
        "status": reference("JobStatus"),
        "created_at": { "type": "string", "format": "date-time" },
        "completed_at": { "type": ["string", "null"], "format": "date-time" },
        "execution_time_ms": { "type": ["integer", "null"], "minimum": 0 },
        "error": { "type": ["string", "null"], "description": "One sentence, once failed." },
        "workflow": { "type": "string" },
        "started_at": { "type": ["string", "null"], "format": "date-time" },
        "usage": or_null(reference("Usage")),
        "metadata": { "type": ["object", "null"] },
        "retried_from": or_null(id()),
    });
    for (name, schema) in more {
        properties[*name] = schema.clone();
    }
    properties
}

const KEY_PROPERTIES: [&str; 11] = [
    "id",
    "name",
    "state",
    "scopes",
    "workflows",
    "limits",
    "created_at",
    "expires_at",
    "last_used_at",
    "revoked_at",
    "previous_until",
];

fn key_properties() -> Value {
    let time = json!({ "type": ["string", "null"], "format": "date-time" });
    json!({
        "id": { "type": "string" },
        "name": { "type": "string" },
        "state": { "enum": ["active", "expired", "revoked"] },
        "scopes": { "type": "array", "items": scope() },
        "workflows": { "type": ["array", "null"], "items": { "type": "string" } },
        "limits": reference("Limits"),
        "created_at": time,
        "expires_at": time,
        "last_used_at": time,
        "revoked_at": time,
        "previous_until": time,
    })
}

/// Of a key: `null` where the server's defaults count.
fn limits() -> Value {
    let whole = |least: u64, most: u64| json!({ "type": ["integer", "null"], "minimum": least, "maximum": most });
    let few = u64::from(u32::MAX);
    let usd = json!({ "type": ["number", "null"], "minimum": USD.start(), "maximum": USD.end() });
    json!({
        "type": "object",
        "properties": {
            "requests_per_minute": whole(1, few),
            "max_running": whole(1, few),
            "max_queued": whole(0, few),
            "tokens_per_day": whole(1, MOST_TOKENS),
            "cost_per_day_usd": usd,
        },
        "additionalProperties": false,
    })
}

fn scope() -> Value {
    json!({ "enum": ["run", "read", "metrics", "admin"] })
}

fn webhook() -> Value {
    let properties = json!({
        "url": { "type": "string", "description": "Without credentials and query; of the server's own webhook only the host." },
        "state": { "enum": ["waiting", "pending", "delivered", "gone", "given_up"] },
        "attempts": count(),
        "last_error": { "type": ["string", "null"] },
        "next_attempt_at": { "type": ["string", "null"], "format": "date-time" },
    });
    object(
        &["url", "state", "attempts", "last_error", "next_attempt_at"],
        properties,
    )
}

/// A job may be another workflow's, whose outputs are not described here.
fn if_of_this_workflow(outputs: &Value) -> Value {
    json!({ "anyOf": [outputs, { "type": "object" }] })
}

fn object(required: &[&str], properties: Value) -> Value {
    let mut schema = json!({ "type": "object", "required": required });
    schema["properties"] = properties;
    schema
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn or_null(schema: Value) -> Value {
    let options = vec![schema, json!({ "type": "null" })];
    json!({ "anyOf": options })
}

fn id() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

fn endpoints() -> Value {
    json!({ "type": "object", "description": "Paths, by what they are for.", "additionalProperties": { "type": "string" } })
}

fn limit() -> Value {
    json!({ "type": ["integer", "null"], "minimum": 0, "maximum": number::LARGEST })
}

/// A key's name: something that can be seen, and no control characters.
const NAME: &str = "^[^\\u0000-\\u001F\\u007F-\\u009F]*[^\\s\\u0000-\\u001F\\u007F-\\u009F][^\\u0000-\\u001F\\u007F-\\u009F]*$";

/// A webhook's secret: the base64 of 24 to 64 bytes, whose last digit leaves no bits over.
const SECRET: &str = "^whsec_(([A-Za-z0-9+/]{4}){8,21}([A-Za-z0-9+/][AQgw]==)?|([A-Za-z0-9+/]{4}){8,20}[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)$";

/// The mark of token counts that no provider gave.
fn estimated() -> Value {
    json!({
        "type": "boolean",
        "description": "True: some of the tokens, and so of the cost, were estimated, because a provider left \
                        them out or a call was broken off. Absent where every count was reported.",
    })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}
