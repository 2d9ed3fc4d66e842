//! `flowmill replicas`: the servers that share a store: which of them are alive, and how much runs on
//! each.

use std::path::PathBuf;

use clap::ValueEnum;
use jobs::store::ReplicaState;
use serde_json::{Value, json};

use super::backend::StoreArgs;
use super::context::Context;
use super::jobs::table::to_the_second;
use crate::config::log::Level;
use crate::config::serve;
use crate::failure::{Exit, Failure, Result};
use crate::printer::Look;
use crate::table::{Align, Table};
use crate::{job_store, printer, runtime};

/// List the servers that share a store
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  FLOWMILL_STORE=postgres://me:secret@db.internal/flowmill flowmill replicas
  flowmill replicas --store-file store-url --format json

Without --store and --store-file, the store is that of `flowmill serve` here: FLOWMILL_STORE,
FLOWMILL_STORE_FILE, or flowmill.toml.")]
pub(super) struct Args {
    #[command(flatten)]
    store: StoreArgs,

    /// Certificates to trust besides the built-in roots (PEM)
    #[arg(long, value_name = "FILE", env = "FLOWMILL_CA")]
    ca: Option<PathBuf>,

    /// Format of stdout
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// A row per server.
    #[default]
    Table,
    /// One document.
    Json,
}

pub(super) fn replicas(args: &Args, context: &Context) -> Result<Exit> {
    context.start_logging(Level::Warn);
    let store = match args.store.settle(context)? {
        Some(store) => store,
        None => serve::store_here(&context.environment, &context.project.serve)?,
    };
    if !store.is_shared() {
        return Err(Failure::usage(format!(
            "{store} belongs to one server alone; only a PostgreSQL store has replicas"
        ))
        .hint("name it with FLOWMILL_STORE, --store or --store-file; `flowmill health` asks a single server"));
    }
    let ca = args.ca.as_ref().or(context.project.models.ca.as_ref());
    let runtime = runtime::of_one_thread()?;
    let replicas = runtime.block_on(async {
        let opened = job_store::open(&store, ca.map(PathBuf::as_path)).await?;
        let replicas = opened.jobs.replicas().await;
        replicas.map_err(|error| Failure::new(Exit::Io, format!("{store}: {error}")))
    })?;
    printer::data(&match args.format {
        Format::Json => document(&replicas).to_string(),
        Format::Table => table(&replicas, printer::stdout_look()),
    })?;
    Ok(Exit::Success)
}

fn document(replicas: &[ReplicaState]) -> Value {
    let replica = |replica: &ReplicaState| {
        json!({
            "id": replica.id.to_string(),
            "name": replica.name,
            "version": replica.version,
            "running": replica.running,
            "draining": replica.is_draining,
            "lease_until": replica.lease_until,
        })
    };
    json!({ "replicas": replicas.iter().map(replica).collect::<Vec<_>>() })
}

fn table(replicas: &[ReplicaState], look: Look) -> String {
    let mut table = Table::new([
        ("NAME", Align::Left),
        ("RUNNING", Align::Right),
        ("STATE", Align::Left),
        ("VERSION", Align::Left),
        ("LEASE UNTIL", Align::Left),
        ("ID", Align::Left),
    ]);
    for replica in replicas {
        let state = if replica.is_draining {
            "draining"
        } else {
            "serving"
        };
        table.row([
            replica.name.to_string(),
            replica.running.to_string(),
            state.to_owned(),
            replica.version.to_string(),
            to_the_second(&replica.lease_until.to_string()),
            replica.id.to_string(),
        ]);
    }
    table.text(look)
}

#[cfg(test)]
mod tests {
    use jobs::store::ReplicaId;
    use uuid::Uuid;

    use super::*;

    fn two() -> [ReplicaState; 2] {
        let replica = |id, name: &str, running, is_draining| ReplicaState {
            id: ReplicaId(Uuid::from_u128(id)),
            name: name.into(),
            version: "0.1.0".into(),
            running,
            is_draining,
            lease_until: "2026-11-30T12:00:00.5Z".parse().expect("a time"),
        };
        [
            replica(1, "web-1:7", 12, false),
            replica(2, "web-2:7", 3, true),
        ]
    }

    #[test]
    fn a_replica_is_a_row() {
        assert_eq!(
            table(&two(), Look::PIPE),
            "NAME     RUNNING  STATE     VERSION  LEASE UNTIL           ID\n\
             web-1:7       12  serving   0.1.0    2026-11-30T12:00:00Z  00000000-0000-0000-0000-000000000001\n\
             web-2:7        3  draining  0.1.0    2026-11-30T12:00:00Z  00000000-0000-0000-0000-000000000002"
        );
    }

    #[test]
    fn the_document_names_what_each_replica_does() {
        assert_eq!(
            document(&two()[1..]),
            json!({ "replicas": [{
                "id": "00000000-0000-0000-0000-000000000002", "name": "web-2:7", "version": "0.1.0",
                "running": 3, "draining": true, "lease_until": "2026-11-30T12:00:00.5Z",
            }] })
        );
    }
}
