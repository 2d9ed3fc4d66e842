//! `[telemetry]`: what runs record. The variables `MLFLOW_*` and `OTEL_*` say where it is sent.

use clap::ValueEnum;
use serde::Deserialize;
use telemetry::mlflow::ArtifactLevel;

/// As given on the command line, in the environment, or in the file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Telemetry")]
#[group(skip)]
pub(crate) struct Options {
    /// Artifacts that a run stores in MLflow [default: as the workflow says, else standard]
    #[arg(long, value_name = "LEVEL", env = "FLOWMILL_MLFLOW_ARTIFACTS")]
    pub mlflow_artifacts: Option<Level>,
}

/// `--mlflow-artifacts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Inputs, and outputs or error.
    Minimal,
    /// Also each node's prompts and replies.
    Standard,
    /// Also the state after each step.
    Full,
}

impl Options {
    /// The keys of the section.
    pub(crate) const KEYS: &[&str] = &["mlflow_artifacts"];

    /// Fills unset options from the settings file.
    pub(crate) fn settle(&self, file: &Self) -> Option<ArtifactLevel> {
        let level = self.mlflow_artifacts.or(file.mlflow_artifacts);
        level.map(|level| match level {
            Level::Minimal => ArtifactLevel::Minimal,
            Level::Standard => ArtifactLevel::Standard,
            Level::Full => ArtifactLevel::Full,
        })
    }
}
