//! `--capture`: the most that telemetry may record of any run, whatever its workflow allows.

use clap::ValueEnum;
use lang::workflow::CaptureLevel;
use serde::Deserialize;

/// A capture level as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Capture {
    /// No content, not even its size
    None,
    /// Sizes, names and kinds
    Metadata,
    /// The content itself as well
    Full,
}

impl From<Capture> for CaptureLevel {
    fn from(capture: Capture) -> Self {
        match capture {
            Capture::None => Self::None,
            Capture::Metadata => Self::Metadata,
            Capture::Full => Self::Full,
        }
    }
}
