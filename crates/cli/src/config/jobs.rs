//! `[jobs]`: the server that `flowmill jobs`, `report` and `keys` ask.

use std::path::PathBuf;

use serde::Deserialize;

use super::secret::Secret;

/// As given on the command line, in the environment, or in the file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
#[group(skip)]
pub(crate) struct Options {
    /// Address of the server [default: port 8000 of this machine]
    #[arg(long, value_name = "URL", env = "FLOWMILL_SERVER", global = true)]
    pub server: Option<String>,

    /// Certificates to trust besides the built-in roots (PEM), for an https server
    #[arg(long, value_name = "FILE", env = "FLOWMILL_CA", global = true)]
    pub ca: Option<PathBuf>,

    /// API key for the server. Prefer the environment variable
    #[arg(
        long,
        value_name = "KEY",
        env = "FLOWMILL_API_KEY",
        hide_env_values = true,
        global = true
    )]
    pub api_key: Option<Secret>,
}

impl Options {
    /// The keys of the section.
    pub(crate) const KEYS: &[&str] = &["server", "ca", "api_key"];

    /// Fills unset options from the settings file.
    pub(crate) fn or(self, file: &Self) -> Self {
        Self {
            server: self.server.or_else(|| file.server.clone()),
            ca: self.ca.or_else(|| file.ca.clone()),
            api_key: self.api_key.or_else(|| file.api_key.clone()),
        }
    }
}
