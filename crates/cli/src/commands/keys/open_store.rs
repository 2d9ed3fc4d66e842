//! The keys in a store that is opened directly.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jobs::spend::SpendStore;
use serde::Deserialize;
use serde_json::{Value, json};
use service::access::{Access, Grants, IssuedKey, KeyError, KeyIssuer, ListedKeys, NewKey, Scope};
use service::limits::{Accounts, Limits};

use crate::commands::backend::DirectStore;
use crate::config::store::Store;
use crate::failure::{Exit, Failure, Result};
use crate::job_store::{self, Opened};
use crate::system_host::SystemHost;

/// What [`super`] asks for, as it would ask a server.
#[derive(Deserialize)]
struct Request {
    name: String,
    scopes: Vec<Scope>,
    workflows: Option<Vec<String>>,
    #[serde(default)]
    limits: Limits,
    expires_at: Option<Timestamp>,
}

/// An open store.
pub(super) struct OpenStore {
    issuer: KeyIssuer,
    spend: Arc<dyn SpendStore>,
}

impl OpenStore {
    /// Opens a store. A file that is not there is made if it `may_begin`: keys come before the first
    /// server.
    pub(super) async fn open(direct: &DirectStore, may_begin: bool) -> Result<Self> {
        match &direct.store {
            Store::Memory => Err(Failure::usage(
                "a store in memory is gone with its server; name a file, or set FLOWMILL_API_KEYS for the server",
            )),
            Store::Sqlite(path) if !may_begin && !path.exists() => Err(Failure::new(
                Exit::Io,
                format!("`{}` does not exist", path.display()),
            )),
            store @ (Store::Sqlite(_) | Store::Postgres(_)) => {
                let opened = job_store::open(store, direct.ca.as_deref()).await;
                let Opened { keys, spend, .. } = opened.map_err(|failure| match store {
                    Store::Sqlite(_) => failure.hint("a running server is asked with --server URL, and an admin's key in FLOWMILL_API_KEY"),
                    Store::Memory | Store::Postgres(_) => failure,
                })?;
                Ok(Self {
                    issuer: KeyIssuer {
                        store: keys,
                        host: Arc::new(SystemHost::new()),
                        secrets: Arc::new(SystemHost::new()),
                    },
                    spend,
                })
            }
        }
    }

    pub(super) async fn create(&self, request: &Value) -> Result<Value> {
        let request = Request::deserialize(request)
            .map_err(|error| Failure::usage(format!("the key cannot be made: {error}")))?;
        let new = NewKey {
            name: request.name,
            grants: Grants {
                scopes: request.scopes.into_iter().collect(),
                workflows: request.workflows.map(|names| names.into_iter().collect()),
                limits: request.limits,
            },
            expires_at: request.expires_at,
        };
        let made = self.issuer.create(new).await;
        made.map(|made| shown(&made))
            .map_err(|error| failed(&error))
    }

    pub(super) async fn list(&self) -> Result<Value> {
        let views = self.issuer.list().await.map_err(|error| failed(&error))?;
        Ok(json!({ "keys": views }))
    }

    pub(super) async fn usage(&self, id: Option<&str>) -> Result<Value> {
        let issuer = self.issuer.clone();
        let read = async {
            let defaults = Limits::default();
            let accounts = Accounts::open(self.spend.clone(), issuer.host.clone(), defaults);
            let accounts = Arc::new(accounts.await?);
            // It knows each key's own limits and its name.
            match Access::open(issuer, ListedKeys::default(), accounts.clone()).await? {
                Some(access) => access.usage(id).await,
                None => accounts.usage(id).await,
            }
        };
        let usage = read.await.map_err(|error| failed(&error.into()))?;
        if usage.is_empty() && id.is_some() {
            return Err(failed(&KeyError::NotFound));
        }
        Ok(json!({ "keys": usage }))
    }

    pub(super) async fn rotate(&self, id: &str, grace: Duration) -> Result<Value> {
        let made = self.issuer.rotate(id, grace).await;
        made.map(|made| shown(&made))
            .map_err(|error| failed(&error))
    }

    pub(super) async fn revoke(&self, id: &str) -> Result<Value> {
        let view = self
            .issuer
            .revoke(id)
            .await
            .map_err(|error| failed(&error))?;
        Ok(json!(view))
    }
}

/// As the server shows it.
fn shown(made: &IssuedKey) -> Value {
    let mut shown = json!(made.view);
    shown["key"] = json!(made.key.reveal());
    shown
}

fn failed(error: &KeyError) -> Failure {
    let exit = match error {
        KeyError::NotFound | KeyError::Revoked | KeyError::Expired | KeyError::Listed => {
            Exit::Failed
        }
        KeyError::Invalid(_) => Exit::Usage,
        KeyError::Store(_) => Exit::Io,
    };
    Failure::new(exit, error.to_string())
}
