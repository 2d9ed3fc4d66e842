//! The process environment, and below it the `.env` of the working directory.

use std::collections::HashMap;
use std::ffi::OsString;

use clap::Command;

use super::env_file::{self, EnvFile};
use super::secret::Secret;
use crate::failure::{Failure, Result};

/// Prefixes of the variables that are read without clap: those of models, MLflow and OTLP.
const READ: &[&str] = &[
    "ANTHROPIC_",
    "DATABRICKS_",
    "FLOWMILL_",
    "GEMINI_",
    "GOOGLE_",
    "MLFLOW_",
    "OLLAMA_",
    "OPENAI_",
    "OTEL_",
];

/// Variables by name. What the process was started with wins over `.env`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    dotenv: HashMap<String, Secret>,
    /// Why no command that takes settings may start: some settings cannot be read.
    problem: Option<Failure>,
}

impl Environment {
    /// Reads `.env` from the working directory, if there is one.
    pub(crate) fn load() -> Self {
        match EnvFile::find() {
            Ok(file) => Self {
                dotenv: file.map(|file| file.variables).unwrap_or_default(),
                problem: not_text(),
            },
            Err(failure) => Self {
                dotenv: HashMap::new(),
                problem: Some(beside_the_settings(failure)),
            },
        }
    }

    /// Fails if a variable or `.env` cannot be read: nobody knows what was meant to be set there.
    pub(crate) fn check(&self) -> Result<()> {
        self.problem.clone().map_or(Ok(()), Err)
    }

    /// A variable of the process itself, without `.env`.
    pub(crate) fn of_process(name: &str) -> Option<String> {
        std::env::vars_os()
            .find(|(known, _)| known == name)
            .and_then(|(_, value)| value.into_string().ok())
            .filter(|value| !value.trim().is_empty())
    }

    /// Whether the terminal can only append text, so that nothing can be redrawn on it.
    pub(crate) fn has_dumb_terminal(&self) -> bool {
        self.variables()
            .any(|(name, value)| name == "TERM" && value == "dumb")
    }

    /// Every variable whose name and value are text. Models look up their keys and addresses here.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let process = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        // Later pairs replace earlier ones where these are collected, so the process comes last.
        let dotenv = self.dotenv.iter();
        dotenv
            .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
            .chain(process)
    }

    /// One variable; empty counts as unset.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.variables()
            .filter(|(known, value)| known == name && !value.trim().is_empty())
            .map(|(_, value)| value)
            .last()
    }

    /// `RUST_LOG`: log filters in the usual form of Rust programs.
    pub(crate) fn rust_log(&self) -> Option<String> {
        self.variable("RUST_LOG")
    }

    /// Lets clap see `.env`: below flags and the process environment, which clap reads by itself. A
    /// variable that is set but empty counts as unset.
    pub(crate) fn apply(&self, command: Command) -> Command {
        let command = command.mut_args(|arg| {
            let Some(name) = arg.get_env().map(OsString::from) else {
                return arg;
            };
            let is_set = std::env::var_os(&name).is_some_and(|value| !value.is_empty());
            if is_set {
                return arg;
            }
            let value = name.to_str().and_then(|name| self.dotenv.get(name));
            let arg = arg.env(None::<&str>);
            match value.map(Secret::reveal).filter(|value| !value.is_empty()) {
                Some(value) => arg.default_value(value.to_owned()).hide_default_value(true),
                None => arg,
            }
        });
        command.mut_subcommands(|subcommand| self.apply(subcommand))
    }
}

/// The failure for a variable that flowmill reads and that is not UTF-8 text.
fn not_text() -> Option<Failure> {
    let name = std::env::vars_os().find_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let is_read = READ.iter().any(|beginning| name.starts_with(beginning));
        (is_read && value.to_str().is_none()).then_some(name)
    })?;
    let failure = Failure::usage(format!(
        "the value of {name} in the environment is not UTF-8 text"
    ));
    Some(failure.hint("set it again, or unset it"))
}

fn beside_the_settings(failure: Failure) -> Failure {
    let hint = format!(
        "{}; flowmill reads settings and keys from `{}` and does not start without them",
        failure.hint.as_deref().unwrap_or("make it readable"),
        env_file::DEFAULT
    );
    failure.hint(hint)
}
