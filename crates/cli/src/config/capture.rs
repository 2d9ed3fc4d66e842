//! `--capture`: the most that telemetry may keep of any run, whatever its workflow allows.

use clap::ValueEnum;
use lang::workflow::CaptureLevel;
use serde::Deserialize;

/// As written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Capture {
    /// No content, not even its size
    None,
    /// Sizes, names and kinds
    Metadata,
    /// The content, too
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
