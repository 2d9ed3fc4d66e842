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
