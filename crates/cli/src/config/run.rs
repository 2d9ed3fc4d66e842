//! `[run]`: one run on the command line.

use std::time::Duration;

use clap::ValueEnum;
use clap::builder::BoolishValueParser;
use lang::workflow::{Budget, CaptureLevel};
use serde::Deserialize;

use super::capture::Capture;
use super::units::PositiveDuration;

/// As given on the command line, in the environment, or in the file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
#[group(skip)]
pub(crate) struct Options {
    /// Longest time for the whole run, such as 30s or 5m [default: none]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_TIMEOUT")]
    pub timeout: Option<PositiveDuration>,

    /// Format of stdout [default: pretty]
    #[arg(long, value_name = "FORMAT", env = "FLOWMILL_FORMAT")]
    pub format: Option<Format>,

    /// Print no progress on stderr, only warnings and errors
    #[arg(
        short, long, value_name = "BOOL", env = "FLOWMILL_QUIET",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new()
    )]
    pub quiet: Option<bool>,

    /// Budget of the run in US dollars; it stops before it would spend more
    #[arg(long, value_name = "USD", env = "FLOWMILL_MAX_COST_USD", value_parser = cost)]
    pub max_cost_usd: Option<f64>,

    /// Budget of the run in tokens, input and output together
    #[arg(long, value_name = "N", env = "FLOWMILL_MAX_TOKENS")]
    pub max_tokens: Option<u64>,

    /// Budget of the run in model calls
    #[arg(long, value_name = "N", env = "FLOWMILL_MAX_LLM_CALLS")]
    pub max_llm_calls: Option<u64>,

    /// The most that telemetry may record of prompts, answers, inputs and outputs, whatever a
    /// workflow allows [default: full]
    #[arg(long, value_name = "LEVEL", env = "FLOWMILL_CAPTURE")]
    pub capture: Option<Capture>,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// The outputs as indented JSON.
    #[default]
    Pretty,
    /// The outputs as YAML.
    Yaml,
    /// One line of JSON: status, outputs, usage, `execution_time_ms`, `job_id`; also when the run
    /// fails.
    Json,
}

/// The settings in effect.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// Longest time for the whole run.
    pub timeout: Option<Duration>,
    /// Format of stdout.
    pub format: Format,
    /// Whether to print no progress.
    pub quiet: bool,
    /// Budget on top of the workflow's own; the tighter one counts.
    pub budget: Budget,
    /// The most that telemetry may record.
    pub capture: CaptureLevel,
}

impl Options {
    /// The keys of the section.
    pub(crate) const KEYS: &[&str] = &[
        "timeout",
        "format",
        "quiet",
        "max_cost_usd",
        "max_tokens",
        "max_llm_calls",
        "capture",
    ];

    /// Fills unset options from the settings file, then with the defaults.
    pub(crate) fn settle(self, file: &Self) -> Settings {
        Settings {
            timeout: self.timeout.or(file.timeout).map(|time| time.0),
            format: self.format.or(file.format).unwrap_or_default(),
            quiet: self.quiet.or(file.quiet).unwrap_or_default(),
            budget: Budget {
                max_cost_usd: self.max_cost_usd.or(file.max_cost_usd),
                max_tokens: self.max_tokens.or(file.max_tokens),
                max_llm_calls: self.max_llm_calls.or(file.max_llm_calls),
                max_tool_calls: None,
            },
            capture: self
                .capture
                .or(file.capture)
                .map(CaptureLevel::from)
                .unwrap_or_default(),
        }
    }
}

fn cost(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(cost) if cost.is_finite() && cost >= 0.0 => Ok(cost),
        _ => Err(format!(
            "`{text}` is not an amount of US dollars; write one such as 0.25"
        )),
    }
}
