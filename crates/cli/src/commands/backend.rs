//! Whom a command about jobs or keys asks: a running server, or the store file of one that is stopped.

use super::context::Context;
use crate::config::jobs::Options;
use crate::config::store::Store;
use crate::failure::{Failure, Result};

/// As given on the command line and in the environment.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,

    /// Open this store, sqlite:PATH, instead of asking a server; no server may be using it
    #[arg(long, value_name = "STORE", global = true)]
    store: Option<Store>,
}

/// Where jobs and keys are looked up.
pub(super) enum Backend {
    /// A running server, reached in this way.
    Server(Options),
    /// A store that no server is using.
    Store(Store),
}

impl Args {
    pub(super) fn settle(self, context: &Context) -> Result<Backend> {
        match self.store {
            Some(_) if context.is_flag("server") => Err(Failure::usage(
                "--server and --store are two answers to one question; give one",
            )),
            Some(store) => Ok(Backend::Store(store)),
            None => Ok(Backend::Server(self.options.or(&context.project.jobs))),
        }
    }
}
