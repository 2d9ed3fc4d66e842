//! `flowmill.toml`: the layer of settings just above the defaults. Paths in it are relative to the
//! working directory, like those on the command line.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;

use super::{jobs, log, models, run, serve, telemetry, text};
use crate::failure::{Failure, Result};

/// The file that is read from the working directory unless `--config` names another.
const FILE_NAME: &str = "flowmill.toml";

/// The whole file, a field per section.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Project {
    /// `[models]`
    pub models: models::Options,
    /// `[run]`
    pub run: run::Options,
    /// `[serve]`
    pub serve: serve::Options,
    /// `[telemetry]`
    pub telemetry: telemetry::Options,
    /// `[jobs]`
    pub jobs: jobs::Options,
    /// `[log]`
    pub log: log::Options,
    /// The file's text, which `deploy` puts into the package; `None` if there is no file.
    #[serde(skip)]
    pub text: Option<String>,
}

/// The sections and their keys.
const SECTIONS: &[(&str, &[&str])] = &[
    ("models", models::Options::KEYS),
    ("run", run::Options::KEYS),
    ("serve", serve::Options::KEYS),
    ("telemetry", telemetry::Options::KEYS),
    ("jobs", jobs::Options::KEYS),
    ("log", log::Options::KEYS),
];

impl Project {
    /// Reads the named file, which must exist, or `flowmill.toml`, which need not.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self> {
        let path = match named {
            Some(path) => path,
            // Whatever has this name is read or refused, also a folder, a pipe or a dangling link.
            None if is_there(Path::new(FILE_NAME)) => Path::new(FILE_NAME),
            None => return Ok(Self::default()),
        };
        let text = text::read(path)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        let project = Self::parse(&text)
            .map_err(|reason| Failure::usage(format!("`{}`: {reason}", path.display())))?;
        Ok(Self {
            text: Some(text),
            ..project
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table =
            toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        check_keys(&table)?;
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
    }
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).map_or_else(|error| error.kind() != ErrorKind::NotFound, |_| true)
}

/// Refuses unknown keys: a mistyped setting would otherwise have no effect and go unnoticed.
fn check_keys(table: &toml::Table) -> Result<(), String> {
    for (section, value) in table {
        let Some((_, keys)) = SECTIONS.iter().find(|(name, _)| name == section) else {
            return Err(unknown(
                "section",
                section,
                SECTIONS.iter().map(|(name, _)| *name),
            ));
        };
        for key in value.as_table().into_iter().flat_map(|table| table.keys()) {
            if !keys.contains(&key.as_str()) {
                return Err(unknown(
                    &format!("key in [{section}]:"),
                    key,
                    keys.iter().copied(),
                ));
            }
        }
    }
    Ok(())
}

fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let suggestion = lang::suggest::Suggestion::among(word, known)
        .map_or_else(String::new, |suggestion| format!("; {}", suggestion.text));
    format!("unknown {what} `{word}`{suggestion}")
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    #[test]
    fn sections_are_read() {
        let project = Project::parse(
            "[models]\noffline = true\n[serve]\nport = 9000\nsync_timeout = \"5s\"\nmax_wait = 60\nbody_limit = \"1MB\"\nhost = \"::1\"\n[log]\nlevel = \"debug\"\n",
        )
        .expect("a good file");
        assert_eq!(project.models.offline, Some(true));
        assert_eq!(project.serve.port, Some(9000));
        assert_eq!(project.serve.body_limit.map(|size| size.0), Some(1 << 20));
        assert_eq!(project.log.level, Some(log::Level::Debug));
    }

    #[test]
    fn mistakes_name_the_way_out() {
        let check = |text: &str, part: &str| {
            let error = Project::parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        };
        check(
            "[serve]\nprot = 1\n",
            "unknown key in [serve]: `prot`; did you mean `port`?",
        );
        check(
            "[server]\nport = 1\n",
            "unknown section `server`; did you mean `serve`?",
        );
        check("port = 1\n", "unknown section `port`");
        check("[serve]\nport = \"x\"\n", "port = \"x\"");
        check("[serve]\nsync_timeout = \"soon\"\n", "not a valid duration");
        check("[serve]\nhost = \"example\"\n", "not an IP address");
        check("[serve\n", "expected");
    }

    #[test]
    fn every_option_is_a_key_and_every_key_an_option() {
        let check = |section: &str, keys: &[&str], command: clap::Command| {
            let options: Vec<String> = command
                .get_arguments()
                .map(|arg| arg.get_id().as_str().trim_start_matches("log_").to_owned())
                .collect();
            assert_eq!(options, keys, "[{section}]");
            for key in keys {
                let error = Project::parse(&format!("[{section}]\n{key} = [[]]\n"))
                    .expect_err("no option takes a list of lists");
                assert!(!error.contains("unknown"), "[{section}] {key}: {error}");
            }
        };
        let command = || clap::Command::new("any");
        check(
            "models",
            models::Options::KEYS,
            models::Options::augment_args(command()),
        );
        check(
            "run",
            run::Options::KEYS,
            run::Options::augment_args(command()),
        );
        check(
            "serve",
            serve::Options::KEYS,
            serve::Options::augment_args(command()),
        );
        check(
            "telemetry",
            telemetry::Options::KEYS,
            telemetry::Options::augment_args(command()),
        );
        check(
            "jobs",
            jobs::Options::KEYS,
            jobs::Options::augment_args(command()),
        );
        check(
            "log",
            log::Options::KEYS,
            log::Options::augment_args(command()),
        );
    }
}
