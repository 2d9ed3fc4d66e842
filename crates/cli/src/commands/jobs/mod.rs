//! `flowmill jobs`: inspects and controls jobs, at a running server or in a store. It prints the JSON
//! of the HTTP API, or tables made from it.

mod api_client;
mod open_store;
mod options;
pub(super) mod table;

use std::collections::HashMap;

use clap::{Subcommand, ValueEnum};
use lang::visible;
use serde_json::{Value, json};

use super::backend::{self, Backend};
use super::context::Context;
use crate::config::log::Level;
use crate::failure::{Exit, Failure, Result};
use crate::{printer, runtime};
use open_store::{OpenStore, Rows};
use options::Definition;

pub(super) use api_client::ApiClient;
pub(super) use options::Listing;

/// Jobs per page: the most that the API returns.
const PAGE: usize = 200;

/// List, show, watch, cancel, retry and delete jobs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowmill jobs list --status failed
  flowmill jobs show 0199c0de-0000-7000-8000-000000000000 --format json
  flowmill jobs list --store sqlite:flowmill.db --all
  flowmill jobs events 0199c0de-0000-7000-8000-000000000000 --follow --store postgres")]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,

    #[command(flatten)]
    backend: backend::Args,

    /// Format of stdout
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        global = true
    )]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// Tables and sentences.
    #[default]
    Table,
    /// The documents of the HTTP API; one line per event.
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List jobs, newest first
    List(Listing),
    /// Show a job with its outputs
    Show {
        /// The job
        id: String,
    },
    /// Show the events of a job
    Events {
        /// The job
        id: String,
        /// Only events after this one
        #[arg(long, value_name = "ID", default_value_t)]
        after: u64,
        /// Continue until the job has ended
        #[arg(short, long)]
        follow: bool,
    },
    /// Cancel a job
    Cancel {
        /// The job
        id: String,
    },
    /// Run an ended job again as a new job; completed nodes are not run again
    Retry {
        /// The job
        id: String,
        /// Node to start from [default: where the job failed]
        #[arg(long, value_name = "NODE")]
        from: Option<String>,
        /// Which version of the workflow to run
        #[arg(long, value_name = "VERSION", default_value = "original")]
        definition: Definition,
    },
    /// Delete an ended job
    Delete {
        /// The job
        id: String,
    },
}

/// Where jobs are found: at a server or in a store.
pub(super) struct JobSource(Access);

enum Access {
    Server(ApiClient),
    Store(OpenStore),
}

impl JobSource {
    pub(super) async fn open(backend: &Backend) -> Result<Self> {
        Ok(Self(match backend {
            Backend::Store(store) => Access::Store(OpenStore::open(store).await?),
            Backend::Server(options) => Access::Server(ApiClient::open(options)?),
        }))
    }

    /// Names of API keys by id; empty for a server, which does not report them with jobs.
    pub(super) async fn key_names(&self) -> Result<HashMap<String, String>> {
        match &self.0 {
            Access::Server(_) => Ok(HashMap::new()),
            Access::Store(store) => store.key_names().await,
        }
    }

    /// A page of jobs, newest first, and the cursor of the next page. Each job is a row as in the
    /// HTTP API; from a store it also has an `owner`, the key that created it.
    pub(super) async fn page(
        &self,
        listing: &Listing,
        cursor: Option<&str>,
    ) -> Result<(Vec<Value>, Option<String>)> {
        let mut page = match &self.0 {
            Access::Server(client) => client.list(listing, cursor, PAGE).await?,
            Access::Store(store) => store.list(listing, cursor, PAGE, Rows::WithOwners).await?,
        };
        let next = page["next_cursor"].as_str().map(str::to_owned);
        match page["jobs"].take() {
            Value::Array(jobs) => Ok((jobs, next)),
            _ => Ok((Vec::new(), None)),
        }
    }
}

pub(super) fn jobs(args: Args, context: &Context) -> Result<Exit> {
    context.start_logging(Level::Warn);
    let runtime = runtime::of_one_thread()?;
    let backend = args.backend.settle(context)?;
    runtime.block_on(async {
        let source = JobSource::open(&backend).await?;
        act(args.verb, args.format, &source).await
    })?;
    Ok(Exit::Success)
}

async fn act(verb: Verb, format: Format, source: &JobSource) -> Result<()> {
    let (document, sentence) = match verb {
        Verb::List(listing) => return list(&listing, format, source).await,
        Verb::Events { id, after, follow } => {
            let print = |event: &Value| match format {
                Format::Json => printer::data(&event.to_string()),
                Format::Table => printer::readable(&visible::escaped(&table::event(event))),
            };
            return match &source.0 {
                Access::Server(client) => client.events(&id, after, follow, print).await,
                Access::Store(store) => store.events(&id, after, follow, print).await,
            };
        }
        Verb::Show { id } => {
            let job = match &source.0 {
                Access::Server(client) => client.show(&id).await?,
                Access::Store(store) => store.show(&id).await?,
            };
            let text = table::job(&job, printer::stdout_look());
            (job, text)
        }
        Verb::Cancel { id } => {
            let job = match &source.0 {
                Access::Server(client) => client.cancel(&id).await?,
                Access::Store(store) => store.cancel(&id).await?,
            };
            let text = match job["status"].as_str() {
                Some("cancelling") => format!("{id} is being cancelled"),
                _ => format!("{id} is cancelled"),
            };
            (job, text)
        }
        Verb::Retry {
            id,
            from,
            definition,
        } => {
            let job = match &source.0 {
                Access::Server(client) => client.retry(&id, from.as_deref(), definition).await?,
                Access::Store(_) => {
                    return Err(Failure::usage("a retry needs a running server")
                        .hint("start one with `flowmill serve`, then retry without --store"));
                }
            };
            let text = format!("{id} is run again as {}", table::text(&job["job_id"]));
            (job, text)
        }
        Verb::Delete { id } => {
            match &source.0 {
                Access::Server(client) => client.delete(&id).await?,
                Access::Store(store) => store.delete(&id).await?,
            }
            let text = format!("{id} is deleted");
            (json!({ "job_id": id }), text)
        }
    };
    match format {
        Format::Json => printer::data(&document.to_string()),
        Format::Table => printer::readable(&visible::escaped(&sentence)),
    }
}

async fn list(listing: &Listing, format: Format, source: &JobSource) -> Result<()> {
    let limit = if listing.all {
        usize::MAX
    } else {
        listing.limit
    };
    let mut jobs = Vec::new();
    let mut cursor = listing.cursor.clone();
    while jobs.len() < limit {
        let most = PAGE.min(limit - jobs.len());
        let mut page = match &source.0 {
            Access::Server(client) => client.list(listing, cursor.as_deref(), most).await?,
            Access::Store(store) => {
                store
                    .list(listing, cursor.as_deref(), most, Rows::OfApi)
                    .await?
            }
        };
        if let Value::Array(some) = page["jobs"].take() {
            jobs.extend(some);
        }
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    if format == Format::Json {
        return printer::data(&json!({ "jobs": jobs, "next_cursor": cursor }).to_string());
    }
    printer::data(&table::jobs(&jobs, printer::stdout_look()))?;
    if let Some(cursor) = cursor {
        printer::note(&format!(
            "there are more jobs: add --cursor {cursor}, or --all"
        ));
    }
    Ok(())
}
