//! What each component is, in a sentence: generated clients show it with the types they make.

use serde_json::Value;

const DESCRIPTIONS: [(&str, &str); 36] = [
    ("Inputs", "What the workflow takes."),
    (
        "Outputs",
        "The whole state of the workflow at its end, inputs included.",
    ),
    ("RunResult", "A run that completed."),
    ("RunPending", "A handle on a run that goes on."),
    ("Job", "A run and how it stands."),
    ("JobEnded", "What a webhook is told."),
    ("JobRow", "A job in a list, without its outputs."),
    ("JobPage", "A page of jobs, newest first."),
    (
        "JobStatus",
        "How a job stands. `completed`, `failed` and `cancelled` are for good.",
    ),
    ("JobHandle", "Which job, and how it stands now."),
    (
        "JobRequest",
        "A job that is asked for: its inputs, and what goes with them.",
    ),
    ("RetryRequest", "Where a job is to be repeated from."),
    ("Usage", "What a run took of models."),
    ("NodeUsage", "What a node took of models."),
    ("Problem", "Something that went wrong (RFC 9457)."),
    ("Fault", "One fault of a request, and where it is."),
    ("ValidationFaults", "Every fault of a request."),
    ("Detail", "Why there is no answer, in a few words."),
    ("Fields", "The fields of a workflow's state, by name."),
    ("JsonSchemas", "Two JSON Schemas (2020-12)."),
    (
        "SchemaAnswer",
        "As it was asked for: the fields, or JSON Schemas.",
    ),
    (
        "EventStream",
        "Server-sent events: as text the whole stream, else each event of it. OpenAPI 3.1 does not say which is meant, and tools differ.",
    ),
    ("Event", "Something that happened in a run."),
    ("Overview", "What is served, and the paths of it."),
    ("Workflows", "The workflows that are served."),
    ("OpenApi", "A document like this one."),
    ("Key", "What is known of an API key; never its secret."),
    ("MadeKey", "An API key that is new or has a new secret."),
    ("Keys", "All API keys."),
    ("KeyRequest", "An API key that is asked for."),
    ("RotateRequest", "How long the old secret stays good."),
    ("Health", "How the server is."),
    (
        "Limits",
        "How much an API key may use; null where the server's defaults count.",
    ),
    ("Usages", "What API keys have spent and may still."),
    (
        "KeyUsage",
        "One API key: its limits, what is in flight, and its days.",
    ),
    ("Spending", "What was spent on one day, in UTC."),
];

/// Gives each component that has no description one.
pub(super) fn add_to(schemas: &mut Value) {
    for (name, description) in DESCRIPTIONS {
        if let Some(schema) = schemas.get_mut(name).and_then(Value::as_object_mut) {
            schema
                .entry("description")
                .or_insert_with(|| description.into());
        }
    }
}
