//! Overviews of the server or of one workflow, with the paths of what they offer.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use service::catalog::LoadedWorkflow;

use crate::paths::named_prefix;
use crate::root_path::RootPath;

const RUNNING: &str = "running";

/// A workflow that is served.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Listed<'a> {
    name: &'a str,
    version: Option<&'a str>,
    description: Option<&'a str>,
    #[schemars(schema_with = "paths_schema")]
    endpoints: Endpoints,
}

impl<'a> Listed<'a> {
    /// Of a workflow, on a server that is shown below `root`.
    pub(crate) fn of(loaded: &'a LoadedWorkflow, root: &RootPath) -> Self {
        let workflow = &loaded.workflow;
        Self {
            name: &workflow.name,
            version: workflow.version.as_deref(),
            description: workflow.description.as_deref(),
            endpoints: Endpoints::below(root, &named_prefix(&workflow.name)),
        }
    }
}

/// What is served, and the paths of it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Overview<'a> {
    /// The name of the workflow; null if several are served.
    workflow: Option<&'a str>,
    #[schemars(extend("const" = RUNNING))]
    status: &'static str,
    version: Option<&'a str>,
    description: Option<&'a str>,
    #[schemars(schema_with = "paths_schema")]
    endpoints: AllEndpoints,
}

impl<'a> Overview<'a> {
    /// Of one workflow, whose paths begin with `root` and `prefix`.
    pub(crate) fn of(loaded: &'a LoadedWorkflow, root: &RootPath, prefix: &str) -> Self {
        let workflow = &loaded.workflow;
        Self {
            workflow: Some(&workflow.name),
            version: workflow.version.as_deref(),
            description: workflow.description.as_deref(),
            ..Self::with(root, Some(Endpoints::below(root, prefix)))
        }
    }

    /// Of a server with several workflows.
    pub(crate) fn of_several(root: &RootPath) -> Self {
        Self::with(root, None)
    }

    fn with(root: &RootPath, workflow: Option<Endpoints>) -> Self {
        let path = |path: &str| format!("{}{path}", root.as_str());
        let endpoints = AllEndpoints {
            workflow,
            status: path("/status/{job_id}"),
            jobs: path("/jobs"),
            workflows: path("/workflows"),
            health: path("/health"),
        };
        Self {
            workflow: None,
            status: RUNNING,
            version: None,
            description: None,
            endpoints,
        }
    }
}

/// Written by hand, since it is open: later versions add paths, which clients look up by name.
fn paths_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "Paths, by what they are for.",
        "additionalProperties": { "type": "string" },
    })
}

#[derive(Serialize)]
struct AllEndpoints {
    #[serde(flatten)]
    workflow: Option<Endpoints>,
    status: String,
    jobs: String,
    workflows: String,
    health: String,
}

/// A workflow's own paths.
#[derive(Serialize)]
struct Endpoints {
    run: String,
    schema: String,
    openapi: String,
    docs: String,
}

impl Endpoints {
    fn below(root: &RootPath, prefix: &str) -> Self {
        let path = |name: &str| format!("{}{prefix}/{name}", root.as_str());
        Self {
            run: path("run"),
            schema: path("schema"),
            openapi: path("openapi.json"),
            docs: path("docs"),
        }
    }
}
