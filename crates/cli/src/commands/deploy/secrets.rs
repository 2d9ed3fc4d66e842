//! The variables for the container: a file with keys, and those variables of the shell that it
//! needs.
//!
//! They are mounted as a file, which the server reads as its `.env`. If they were variables of the
//! container, `docker inspect` would show them to everyone who may use the engine.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deploy::package::SECRETS;
use deploy::variables::{MACHINE, STORE, Variable, is_this_machine};
use llm::model::{ModelSpec, Models, Override};
use llm::pricing::PriceTable;

use crate::assemble::Reach;
use crate::config::env_file::{self, EnvFile};
use crate::config::environment::Environment;
use crate::config::secret::Secret;
use crate::config::store::PostgresUrl;
use crate::failure::{Exit, Failure, Result};

/// The variables for the container.
#[derive(Default)]
pub(super) struct Secrets {
    /// The file that was read.
    pub(super) file: Option<PathBuf>,
    /// The file's text, with the variables from the shell.
    text: String,
    variables: HashMap<String, Secret>,
    /// Names of the variables from the shell.
    pub(super) from_shell: Vec<String>,
}

impl Secrets {
    /// Reads the named file, or `.env` if there is one; nothing with `no_file`.
    pub(super) fn read(named: Option<&Path>, no_file: bool) -> Result<Self> {
        let file = match named {
            _ if no_file => return Ok(Self::default()),
            Some(path) => EnvFile::read(path).map(Some),
            None => EnvFile::find(),
        };
        let file = file.map_err(|failure| {
            let hint = failure
                .hint
                .clone()
                .map_or_else(String::new, |hint| hint + "; or ");
            failure.hint(format!(
                "{hint}give another file with --env-file, or add --no-env-file"
            ))
        })?;
        let Some(file) = file else {
            return Ok(Self::default());
        };
        Ok(Self {
            file: Some(file.path),
            text: file.text,
            variables: file.variables,
            from_shell: Vec::new(),
        })
    }

    /// Adds the wanted variables that are set only in the shell.
    pub(super) fn add_from_shell(&mut self, wanted: &[Variable]) {
        let names = wanted
            .iter()
            .flat_map(|variable| variable.names.iter().chain(&variable.unless));
        for name in names {
            self.take_from_shell(name);
        }
    }

    /// Adds a variable that is set only in the shell.
    pub(super) fn take_from_shell(&mut self, name: &str) {
        if self.is_set(name) {
            return;
        }
        if let Some(value) = Environment::of_process(name) {
            self.add(name, value);
            self.from_shell.push(name.to_owned());
        }
    }

    /// Adds variables that an earlier deployment took from the shell and that are not set now, from
    /// the file that its container has mounted.
    pub(super) fn take_from_before(&mut self, names: &[String], file: Option<&Path>) {
        if names.iter().all(|name| self.is_set(name)) {
            return;
        }
        let Some(before) = file.and_then(|file| EnvFile::read(file).ok()) else {
            return;
        };

        for name in names {
            if let (false, Some(value)) = (self.is_set(name), before.variables.get(name)) {
                self.add(name, value.reveal().to_owned());
                self.from_shell.push(name.clone());
            }
        }
    }

