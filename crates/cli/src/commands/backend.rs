//! Where commands about jobs and keys find them: at a running server, or in a store: a shared one, or
//! the file of a stopped server.

use std::path::PathBuf;

use super::context::Context;
use crate::config::jobs::Options;
use crate::config::secret::Secret;
use crate::config::store::{Named, Store};
use crate::failure::{Failure, Result};
use crate::printer;

/// The options that choose a backend.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,

    #[command(flatten)]
    store: StoreArgs,
}

/// The options that name a store.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(super) struct StoreArgs {
    /// Open this store instead of calling a server: `sqlite:PATH`, which no running server may be
    /// using, or `postgres://USER@HOST/DATABASE`; `postgres` alone takes the URL from
    /// `FLOWMILL_STORE`
    #[arg(long, value_name = "STORE", global = true)]
    store: Option<Secret>,

    /// File that holds the store's URL
    #[arg(long, value_name = "FILE", global = true)]
    store_file: Option<PathBuf>,
}

/// Where jobs and keys are found.
pub(super) enum Backend {
    /// A running server, and how to reach it.
    Server(Options),
    /// A store that is opened directly.
    Store(DirectStore),
}

/// A store that is opened by a command itself.
pub(super) struct DirectStore {
    pub(super) store: Store,
    /// Certificates to trust besides the built-in roots.
    pub(super) ca: Option<PathBuf>,
}

impl Args {
    pub(super) fn settle(self, context: &Context) -> Result<Backend> {
        let options = self.options.or(&context.project.jobs);
        match self.store.settle(context)? {
            Some(_) if context.is_flag("server") => Err(Failure::usage(
                "--server and --store exclude each other; give one of them",
            )),
            Some(store) => Ok(Backend::Store(DirectStore {
                store,
                ca: options.ca,
            })),
            None => Ok(Backend::Server(options)),
        }
    }
}

impl StoreArgs {
    /// The store that the options name.
    pub(super) fn settle(&self, context: &Context) -> Result<Option<Store>> {
        let named = Named {
            store: self.store.as_ref(),
            file: self.store_file.as_deref(),
        };
        if let Some(warning) = named.warning(|id| context.is_flag(id)) {
            printer::warning(warning);
        }
        named.read(Some(&context.environment))
    }
}
