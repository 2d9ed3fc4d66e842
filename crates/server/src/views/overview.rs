//! What is served: the server as a whole, or one workflow, with where to go from here.

use serde::Serialize;
use service::catalog::LoadedWorkflow;

use crate::openapi::named_prefix;

/// A workflow in the listing.
#[derive(Serialize)]
pub(crate) struct Listed<'a> {
    name: &'a str,
    version: Option<&'a str>,
    description: Option<&'a str>,
    endpoints: Endpoints,
}

impl<'a> From<&'a LoadedWorkflow> for Listed<'a> {
    fn from(loaded: &'a LoadedWorkflow) -> Self {
        let workflow = &loaded.workflow;
        Self {
            name: &workflow.name,
            version: workflow.version.as_deref(),
            description: workflow.description.as_deref(),
            endpoints: Endpoints::below(&named_prefix(&workflow.name)),
        }
    }
}

/// `GET /` and `GET /workflows/{name}`.
#[derive(Serialize)]
pub(crate) struct Overview<'a> {
    workflow: Option<&'a str>,
    status: &'static str,
    version: Option<&'a str>,
    description: Option<&'a str>,
    endpoints: AllEndpoints,
}

impl<'a> Overview<'a> {
    /// Of one workflow, whose paths begin with `prefix`.
    pub(crate) fn of(loaded: &'a LoadedWorkflow, prefix: &str) -> Self {
        let workflow = &loaded.workflow;
        Self {
            workflow: Some(&workflow.name),
            version: workflow.version.as_deref(),
            description: workflow.description.as_deref(),
            ..Self::with(Some(Endpoints::below(prefix)))
        }
    }

    /// Of a server with several workflows.
    pub(crate) fn of_several() -> Self {
        Self::with(None)
    }

    fn with(workflow: Option<Endpoints>) -> Self {
        let endpoints = AllEndpoints {
            workflow,
            status: "/status/{job_id}",
            jobs: "/jobs",
            workflows: "/workflows",
            health: "/health",
        };
        Self {
            workflow: None,
            status: "running",
            version: None,
            description: None,
            endpoints,
        }
    }
}

#[derive(Serialize)]
struct AllEndpoints {
    #[serde(flatten)]
    workflow: Option<Endpoints>,
    status: &'static str,
    jobs: &'static str,
    workflows: &'static str,
    health: &'static str,
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
    fn below(prefix: &str) -> Self {
        let path = |name: &str| format!("{prefix}/{name}");
        Self {
            run: path("run"),
            schema: path("schema"),
            openapi: path("openapi.json"),
            docs: path("docs"),
        }
    }
}
