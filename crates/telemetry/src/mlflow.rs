//! MLflow: runs over its REST API, traces over OTLP, workflows and prompts in its registry.

mod check;
mod client;
mod deliver;
mod head;
mod names;
mod registry;
mod settings;
mod worker;

pub use check::{Checked, check};
pub use client::{Client, Error};
pub use head::ArtifactLevel;
pub(crate) use head::{Artifact, End, EndStatus, Message, RunHandle, RunHead};
pub use registry::{ModelUri, NoModelUri, Registered, Registry};
pub use settings::{Settings, SettingsError};
pub(crate) use worker::{Sink, work};

/// The innermost cause, which is the one that says something; never an address, which may hold a password.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if cause.is::<reqwest::Error>() {
        return if error.is_timeout() {
            "no answer in time".to_owned()
        } else {
            "the exchange broke off".to_owned()
        };
    }
    cause.to_string()
}
