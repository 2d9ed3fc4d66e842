//! Log lines on stderr. Owns the choice of filter and format; what is logged is the other crates' business.

use tracing_subscriber::EnvFilter;

use crate::config::log::{Format, Level, Options};
use crate::printer;

/// Starts logging. `default` counts where neither an option nor `RUST_LOG` says otherwise.
pub(crate) fn start(options: &Options, rust_log: Option<&str>, default: Level) {
    let filter = match (options.level, rust_log) {
        (Some(level), _) => EnvFilter::new(level.as_str()),
        (None, Some(directives)) => EnvFilter::new(directives),
        (None, None) => EnvFilter::new(default.as_str()),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match options.format.unwrap_or_default() {
        Format::Text => lines
            .with_target(false)
            .with_ansi(printer::stderr_look().color)
            .init(),
        Format::Json => lines.json().flatten_event(true).init(),
    }
}
