//! `[telemetry]`: what of runs leaves the process. Where it goes is said by `MLFLOW_*` and `OTEL_*`.

use clap::ValueEnum;
use serde::Deserialize;
use telemetry::mlflow::ArtifactLevel;

/// As given on the command line, in the environment, or in the file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Telemetry")]
#[group(skip)]
pub(crate) struct Options {
    /// How many artifacts a run leaves in MLflow [default: as its workflow says, else standard]
    #[arg(long, value_name = "LEVEL", env = "FLOWMILL_MLFLOW_ARTIFACTS")]
    pub mlflow_artifacts: Option<Level>,
}

/// `--mlflow-artifacts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Inputs, and outputs or error.
    Minimal,
    /// And each node's prompts and replies.
    Standard,
    /// And the state after each step.
    Full,
}

impl Options {
    /// The keys of the section.
    pub(crate) const KEYS: &[&str] = &["mlflow_artifacts"];

    /// Takes what is unset from the file.
    pub(crate) fn settle(&self, file: &Self) -> Option<ArtifactLevel> {
        let level = self.mlflow_artifacts.or(file.mlflow_artifacts);
        level.map(|level| match level {
            Level::Minimal => ArtifactLevel::Minimal,
            Level::Standard => ArtifactLevel::Standard,
            Level::Full => ArtifactLevel::Full,
        })
    }
}
