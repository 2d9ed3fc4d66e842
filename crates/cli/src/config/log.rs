//! `[log]`: what flowmill writes about its own work, to stderr.

use clap::ValueEnum;
use serde::Deserialize;

/// As given on the command line, in the environment, or in the file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Global options")]
#[group(skip)]
pub(crate) struct Options {
    /// Least severe log lines to show [default: info for serve, else warn; `RUST_LOG` filters more
    /// finely]
    #[arg(
        id = "log_level",
        long = "log-level",
        value_name = "LEVEL",
        env = "FLOWMILL_LOG_LEVEL",
        global = true
    )]
    pub level: Option<Level>,

    /// Format of log lines [default: text]
    #[arg(
        id = "log_format",
        long = "log-format",
        value_name = "FORMAT",
        env = "FLOWMILL_LOG_FORMAT",
        global = true
    )]
    pub format: Option<Format>,
}

impl Options {
    /// The keys of the section.
    pub(crate) const KEYS: &[&str] = &["level", "format"];

    /// Fills unset options from a lower layer.
    pub(crate) fn or(self, lower: &Self) -> Self {
        Self {
            level: self.level.or(lower.level),
            format: self.format.or(lower.format),
        }
    }
}

/// `--log-level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Nothing at all.
    Off,
    /// Errors.
    Error,
    /// Also warnings.
    Warn,
    /// Also what the program does.
    Info,
    /// Also how it does it.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// The level as `RUST_LOG` filters name it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object per line.
    Json,
}
