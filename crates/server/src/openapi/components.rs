//! The schemas that operations refer to by name, made from the types that are sent.
//!
//! Bodies of requests are read by hand, to report every fault at once, so no type of ours has their form:
//! their schemas are written beside their readers. So is what is not JSON of ours: `Event`, `OpenApi`.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use service::catalog::LoadedWorkflow;

/// Where a document has its schemas.
pub(super) const PATH: &str = "/components/schemas";

/// A schema with a name.
#[derive(Debug, Clone)]
pub(crate) struct Component {
    pub(super) name: Cow<'static, str>,
    source: Source,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Derived(fn(&mut SchemaGenerator) -> Schema),
    Written(fn() -> Value),
}

impl Component {
    /// The schema of a type that is sent.
    pub(crate) fn of<T: JsonSchema>() -> Self {
        Self {
            name: T::schema_name(),
            source: Source::Derived(SchemaGenerator::subschema_for::<T>),
        }
    }

    /// A schema that is written by hand.
    pub(crate) fn written(name: &'static str, schema: fn() -> Value) -> Self {
        Self {
            name: name.into(),
            source: Source::Written(schema),
        }
    }

    /// A reference to it.
    pub(super) fn reference(&self) -> Value {
        reference(&self.name)
    }
}

/// A reference to the component of that name.
pub(crate) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#{PATH}/{name}") })
}

/// The schemas of components, and of all that they refer to.
pub(super) fn schemas<'a>(
    components: impl IntoIterator<Item = &'a Component>,
) -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12()
        .for_serialize()
        .with(|settings| {
            settings.definitions_path = PATH.into();
            settings.meta_schema = None;
        });
    let mut generator = settings.with_transform(ForClients).into_generator();
    let mut written = Map::new();
    for component in components {
        match component.source {
            Source::Derived(add) => {
                add(&mut generator);
            }
            Source::Written(schema) => {
                written.insert(component.name.to_string(), schema());
            }
        }
    }
    let mut schemas = generator.take_definitions(true);
    schemas.extend(written);
    schemas
}

/// Makes of the schemas that are derived those that generators of clients make the most of.
#[derive(Debug, Clone, Copy)]
struct ForClients;

impl Transform for ForClients {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        // Not every tool expects something beside a reference.
        if let Some(reference) = schema.remove("$ref") {
            schema.ensure_object().clear();
            schema.insert("$ref".to_owned(), reference);
            return;
        }
        // The width of a Rust integer means nothing in JSON.
        if let Some(Value::String(format)) = schema.get("format")
            && ["uint", "int", "double", "float"]
                .iter()
                .any(|prefix| format.starts_with(prefix))
        {
            schema.remove("format");
        }
        // Types of ours have defaults for what an earlier version stored, not for clients.
        if let Some(Value::Null | Value::Bool(false) | Value::Object(_)) = schema.get("default") {
            schema.remove("default");
        }
        if let Some(names) = schema.get("oneOf").and_then(names_of_variants) {
            schema.remove("oneOf");
            schema.insert("enum".to_owned(), names);
        }
    }
}

/// The names of an enum whose variants are described one by one, which clients have no type for.
fn names_of_variants(one_of: &Value) -> Option<Value> {
    let variants = one_of.as_array()?.iter();
    variants
        .map(|variant| variant.get("const").cloned())
        .collect()
}

/// Replaces the schemas that depend on the workflow. `is_only`: no other one is served.
pub(super) fn adapt(schemas: &mut Map<String, Value>, loaded: &LoadedWorkflow, is_only: bool) {
    for (name, own) in [
        ("Inputs", &loaded.input_schema),
        ("Outputs", &loaded.output_schema),
    ] {
        let mut own = embedded(own);
        if let (Some(own), Some(placeholder)) = (own.as_object_mut(), schemas.get(name)) {
            own.entry("description")
                .or_insert_with(|| placeholder["description"].clone());
        }
        schemas.insert(name.to_owned(), own);
    }
    let Some(request) = schemas.get_mut("JobRequest") else {
        return;
    };
    let (required, workflow) = if is_only {
        let workflow = json!({ "type": ["string", "null"], "description": "The name of the workflow. It may be left out: there is only one." });
        (json!(["inputs"]), workflow)
    } else {
        let workflow = json!({ "const": loaded.workflow.name, "description": "The name of the workflow. Each workflow has a document of its own." });
        (json!(["inputs", "workflow"]), workflow)
    };
    request["required"] = required;
    request["properties"]["workflow"] = workflow;
}

/// A schema without what only a document of its own may have.
fn embedded(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(members) = schema.as_object_mut() {
        members.shift_remove("$schema");
        members.shift_remove("$id");
        // Both have the workflow's name as their title, and generators of clients name types by it.
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

/// The events of a stream.
pub(crate) fn event_stream() -> Component {
    Component::written("EventStream", || {
        json!({
            "description": "Server-sent events: as text the whole stream, otherwise each event of it. OpenAPI 3.1 \
                            does not say which is meant, and tools differ.",
            "anyOf": [{ "type": "string" }, reference("Event")],
        })
    })
}

/// One event of a stream.
pub(super) fn event() -> Component {
    Component::written("Event", || {
        json!({
            "type": "object",
            "description": "Something that happened in a run.",
            "required": ["event", "data"],
            "properties": {
                "id": { "type": "string", "pattern": "^[0-9]+$", "description": "Rises within a job. Events that are not replayed have none." },
                "event": { "enum": [
                    "run_started", "node_started", "llm_delta", "node_retried", "node_warning", "node_completed", "node_failed",
                    "gate_failed", "run_completed", "run_failed", "run_cancelled", "server_stopping", "result",
                ] },
                "data": { "type": "string", "contentMediaType": "application/json" },
            },
        })
    })
}
