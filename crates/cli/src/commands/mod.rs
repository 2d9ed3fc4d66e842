//! The command line, with a file for each command. clap parses it; what a command needs besides its
//! own arguments is in its [`Context`].

mod backend;
mod completions;
mod context;
mod deploy;
mod explain;
mod health;
mod init;
mod jobs;
mod keys;
mod mlflow;
mod replicas;
mod report;
mod run;
mod schema;
mod serve;
mod undeploy;
mod usage;
mod validate;

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::context::Context;
use crate::config::environment::Environment;
use crate::config::log;
use crate::config::project::Project;
use crate::failure::{EXIT_CODES, Exit, Result};
use crate::printer::{self, Color};

/// Turn an LLM agent workflow written in YAML into a production HTTP API.
#[derive(Debug, Parser)]
#[command(
    name = "flowmill", version, after_help = EXIT_CODES, max_term_width = 100, propagate_version = true,
    arg_required_else_help = true, subcommand_required = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    log: log::Options,

    /// Settings file [default: flowmill.toml in the working directory, if there is one]
    #[arg(
        long,
        value_name = "FILE",
        env = "FLOWMILL_CONFIG",
        global = true,
        help_heading = "Global options"
    )]
    config: Option<PathBuf>,

    /// When to use colour
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        global = true,
        help_heading = "Global options"
    )]
    color: Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Validate(validate::Args),
    Serve(Box<serve::Args>),
    Jobs(jobs::Args),
    Mlflow(mlflow::Args),
    Report(report::Args),
    Keys(keys::Args),
    Replicas(replicas::Args),
    Deploy(Box<deploy::Args>),
    Undeploy(undeploy::Args),
    Health(health::Args),
    Schema(schema::Args),
    Explain(explain::Args),
    Init(init::Args),
    Completions(completions::Args),
}

/// Runs the command that the command line names.
pub(crate) fn main() -> Result<Exit> {
    let environment = Environment::load();
    let matches = match environment.apply(Cli::command()).try_get_matches() {
        Ok(matches) => matches,
        // Our message names the variable; clap's would say "one or more arguments".
        Err(error) if error.kind() == ErrorKind::InvalidUtf8 && environment.check().is_err() => {
            return environment.check().map(|()| Exit::Usage);
        }
        Err(mut error) => {
            usage::explain(&mut error, &environment, Cli::command());
            // Help and version arrive here as well.
            printer::usage(&error);
            return Ok(if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Success
            });
        }
    };
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    printer::set_color(cli.color);
    let context = || -> Result<Context> {
        environment.check()?;
        let project = Project::load(cli.config.as_deref())?;
        let log = cli.log.or(&project.log);
        let (_, matches) = matches.subcommand().expect("clap requires a command");
        Ok(Context {
            environment,
            project,
            log,
            matches: matches.clone(),
        })
    };
    match cli.command {
        Command::Run(args) => run::run(&args, &context()?),
        Command::Validate(args) => validate::validate(&args),
        Command::Serve(args) => serve::serve(*args, &context()?),
        Command::Jobs(args) => jobs::jobs(args, &context()?),
        Command::Mlflow(args) => mlflow::mlflow(&args, &context()?),
        Command::Report(args) => report::report(&args, &context()?),
        Command::Keys(args) => keys::keys(args, &context()?),
        Command::Replicas(args) => replicas::replicas(&args, &context()?),
        Command::Deploy(args) => deploy::deploy(&args, &context()?),
        Command::Undeploy(args) => undeploy::undeploy(&args),
        Command::Health(args) => health::health(&args, &context()?),
        Command::Schema(args) => schema::schema(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Init(args) => init::init(&args),
        Command::Completions(args) => completions::completions(&args, Cli::command()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
