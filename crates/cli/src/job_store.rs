//! Opening the job store that the settings name, with failures that show its path as the user gave it.

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

/// One store, as its two sides.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The jobs in it.
    pub jobs: Arc<dyn JobStore>,
    /// The API keys in it.
    pub keys: Arc<dyn KeyStore>,
    /// What they have spent.
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

/// Space on the disk that a server keeps for forgetting jobs when it is full.
const RESERVE_BYTES: u64 = 32 << 20;

/// Opens the store; a SQLite file that is not there is created.
pub(crate) fn open(store: &Store) -> Result<Opened> {
    open_with(store, &Options::default())
}

/// The same for a server.
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
                format!("`{shown}` cannot be opened to be written: {error}"),
            )
            .hint("the store's file and its folder have to be writable; choose others with --store")
        }
        _ => Failure::new(Exit::Io, format!("`{shown}`: {error}")),
    }
}
