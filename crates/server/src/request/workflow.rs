//! The workflow that a path is about: `/workflows/{name}/…` names one, the root paths mean the only
//! one.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use service::catalog::LoadedWorkflow;

use crate::app::App;
use crate::refusal::Refusal;
use crate::request::caller::Caller;

/// The workflow in its present version.
#[derive(Debug)]
pub(crate) struct SelectedWorkflow {
    pub(crate) loaded: Arc<LoadedWorkflow>,
    /// Whether the path names it.
    pub(crate) by_name: bool,
}

impl FromRequestParts<App> for SelectedWorkflow {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let catalog = app.service().catalog();
        let caller = Caller::of(parts, app);
        match path_parameter(parts, "name").await {
            Some(name) => match caller.expect_to_use(&name).map(|()| catalog.get(&name))? {
                Some(loaded) => Ok(Self {
                    loaded,
                    by_name: true,
                }),
                None => Err(Refusal::NotFound("Workflow not found")),
            },
            None => match catalog.only() {
                Some(loaded) => caller.expect_to_use(&loaded.name).map(|()| Self {
                    loaded,
                    by_name: false,
                }),
                None => Err(Refusal::NotFound("Not Found")),
            },
        }
    }
}

/// The workflow that a page is about. Without a key every name is accepted: a caller must not learn
/// which workflows exist. The page finds out once its user has entered a key.
#[derive(Debug)]
pub(crate) struct PageWorkflow {
    /// `None`: the only one.
    pub(crate) name: Option<String>,
}

impl FromRequestParts<App> for PageWorkflow {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        if !matches!(Caller::of(parts, app), Caller::Anonymous) {
            SelectedWorkflow::from_request_parts(parts, app).await?;
        }
        Ok(Self {
            name: path_parameter(parts, "name").await,
        })
    }
}

/// A decoded parameter of the path; `None` if there is none, or if it is not UTF-8.
pub(crate) async fn path_parameter(parts: &mut Parts, name: &str) -> Option<String> {
    let parameters = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    parameters
        .iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
}
