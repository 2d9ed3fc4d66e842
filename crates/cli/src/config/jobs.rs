//! `[jobs]`: the server that `flowmill jobs` asks.

use std::path::PathBuf;

use serde::Deserialize;

/// As given on the command line, in the environment, or in the file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
#[group(skip)]
pub(crate) struct Options {
    /// Address of the server [default: port 8000 of this machine]
    #[arg(long, value_name = "URL", env = "FLOWMILL_SERVER", global = true)]
    pub server: Option<String>,

    /// Certificates to trust besides the built-in roots (PEM), for a server that is asked by https
    #[arg(long, value_name = "FILE", env = "FLOWMILL_CA", global = true)]
    pub ca: Option<PathBuf>,
}

impl Options {
    /// The keys of the section.
    pub(crate) const KEYS: &[&str] = &["server", "ca"];

    /// Takes what is unset from the file.
    pub(crate) fn or(self, file: &Self) -> Self {
        Self {
            server: self.server.or_else(|| file.server.clone()),
            ca: self.ca.or_else(|| file.ca.clone()),
        }
    }
}
