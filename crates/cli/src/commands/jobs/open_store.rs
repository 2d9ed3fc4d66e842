//! The jobs in a store that is opened directly, in the form in which a server returns them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use engine::host::Host as _;
use jobs::job::{Job, JobId, Status};
use jobs::key::KeyStore;
use jobs::store::{CancelRequested, Error, Filter, JobStore, Page};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use server::views::{Document, Row};
use service::events::Event;

use super::options::Listing;
use crate::commands::backend::DirectStore;
use crate::config::store::Store;
use crate::failure::{Exit, Failure, Result};
use crate::job_store;
use crate::system_host::SystemHost;

/// Events read at once.
const EVENTS: usize = 256;

/// Time between two looks at the events of a job that is followed.
const PAUSE: Duration = Duration::from_millis(500);

/// What a row of a listing holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// What the HTTP API returns.
    OfApi,
    /// Also `owner`, the key that created the job.
    WithOwners,
}

/// An open store.
pub(super) struct OpenStore {
    store: Arc<dyn JobStore>,
    keys: Arc<dyn KeyStore>,
}

impl OpenStore {
    /// Opens an existing store.
    pub(super) async fn open(direct: &DirectStore) -> Result<Self> {
        match &direct.store {
            Store::Memory => Err(Failure::usage(
                "jobs in memory are only visible through their server; use --server",
            )),
            Store::Sqlite(path) if !path.exists() => Err(Failure::new(
                Exit::Io,
                format!("`{}` does not exist", path.display()),
            )),
            store @ (Store::Sqlite(_) | Store::Postgres(_)) => {
                let opened = job_store::open(store, direct.ca.as_deref()).await;
                let opened = opened.map_err(|failure| match store {
                    Store::Sqlite(_) => failure.hint("to ask a running server, use --server URL"),
                    Store::Memory | Store::Postgres(_) => failure,
                })?;
                Ok(Self {
                    store: opened.jobs,
                    keys: opened.keys,
                })
            }
        }
    }

    pub(super) async fn list(
        &self,
        listing: &Listing,
        cursor: Option<&str>,
        limit: usize,
        rows: Rows,
    ) -> Result<Value> {
        let page = self.page(listing, cursor, limit).await?;
        let row = |job: &Job| {
            let mut row = json!(Row::from(job));
            if rows == Rows::WithOwners {
                row["owner"] = json!(job.owner);
            }
            row
        };
        let rows: Vec<Value> = page.jobs.iter().map(row).collect();
        Ok(json!({ "jobs": rows, "next_cursor": page.next }))
    }

    /// Names of API keys by id.
    pub(super) async fn key_names(&self) -> Result<HashMap<String, String>> {
        let keys = self.keys.keys().await.map_err(|error| failed(&error))?;
        let names = keys.records.into_iter();
        Ok(names
            .map(|key| (key.id.to_string(), key.name.to_string()))
            .collect())
    }

    async fn page(&self, listing: &Listing, cursor: Option<&str>, limit: usize) -> Result<Page> {
        let filter = Filter {
            workflows: None,
            workflow: listing.workflow.clone(),
            status: read("--status", listing.status.as_deref())?,
            created_after: read("--created-after", listing.created_after.as_deref())?,
            created_before: read("--created-before", listing.created_before.as_deref())?,
            owner: None,
        };
        let cursor: Option<JobId> = read("--cursor", cursor)?;
        self.store
            .list(&filter, cursor, limit)
            .await
            .map_err(|error| failed(&error))
    }

    pub(super) async fn show(&self, id: &str) -> Result<Value> {
        let job = self
            .store
            .get(job_id(id)?)
            .await
            .map_err(|error| failed(&error))?;
        let job = job.ok_or_else(|| failed(&Error::NotFound))?;
        Ok(json!(Document::from(&job)))
    }

    /// Prints the stored events. Those of a job that goes on are followed only where a server can
    /// store more of them.
    pub(super) async fn events(
        &self,
        id: &str,
        mut after: u64,
        follow: bool,
        print: impl Fn(&Value) -> Result<()>,
    ) -> Result<()> {
        let id = job_id(id)?;
        loop {
            let tails = self.store.tails(&[(id, after)], EVENTS).await;
            let tail = tails.map_err(|error| failed(&error))?.pop().flatten();
            let tail = tail.ok_or_else(|| failed(&Error::NotFound))?;
            let read = tail.events.len();
            for event in tail.events {
                after = event.id;
                print(&json!(Event::from(event).data))?;
            }
            if read == EVENTS {
                continue;
            }
            if !follow || !self.store.is_shared() || tail.status.is_final() {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Cancels a queued job; a job that has started is marked, and the server that runs it, or the
    /// next one, ends it.
    pub(super) async fn cancel(&self, id: &str) -> Result<Value> {
        let id = job_id(id)?;
        let now = SystemHost::new().now();
        let status = match self
            .store
            .request_cancel(id, now)
            .await
            .map_err(|error| failed(&error))?
        {
            CancelRequested::Cancelled | CancelRequested::Ended(Status::Cancelled) => {
                Status::Cancelled
            }
            CancelRequested::Cancelling => Status::Cancelling,
            CancelRequested::Ended(status) => {
                let message = format!("the job has already {}", status.as_str());
                return Err(Failure::new(Exit::Failed, message));
            }
        };
        Ok(json!({ "job_id": id, "status": status }))
    }

    pub(super) async fn delete(&self, id: &str) -> Result<()> {
        self.store
            .delete(job_id(id)?)
            .await
            .map_err(|error| failed(&error))
    }
}

fn job_id(text: &str) -> Result<JobId> {
    text.parse().map_err(|_| failed(&Error::NotFound))
}

/// Parses a filter as the API does.
fn read<T: DeserializeOwned>(option: &str, text: Option<&str>) -> Result<Option<T>> {
    text.map(|text| {
        serde_json::from_value(json!(text))
            .map_err(|error| Failure::usage(format!("{option} `{text}`: {error}")))
    })
    .transpose()
}

fn failed(error: &Error) -> Failure {
    let exit = match error {
        Error::Unavailable(_) => Exit::Io,
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}
