//! The Tokio runtimes that commands run on.

use tokio::runtime::{Builder, Runtime};

use crate::failure::{Exit, Failure, Result};

/// A runtime on the calling thread alone: for one run, or for a few requests.
pub(crate) fn of_one_thread() -> Result<Runtime> {
    start(&mut Builder::new_current_thread())
}

/// A runtime on all cores: for a server.
pub(crate) fn of_all_cores() -> Result<Runtime> {
    start(&mut Builder::new_multi_thread())
}

fn start(builder: &mut Builder) -> Result<Runtime> {
    builder
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Io, format!("the runtime could not start: {error}")))
}
