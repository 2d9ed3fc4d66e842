//! Decides whether callers need a key, and makes sure that a server which others can reach is not
//! open by accident.

use std::net::IpAddr;
use std::sync::Arc;

use engine::host::Host;
use jobs::key::KeyStore;
use jobs::signals::Signals;
use jobs::spend::SpendStore;
use service::Service;
use service::access::{Access, KeyIssuer, ListedKeys};
use service::limits::Accounts;

use crate::config::secret::Secret;
use crate::config::serve::Settings;
use crate::config::store::Store;
use crate::failure::{Exit, Failure, Result};
use crate::system_host::SystemHost;

/// Refuses settings that are wrong whatever the store contains, before it is opened or created.
pub(super) fn refuse_early(settings: &Settings) -> Result<()> {
    let may_have_keys = match &settings.store {
        Store::Memory => false,
        Store::Sqlite(path) => path.exists(),
        Store::Postgres(_) => true,
    };
    if settings.api_keys.is_none() && !may_have_keys {
        refuse_open(settings)?;
    }
    Ok(())
}

/// Where keys and what they have spent are stored.
pub(super) struct KeyStores {
    pub(super) keys: Arc<dyn KeyStore>,
    pub(super) spend: Arc<dyn SpendStore>,
    /// Whether other processes use them at the same time.
    pub(super) are_shared: bool,
    /// Tells those processes of changes.
    pub(super) signals: Arc<dyn Signals>,
}

/// Access with the existing keys, or `None` if everyone is let in. Where other processes may create
/// the first key, access is in use from then on.
pub(super) async fn open(
    settings: &Settings,
    stores: KeyStores,
    host: Arc<dyn Host>,
) -> Result<Option<Arc<Access>>> {
    let listed = match &settings.api_keys {
        None => ListedKeys::default(),
        Some(list) => read_list(list)?,
    };
    let failed = |error: jobs::store::Error| Failure::new(Exit::Io, error.to_string());
    let issuer = KeyIssuer {
        store: stores.keys,
        host: host.clone(),
        secrets: Arc::new(SystemHost::new()),
    };
    let (spend, limits) = (stores.spend, settings.limits.keys);
    let access = async {
        if stores.are_shared {
            let accounts = Accounts::open_shared(spend, host, limits).await?;
            let access = Access::open_shared(issuer, listed, Arc::new(accounts)).await?;
            Ok(Some(access.signalling(stores.signals)))
        } else {
            let accounts = Accounts::open(spend, host, limits).await?;
            Access::open(issuer, listed, Arc::new(accounts)).await
        }
    };
    let access = access.await.map_err(failed)?;
    if !access.as_ref().is_some_and(Access::is_in_use) {
        refuse_open(settings)?;
        if is_reachable(settings.host) {
            tracing::warn!(host = %settings.host, "--insecure: anyone who can reach this server may run workflows and see all jobs");
        }
    }
    Ok(access.map(Arc::new))
}

/// A given list is meant to keep others out: one without a key is a mistake.
fn read_list(list: &Secret) -> Result<ListedKeys> {
    let keys: Result<ListedKeys, _> = list.reveal().parse();
    let keys =
        keys.map_err(|unfit| Failure::usage(format!("--api-keys (FLOWMILL_API_KEYS): {unfit}")))?;
    if keys.is_empty() {
        let message = "--api-keys (FLOWMILL_API_KEYS) is set but contains no key";
        return Err(
            Failure::usage(message).hint("write fm_NAME_SECRET, or unset it to require no key")
        );
    }
    Ok(keys)
}

/// Warns about keys that are restricted to workflows which this server does not have.
pub(super) async fn warn_of_unknown_workflows(access: &Access, service: &Service) {
    let is_known = |name: &str| service.catalog().get(name).is_some();
    match access.unknown_workflows(is_known).await {
        Ok(unknown) => {
            for (key, workflow) in unknown {
                tracing::warn!(key = %key.id, name = %key.name, %workflow, "an API key is restricted to a workflow that this server does not have");
            }
        }
        Err(error) => {
            tracing::warn!(%error, "cannot compare the API keys with the workflows");
        }
    }
}

fn is_reachable(host: IpAddr) -> bool {
    !host.is_loopback()
}

fn refuse_open(settings: &Settings) -> Result<()> {
    let host = settings.host;
    if !is_reachable(host) || settings.insecure {
        return Ok(());
    }
    let first_key = match &settings.store {
        Store::Memory => "set FLOWMILL_API_KEYS".to_owned(),
        store @ Store::Sqlite(_) => format!(
            "create a key with `flowmill keys create --name NAME --store {store}`, or set FLOWMILL_API_KEYS"
        ),
        Store::Postgres(_) => {
            "create a key with `flowmill keys create --name NAME --store postgres`, or set FLOWMILL_API_KEYS".to_owned()
        }
    };
    Err(Failure::usage(format!(
        "other machines can reach {host}, and there are no API keys: anyone could run workflows at your expense"
    ))
    .hint(format!("{first_key}; or add --insecure if something else protects the port")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::serve::Options;

    fn listening_on(host: &str, insecure: bool) -> Result<()> {
        let options = Options {
            host: Some(host.parse().expect("an address")),
            insecure: Some(insecure),
            store: Some("memory".to_owned().into()),
            ..Options::default()
        };
        refuse_early(&options.settle(&Options::default())?)
    }

    #[test]
    fn only_loopback_is_open_to_everyone() {
        for host in ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"] {
            assert!(listening_on(host, false).is_ok(), "{host}");
        }
        for host in ["0.0.0.0", "::", "192.168.1.5"] {
            assert!(listening_on(host, false).is_err(), "{host}");
            assert!(listening_on(host, true).is_ok(), "{host} --insecure");
        }
    }
}
