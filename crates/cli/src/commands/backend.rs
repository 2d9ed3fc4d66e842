//! Where commands about jobs and keys find them: at a running server, or in the store file of a
//! stopped one.

use super::context::Context;
use crate::config::jobs::Options;
use crate::config::store::Store;
use crate::failure::{Failure, Result};

/// The options that choose a backend.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,

    /// Open this store, sqlite:PATH, instead of calling a server; no running server may be using it
    #[arg(long, value_name = "STORE", global = true)]
    store: Option<Store>,
}

/// Where jobs and keys are found.
pub(super) enum Backend {
    /// A running server, and how to reach it.
    Server(Options),
    /// A store that no running server uses.
    Store(Store),
}

impl Args {
    pub(super) fn settle(self, context: &Context) -> Result<Backend> {
        match self.store {
            Some(_) if context.is_flag("server") => Err(Failure::usage(
                "--server and --store exclude each other; give one of them",
            )),
            Some(store) => Ok(Backend::Store(store)),
            None => Ok(Backend::Server(self.options.or(&context.project.jobs))),
        }
    }
}