    /// Sets a variable whose value was given with an option, whatever the file says.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.add(name, value.to_owned());
        self.from_shell.push(name.to_owned());
    }

    /// Fails if the variable with the URL of the database is missing or faulty.
    pub(super) fn check_store(&self) -> Result<()> {
        let file = self.file.as_deref();
        let file = file.unwrap_or(Path::new(env_file::DEFAULT)).display();
        let Some(url) = self.get(STORE) else {
            return Err(Failure::usage(format!(
                "--store postgres needs the database: {STORE} is not set, neither in {file} nor in the shell"
            ))
            .hint(format!(
                "put {STORE}=postgres://USER:PASSWORD@HOST/DATABASE into {file}"
            )));
        };
        let url: Result<PostgresUrl, String> = url.reveal().trim().parse();
        url.map(|_| ())
            .map_err(|reason| Failure::usage(format!("{STORE}: {reason}")))
    }

    /// Sets a variable unless the user sets it.
    pub(super) fn set_unless_set(&mut self, name: &str, value: &str) {
        if !self.is_set(name) {
            self.add(name, value.to_owned());
        }
    }

    fn add(&mut self, name: &str, value: String) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        let _ = writeln!(self.text, "{name}={}", quoted(&value));
        self.variables.insert(name.to_owned(), Secret::from(value));
    }

    /// The value of a variable; empty counts as not set.
    pub(super) fn get(&self, name: &str) -> Option<&Secret> {
        let value = self.variables.get(name);
        value.filter(|value| !value.reveal().trim().is_empty())
    }

    fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether there is anything to mount.
    pub(super) fn is_empty(&self) -> bool {
        self.file.is_none() && self.variables.is_empty()
    }

    /// Fails if a variable is missing without which the container could only fail.
    pub(super) fn check(&self, wanted: &[Variable]) -> Result<()> {
        let missing: Vec<&Variable> = wanted
            .iter()
            .filter(|variable| variable.is_missing(|name| self.is_set(name)))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let details = missing
            .iter()
            .map(|variable| format!("{}: {}", variable.names[0], variable.comment));
        let example: Vec<String> = missing
            .iter()
            .map(|variable| {
                let value = if variable.value.is_empty() {
                    "…"
                } else {
                    &variable.value
                };
                format!("{}={value}", variable.names[0])
            })
            .collect();
        let file = self
            .file
            .as_deref()
            .unwrap_or(Path::new(env_file::DEFAULT))
            .display();
        Err(Failure::new(
            Exit::NotReady,
            format!(
                "{} not set, neither in {file} nor in the shell",
                match missing.as_slice() {
                    [one] => format!("{} is", one.names[0]),
                    several => format!("{} variables are", several.len()),
                }
            ),
        )
        .details(details.collect())
        .hint(format!(
            "put `{}` into {file}, or add --offline to try the deployment without a model",
            example.join("` and `")
        )))
    }

    /// Warnings about loopback addresses, which in the container mean the container itself.
    pub(super) fn warnings(&self, wanted: &[Variable]) -> Vec<String> {
        let names = wanted
            .iter()
            .flat_map(|variable| variable.names.iter().chain(&variable.unless))
            .map(String::as_str);
        let mut warnings = Vec::new();
        for name in names.chain([STORE]) {
            let means_itself = self
                .variables
                .get(name)
                .is_some_and(|value| is_this_machine(value.reveal().trim()));
            let warning = format!(
                "{name} is a loopback address, which in a container means the container itself; use {MACHINE}"
            );
            if means_itself && !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        warnings
    }

    /// The models as they will be set up in the container.
    pub(super) fn models(
        &self,
        wanted: Option<&ModelSpec>,
        reach: Reach,
    ) -> Result<Arc<dyn Models>> {
        let variables = self.variables.iter();
        let settings = llm::Settings {
            environment: variables
                .map(|(name, value)| (name.as_str(), value.reveal()))
                .collect(),
            reach: Some(Arc::new(reach)),
            prices: Arc::new(PriceTable::built_in()),
            ..llm::Settings::default()
        };
        let registry = llm::Registry::new(settings)
            .map_err(|error| Failure::new(Exit::NotReady, error.message))?;
        Ok(match wanted {
            None => Arc::new(registry),
            Some(wanted) => Arc::new(Override::new(Arc::new(registry), wanted.clone())),
        })
    }

    /// Writes the file that is mounted. Its folder is closed to other users; the file itself must
    /// be readable for the container's user, who does not exist here. Returns the previous content,
    /// for [`restore`].
    pub(super) fn write(&self, package: &Path) -> Result<Option<Vec<u8>>> {
        let before = fs::read(package.join(SECRETS.1)).ok();
        put(package, self.text.as_bytes())?;
        Ok(before)
    }
}

/// Shows names, never values.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("file", &self.file)
            .field("variables", &self.variables)
            .field("from_shell", &self.from_shell)
            .finish_non_exhaustive()
    }
}

/// Restores the file that a previous container was started with.
pub(super) fn restore(package: &Path, before: Option<&[u8]>) -> Result<()> {
    before.map_or(Ok(()), |before| put(package, before))
}

fn put(package: &Path, bytes: &[u8]) -> Result<()> {
    let (folder, file) = (package.join(SECRETS.0), package.join(SECRETS.1));
    let write = || -> std::io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        // A new file: a container that has the old one mounted keeps that.
        if file.exists() {
            fs::remove_file(&file)?;
        }
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(&file)?;
        file.set_permissions(fs::Permissions::from_mode(0o444))?;
        file.write_all(bytes)
    };
    write().map_err(|error| Failure::unwritable(&file, &error))
}

/// A value as it is written in `.env` files.
fn quoted(value: &str) -> String {
    if value.contains('\'') || value.contains('\n') {
        let escaped = value
            .replace('\\', r"\\")
            .replace('"', "\\\"")
            .replace('$', r"\$")
            .replace('\n', r"\n");
        format!("\"{escaped}\"")
    } else {
        format!("'{value}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_ours_gives_way_to_a_users() {
        let mut secrets = Secrets::default();
        secrets.set_unless_set("MLFLOW_TRACKING_URI", "http://mlflow:5000");
        secrets.set_unless_set("MLFLOW_TRACKING_URI", "http://other");
        let kept = secrets.get("MLFLOW_TRACKING_URI").expect("it is set");
        assert_eq!(kept.reveal(), "http://mlflow:5000");
        assert_eq!(secrets.text, "MLFLOW_TRACKING_URI='http://mlflow:5000'\n");
        assert!(!format!("{secrets:?}").contains("http"), "{secrets:?}");
    }

    #[test]
    fn values_of_the_shell_come_out_as_they_went_in() {
        for value in [
            "sk-1",
            "a b#c",
            "it's",
            "a\"b\\c$HOME'",
            "two\nlines",
            "\\n",
        ] {
            let text = format!("KEY={}\n", quoted(value));
            let variables = env_file::parse(&text).expect(&text);
            assert_eq!(variables["KEY"].reveal(), value, "{text}");
        }
    }
}
