//! Opens the job store that the settings name. Failures show a file's path as the user gave it, and a
//! database without its password.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use jobs::key::KeyStore;
use jobs::memory::{Limits, MemoryStore};
use jobs::postgres::{self, PostgresSignals, PostgresStore};
use jobs::signals::{NoSignals, Signals};
use jobs::spend::SpendStore;
use jobs::sqlite::{OpenError, Options, SqliteStore};
use jobs::store::JobStore;
use uuid::Uuid;

use crate::assemble;
use crate::config::store::{PostgresUrl, Store};
use crate::failure::{Exit, Failure, Result};

/// An open store, through each of its traits.
pub(crate) struct Opened {
    /// The jobs.
    pub jobs: Arc<dyn JobStore>,
    /// The API keys.
    pub keys: Arc<dyn KeyStore>,
    /// What the keys have spent.
    pub spend: Arc<dyn SpendStore>,
    /// The store again, if it is a database, to ask what it asks there.
    pub database: Option<Arc<PostgresStore>>,
    /// To and from the other servers that share the store.
    pub signals: Arc<dyn Signals>,
}

impl Opened {
    fn new(store: Arc<impl JobStore + KeyStore + SpendStore + 'static>) -> Self {
        Self {
            jobs: store.clone(),
            keys: store.clone(),
            spend: store,
            database: None,
            signals: Arc::new(NoSignals),
        }
    }
}

/// How databases are reached.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reach<'a> {
    /// Certificates to trust besides the built-in roots.
    pub ca: Option<&'a Path>,
    /// The database behind a pooler.
    pub listen_url: Option<&'a PostgresUrl>,
    /// What other servers know this one's signals by; `None` for a command that sends none.
    pub signals_as: Option<Uuid>,
}

/// Disk space that a server reserves so that it can still delete jobs when the disk is full.
const RESERVE_BYTES: u64 = 32 << 20;

/// Opens the store; a missing SQLite file is created.
pub(crate) async fn open(store: &Store, ca: Option<&Path>) -> Result<Opened> {
    let reach = Reach {
        ca,
        ..Reach::default()
    };
    open_with(store, &Options::default(), reach).await
}

/// Opens the store for a server.
pub(crate) async fn open_to_serve(store: &Store, reach: Reach<'_>) -> Result<Opened> {
    let options = Options {
        reserve_bytes: RESERVE_BYTES,
        ..Options::default()
    };
    open_with(store, &options, reach).await
}

async fn open_with(store: &Store, options: &Options, reach: Reach<'_>) -> Result<Opened> {
    Ok(match store {
        Store::Memory => Opened::new(Arc::new(MemoryStore::new(Limits::default()))),
        Store::Sqlite(path) => Opened::new(Arc::new(
            SqliteStore::open(path, options).map_err(|error| failed(path, &error))?,
        )),
        Store::Postgres(url) => {
            let tls = assemble::tls(reach.ca)?;
            let mut options = postgres::Options::new(url.url().clone(), tls, service::level::LEVEL);
            options.listen_url = reach.listen_url.map(|url| url.url().clone());
            let opened = PostgresStore::open(&options).await;
            let opened =
                opened.map_err(|error| Failure::new(Exit::Io, format!("{url}: {error}")))?;
            let store = Arc::new(opened);
            let mut opened = Opened::new(store.clone());
            opened.database = Some(store);
            if let Some(id) = reach.signals_as {
                opened.signals = Arc::new(PostgresSignals::start(&options, id));
            }
            opened
        }
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
