//! Starts logging to stderr as the options say. The format of log lines is defined in `telemetry`.

use telemetry::logging::{self, Format as Look};

use crate::config::log::{Format, Level, Options};
use crate::printer;

/// Starts logging, at the level `default` unless an option or `RUST_LOG` says otherwise.
pub(crate) fn start(options: &Options, rust_log: Option<&str>, default: Level) {
    let filter = match (options.level, rust_log) {
        (Some(level), _) => level.as_str(),
        (None, Some(directives)) => directives,
        (None, None) => default.as_str(),
    };
    let look = match options.format.unwrap_or_default() {
        Format::Text => Look::Text {
            color: printer::stderr_look().color,
        },
        Format::Json => Look::Json,
    };
    logging::start(filter, look);
}
