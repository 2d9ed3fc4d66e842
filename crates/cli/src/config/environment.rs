//! The process environment with `.env` of the working directory below it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use clap::Command;

use super::secret::Secret;
use super::text;
use crate::report;

/// Variables by name. What the process was started with wins over `.env`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    dotenv: HashMap<String, Secret>,
    /// What of `.env` cannot be read. Not an error: the file may be there for other programs.
    problems: Vec<String>,
}

impl Environment {
    /// Reads `.env` from the working directory, if there is one.
    pub(crate) fn load() -> Self {
        let path = Path::new(".env");
        let mut environment = Self::default();
        if !path.is_file() {
            return environment;
        }
        match text::read(path) {
            Ok(text) => environment.read(&text),
            Err(failure) => environment.problems.push(failure.message),
        }
        environment
    }

    fn read(&mut self, text: &str) {
        (self.dotenv, self.problems) = parse(text, ".env");
    }

    /// What the process was started with: `.env` is left out.
    pub(crate) fn of_process(name: &str) -> Option<String> {
        std::env::vars_os()
            .find(|(known, _)| known == name)
            .and_then(|(_, value)| value.into_string().ok())
            .filter(|value| !value.trim().is_empty())
    }

    /// Says on stderr what of `.env` could not be read.
    pub(crate) fn report_problems(&self) {
        self.problems
            .iter()
            .for_each(|problem| report::warning(problem));
    }

    /// Whether the terminal can only append: nothing can be redrawn on it.
    pub(crate) fn has_dumb_terminal(&self) -> bool {
        self.variables()
            .any(|(name, value)| name == "TERM" && value == "dumb")
    }

    /// Every variable whose name and value are text: what the models look keys and addresses up in.
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

    /// `RUST_LOG`: filters for log lines, as every Rust program knows them.
    pub(crate) fn rust_log(&self) -> Option<String> {
        self.variable("RUST_LOG")
    }

    /// Lets clap see `.env`: below flags and the process environment, which clap reads by itself. A variable
    /// that is set but empty counts as unset.
    pub(crate) fn apply(&self, command: Command) -> Command {
        let command = command.mut_args(|arg| {
            let Some(name) = arg.get_env().map(OsString::from) else {
                return arg;
            };
            match std::env::var_os(&name) {
                Some(value) if value.is_empty() => arg.env(None::<&str>),
                Some(_) => arg,
                None => match name
                    .to_str()
                    .and_then(|name| self.dotenv.get(name))
                    .map(Secret::reveal)
                    .filter(|value| !value.is_empty())
                {
                    Some(value) => arg.default_value(value.to_owned()).hide_default_value(true),
                    None => arg,
                },
            }
        });
        command.mut_subcommands(|subcommand| self.apply(subcommand))
    }
}

/// Reads a file of variables. Lines that cannot be read are told of, and passed over.
pub(crate) fn parse(text: &str, file: &str) -> (HashMap<String, Secret>, Vec<String>) {
    let (mut variables, mut problems) = (HashMap::new(), Vec::new());
    for entry in dotenvy::from_read_iter(text.as_bytes()) {
        match entry {
            // As when both are set one after the other, the last line wins.
            Ok((name, value)) => drop(variables.insert(name, Secret::from(value))),
            Err(error) => problems.push(unreadable(&error, text, file)),
        }
    }
    (variables, problems)
}

/// Says which variable of the file is meant, never its value: it may be a secret.
fn unreadable(error: &dotenvy::Error, text: &str, file: &str) -> String {
    let line = match error {
        dotenvy::Error::LineParse(rest, _) => text.lines().find(|line| line.contains(rest.trim())),
        _ => None,
    };
    match line.and_then(|line| line.split_once('=')) {
        Some((name, _)) => {
            format!(
                "`{file}`: the value of `{}` cannot be read and is ignored; put it in quotes",
                name.trim()
            )
        }
        None => format!("`{file}`: a line that is no `NAME=value` is ignored"),
    }
}
