//! `flowmill keys`: creates, lists, rotates and revokes API keys and shows what they have spent, in a
//! store, or at a running server with an administrator's key.

mod open_store;
mod table;

use std::num::{NonZeroU32, NonZeroU64};

use clap::{Subcommand, ValueEnum};
use engine::host::Host as _;
use serde_json::{Value, json};
use service::access::Scope;
use service::limits::Limits;

use super::backend::{self, Backend};
use super::context::Context;
use super::jobs::ApiClient;
use crate::config::log::Level;
use crate::config::units::{Dollars, DurationOrZero, Moment};
use crate::failure::{Exit, Failure, Result};
use crate::system_host::SystemHost;
use crate::{printer, runtime};
use open_store::OpenStore;

/// Create, list, rotate and revoke API keys, and show what they have spent
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowmill keys create --name operator --scope admin --store sqlite:flowmill.db
  flowmill keys create --name shop --workflow greeting --expires 90d --cost-per-day 2.50
  flowmill keys rotate 5f0c2a91b3de --grace 1d
  flowmill keys list --format json

Create the first key in the store: in a store file while its server is stopped, in PostgreSQL at any time. Later
keys can also be created through the running server, with an administrator's key in FLOWMILL_API_KEY.")]
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
    /// The key alone, a table, or a sentence.
    #[default]
    Table,
    /// The documents of the HTTP API.
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a key, which is shown once
    Create(New),
    /// List keys, never their secrets
    List,
    /// Replace a key's secret, which is shown once
    Rotate {
        /// The key's id or name
        #[arg(value_name = "ID|NAME")]
        id: String,
        /// How long the old secret remains valid, such as 1d, at most 30d [default: not at all]
        #[arg(long, value_name = "TIME")]
        grace: Option<DurationOrZero>,
    },
    /// Show what keys have spent today and have left; with a key that is not an administrator's, a
    /// server reports only that key
    Usage {
        /// The key's id or name [default: all]
        #[arg(value_name = "ID|NAME")]
        id: Option<String>,
    },
    /// Revoke a key permanently
    Revoke {
        /// The key's id or name
        #[arg(value_name = "ID|NAME")]
        id: String,
    },
}

/// The key to create.
#[derive(Debug, clap::Args)]
struct New {
    /// Name of the key, for people: its owner or its purpose
    #[arg(long, value_name = "NAME")]
    name: String,

    /// What the key may do: run (start, retry, cancel and delete jobs), read (read them), metrics
    /// (read /metrics), admin (everything, for the jobs of all keys, and manage keys)
    #[arg(
        long = "scope",
        value_name = "SCOPES",
        value_delimiter = ',',
        default_value = "run,read"
    )]
    scopes: Vec<Scope>,

    /// Restrict the key to this workflow; repeatable [default: all workflows]
    #[arg(long = "workflow", value_name = "NAME")]
    workflows: Vec<String>,

    /// Requests per minute [default: the server's --key-requests-per-minute, and likewise for the
    /// options below]
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<NonZeroU32>,

    /// Unfinished jobs, running or queued
    #[arg(long, value_name = "N")]
    max_running: Option<NonZeroU32>,

    /// Queued jobs
    #[arg(long, value_name = "N")]
    max_queued: Option<u32>,

    /// Tokens per day (UTC)
    #[arg(long, value_name = "N")]
    tokens_per_day: Option<NonZeroU64>,

    /// US dollars per day (UTC)
    #[arg(long, value_name = "USD")]
    cost_per_day: Option<Dollars>,

    /// When the key expires: a duration from now, such as 90d, or a time such as
    /// 2027-01-31T12:00:00Z [default: never]
    #[arg(long, value_name = "TIME", value_parser = in_the_future)]
    expires: Option<Moment>,
}

fn in_the_future(text: &str) -> Result<Moment, String> {
    Moment::parse(
        text,
        "a duration from now, such as 90d, or 2027-01-31T12:00:00Z",
    )
}

/// Where keys are found: at a server or in a store.
enum KeySource {
    Server(ApiClient),
    Store(OpenStore),
}

impl KeySource {
    async fn list(&self) -> Result<Value> {
        match self {
            Self::Server(client) => client.keys().await,
            Self::Store(store) => store.list().await,
        }
    }

