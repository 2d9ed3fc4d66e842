//! Opens the job store that the settings name. Failures show its path as the user gave it.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use jobs::key::KeyStore;
use jobs::memory::{Limits, MemoryStore};
use jobs::spend::SpendStore;
use jobs::sqlite::{OpenError, Options, SqliteStore};
use jobs::store::JobStore;

use crate::config::store::Store;
use crate::failure::{Exit, Failure, Result};

/// An open store, through each of its traits.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The jobs.
    pub jobs: Arc<dyn JobStore>,
    /// The API keys.
    pub keys: Arc<dyn KeyStore>,
    /// What the keys have spent.
    pub spend: Arc<dyn SpendStore>,
}

impl Opened {
    fn new(store: Arc<impl JobStore + KeyStore + SpendStore + 'static>) -> Self {
        Self {
            jobs: store.clone(),
            keys: store.clone(),
            spend: store,
        }
    }
}

/// Disk space that a server reserves so that it can still delete jobs when the disk is full.
const RESERVE_BYTES: u64 = 32 << 20;

/// Opens the store; a missing SQLite file is created.
pub(crate) fn open(store: &Store) -> Result<Opened> {
    open_with(store, &Options::default())
}

/// Opens the store for a server.
pub(crate) fn open_to_serve(store: &Store) -> Result<Opened> {
    let options = Options {
        reserve_bytes: RESERVE_BYTES,
        ..Options::default()
    };
    open_with(store, &options)
}

fn open_with(store: &Store, options: &Options) -> Result<Opened> {
    Ok(match store {
        Store::Memory => Opened::new(Arc::new(MemoryStore::new(Limits::default()))),
        Store::Sqlite(path) => Opened::new(Arc::new(
            SqliteStore::open(path, options).map_err(|error| failed(path, &error))?,
        )),
    })
}

fn failed(path: &Path, error: &OpenError) -> Failure {
    let shown = path.display();
    match error {
        OpenError::Io(error) if error.kind() == ErrorKind::NotFound => Failure::new(
            Exit::Io,
            format!("`{shown}` cannot be created: its folder does not exist"),
        ),
        OpenError::Io(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Failure::new(
                Exit::Io,
                format!("`{shown}` cannot be opened for writing: {error}"),
            )
            .hint("make the store's file and folder writable, or choose another store with --store")
        }
        _ => Failure::new(Exit::Io, format!("`{shown}`: {error}")),
    }
}
