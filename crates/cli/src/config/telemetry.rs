//! `[telemetry]`: how much of runs leaves the process. Where it goes is said by `MLFLOW_*` and `OTEL_*`.

use clap::ValueEnum;
use serde::Deserialize;
use telemetry::capture::Capture;
use telemetry::mlflow::ArtifactLevel;

/// As given on the command line, in the environment, or in the file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Telemetry")]
#[group(skip)]
pub(crate) struct Options {
    /// How much of prompts, replies, inputs and outputs MLflow and traces show [default: full]
    #[arg(long, value_name = "HOW_MUCH", env = "FLOWMILL_CAPTURE")]
    pub capture: Option<HowMuch>,

    /// How many artifacts a run leaves in MLflow [default: as its workflow says, else standard]
    #[arg(long, value_name = "LEVEL", env = "FLOWMILL_MLFLOW_ARTIFACTS")]
    pub mlflow_artifacts: Option<Level>,
}

/// `--capture`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HowMuch {
    /// No content.
    None,
    /// Types and sizes of values.
    Metadata,
    /// Everything.
    Full,
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

/// Decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Of prompts, replies and data.
    pub capture: Capture,
    /// Over what workflows say.
    pub artifacts: Option<ArtifactLevel>,
}

impl Options {
    /// The keys of the section.
    pub(crate) const KEYS: &[&str] = &["capture", "mlflow_artifacts"];

    /// Takes what is unset from the file, then the defaults.
    pub(crate) fn settle(&self, file: &Self) -> Settings {
        let capture = self.capture.or(file.capture);
        let artifacts = self.mlflow_artifacts.or(file.mlflow_artifacts);
        Settings {
            capture: capture.map_or(Capture::Full, |capture| match capture {
                HowMuch::None => Capture::None,
                HowMuch::Metadata => Capture::Metadata,
                HowMuch::Full => Capture::Full,
            }),
            artifacts: artifacts.map(|level| match level {
                Level::Minimal => ArtifactLevel::Minimal,
                Level::Standard => ArtifactLevel::Standard,
                Level::Full => ArtifactLevel::Full,
            }),
        }
    }
}