    /// The id of the key with that name; a text that is no key's name is taken as an id.
    async fn id_of(&self, named: String) -> Result<String> {
        // Only an administrator's key may list keys; others may ask for their own usage.
        let Ok(listing) = self.list().await else {
            return Ok(named);
        };
        let keys = || listing["keys"].as_array().into_iter().flatten();
        if keys().any(|key| key["id"] == *named) {
            return Ok(named);
        }
        let is_called_so = |key: &&Value| key["name"] == *named;
        let active = keys().filter(|key| is_called_so(key) && key["state"] == "active");
        let ids_of = |keys: Vec<&Value>| -> Vec<String> {
            keys.iter()
                .filter_map(|key| Some(key["id"].as_str()?.to_owned()))
                .collect()
        };
        // A name may be reused once its key is revoked: the active key is meant.
        let mut ids = ids_of(active.collect());
        if ids.is_empty() {
            ids = ids_of(keys().filter(is_called_so).collect());
        }
        match ids.as_slice() {
            [] => Ok(named),
            [id] => Ok(id.clone()),
            several => Err(Failure::usage(format!(
                "{} keys have the name `{named}`: {}",
                several.len(),
                several.join(", ")
            ))
            .hint("name one by its id")),
        }
    }
}

pub(super) fn keys(args: Args, context: &Context) -> Result<Exit> {
    context.start_logging(Level::Warn);
    let runtime = runtime::of_one_thread()?;
    let backend = args.backend.settle(context)?;
    runtime.block_on(async {
        let source = match &backend {
            Backend::Store(store) => {
                let may_begin = matches!(args.verb, Verb::Create(_));
                KeySource::Store(OpenStore::open(store, may_begin).await?)
            }
            Backend::Server(options) => KeySource::Server(ApiClient::open(options)?),
        };
        act(args.verb, args.format, &source).await
    })?;
    Ok(Exit::Success)
}

async fn act(verb: Verb, format: Format, source: &KeySource) -> Result<()> {
    match verb {
        Verb::Create(new) => {
            let now = SystemHost::new().now();
            let request = json!({
                "name": new.name,
                "scopes": new.scopes,
                "workflows": (!new.workflows.is_empty()).then_some(new.workflows),
                "limits": Limits {
                    requests_per_minute: new.requests_per_minute,
                    max_running: new.max_running,
                    max_queued: new.max_queued,
                    tokens_per_day: new.tokens_per_day,
                    cost_per_day_usd: new.cost_per_day.map(|Dollars(amount)| amount),
                },
                "expires_at": new.expires.map(|expires| expires.after(now)),
            });
            let made = match source {
                KeySource::Server(client) => client.create_key(&request).await?,
                KeySource::Store(store) => store.create(&request).await?,
            };
            show_made(&made, format)
        }
        Verb::Rotate { id, grace } => {
            let id = source.id_of(id).await?;
            let grace = grace.map(|DurationOrZero(grace)| grace).unwrap_or_default();
            let made = match source {
                KeySource::Server(client) => client.rotate_key(&id, grace).await?,
                KeySource::Store(store) => store.rotate(&id, grace).await?,
            };
            show_made(&made, format)
        }
        Verb::List => {
            let keys = source.list().await?;
            printer::data(&match format {
                Format::Json => keys.to_string(),
                Format::Table => table::keys(&keys["keys"], printer::stdout_look()),
            })
        }
        Verb::Usage { id } => {
            let id = match id {
                Some(named) => Some(source.id_of(named).await?),
                None => None,
            };
            let usage = match source {
                KeySource::Server(client) => client.usage(id.as_deref()).await?,
                KeySource::Store(store) => store.usage(id.as_deref()).await?,
            };
            printer::data(&match format {
                Format::Json => usage.to_string(),
                Format::Table => table::usage(&usage["keys"], printer::stdout_look()),
            })
        }
        Verb::Revoke { id } => {
            let id = source.id_of(id).await?;
            let revoked = match source {
                KeySource::Server(client) => client.revoke_key(&id).await?,
                KeySource::Store(store) => store.revoke(&id).await?,
            };
            printer::data(&match format {
                Format::Json => revoked.to_string(),
                Format::Table => format!("{id} is revoked"),
            })
        }
    }
}

/// Prints the key to stdout, for scripts, and notes about it to stderr.
fn show_made(made: &Value, format: Format) -> Result<()> {
    let warnings = made["warnings"].as_array().into_iter().flatten();
    warnings
        .filter_map(Value::as_str)
        .for_each(printer::warning);
    match format {
        Format::Json => printer::data(&made.to_string()),
        Format::Table => {
            printer::data(made["key"].as_str().unwrap_or_default())?;
            printer::note(&format!(
                "this is the key {}: store it safely, it is not shown again",
                made["id"].as_str().unwrap_or_default()
            ));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn an_end_is_a_time_or_how_long_from_now() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().expect("a time");
        let check = |text: &str, expected: &str| {
            let expiry = in_the_future(text).expect("an end");
            assert_eq!(expiry.after(now).to_string(), expected, "{text}");
        };
        check("24h", "2026-11-26T12:00:00Z");
        check("90d", "2027-02-23T12:00:00Z");
        check("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z");
        assert!(in_the_future("soon").is_err());
    }
}
