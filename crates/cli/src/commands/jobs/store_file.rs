//! The jobs in a store file that no server has open, in the form in which a server returns them.

use std::collections::HashMap;
use std::sync::Arc;

use engine::host::Host as _;
use jobs::job::{JobId, Status};
use jobs::key::KeyStore;
use jobs::store::{CancelRequested, Error, Filter, JobStore, Page};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use server::views::{Document, Row};
use service::events::Event;

use super::options::Listing;
use crate::config::store::Store;
use crate::failure::{Exit, Failure, Result};
use crate::job_store;
use crate::system_host::SystemHost;

/// Events read at once.
const EVENTS: usize = 256;

/// An open store.
pub(super) struct StoreFile {
    store: Arc<dyn JobStore>,
    keys: Arc<dyn KeyStore>,
}

impl StoreFile {
    /// Opens an existing file.
    pub(super) fn open(store: &Store) -> Result<Self> {
        match store {
            Store::Memory => Err(Failure::usage(
                "jobs in memory are only visible through their server; use --server",
            )),
            Store::Sqlite(path) if !path.exists() => Err(Failure::new(
                Exit::Io,
                format!("`{}` does not exist", path.display()),
            )),
            Store::Sqlite(_) => job_store::open(store)
                .map(|opened| Self {
                    store: opened.jobs,
                    keys: opened.keys,
                })
                .map_err(|failure| failure.hint("to ask a running server, use --server URL")),
        }
    }

    pub(super) async fn list(
        &self,
        listing: &Listing,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Value> {
        let page = self.page(listing, cursor, limit).await?;
        let rows: Vec<Row<'_>> = page.jobs.iter().map(Row::from).collect();
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

    /// The same, with the key that created each job.
    pub(super) async fn list_with_owners(
        &self,
        listing: &Listing,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Value> {
        let page = self.page(listing, cursor, limit).await?;
        let rows = page.jobs.iter().map(|job| {
            let mut row = json!(Row::from(job));
            row["owner"] = json!(job.owner);
            row
        });
        Ok(json!({ "jobs": rows.collect::<Vec<_>>(), "next_cursor": page.next }))
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

    pub(super) async fn events(
        &self,
        id: &str,
        mut after: u64,
        print: impl Fn(&Value) -> Result<()>,
    ) -> Result<()> {
        self.show(id).await?;
        let id = job_id(id)?;
        loop {
            let events = self
                .store
                .events(id, after, EVENTS)
                .await
                .map_err(|error| failed(&error))?;
            let Some(last) = events.last() else {
                return Ok(());
            };
            after = last.id;
            for event in events {
                print(&json!(Event::from(event).data))?;
            }
        }
    }

    /// Cancels a queued job; a job that has started is marked, and the next server ends it.
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
