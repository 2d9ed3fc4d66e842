//! What a command needs besides its own arguments.

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::config::environment::Environment;
use crate::config::log;
use crate::config::project::Project;
use crate::logging;

/// The environment, the settings file and the parsed command line.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) environment: Environment,
    pub(super) project: Project,
    pub(super) log: log::Options,
    pub(super) matches: ArgMatches,
}

impl Context {
    /// Whether an option was given on the command line, not by the environment.
    pub(super) fn is_flag(&self, id: &str) -> bool {
        self.matches.value_source(id) == Some(ValueSource::CommandLine)
    }

    /// Starts logging, at the level `default` unless an option or `RUST_LOG` says otherwise.
    pub(super) fn start_logging(&self, default: log::Level) {
        logging::start(&self.log, self.environment.rust_log().as_deref(), default);
    }
}
