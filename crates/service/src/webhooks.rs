//! Telling somebody how a job ended: Standard Webhooks, delivered from the store.
//!
//! A job's end and the delivery it owes are stored together, so neither a crash nor a restart loses one.
//! Whoever claims a delivery tries it once and settles it: delivered, to be tried again, or given up. A
//! process that dies in between leaves a lease that lapses, so a message may come twice, under the same
//! id. `delivery` sends, `schedule` says when again, `message` what, `signature` signs it.

mod delivery;
mod message;
mod schedule;
mod signature;

use std::fmt;
use std::sync::Arc;

use jobs::webhook::{Hidden, Target, Webhook};
use outbound::{Policy, Post, Url};

use crate::service::Service;

pub(crate) use delivery::deliver;
pub use outbound::policy::Unfit;
pub use schedule::GIVE_UP_AFTER;
pub use signature::{BadSecret, Key};

/// How ends of jobs are told.
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// Sends messages.
    pub sender: Arc<dyn Post>,
    /// Where they may be sent.
    pub policy: Arc<Policy>,
    /// For jobs that name no webhook of their own.
    pub default: Option<DefaultWebhook>,
}

/// The server's own webhook. Never stored: a job only notes that this is its one, so that a secret that
/// was changed counts for what is delivered from then on.
#[derive(Clone)]
pub struct DefaultWebhook {
    /// Where to.
    pub url: Url,
    /// What messages are signed with.
    pub key: Option<Key>,
}

impl fmt::Debug for DefaultWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DefaultWebhook")
            .field("host", &host(&self.url))
            .finish_non_exhaustive()
    }
}

/// What is wrong with a webhook that somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFault {
    /// This service tells nobody anything.
    NotSupported,
    /// Of the address.
    Url(Unfit),
    /// Of the secret.
    Secret(BadSecret),
}

impl Service {
    /// Checks a webhook for a job; tells all that is wrong with it.
    pub fn webhook(&self, url: &str, secret: Option<&str>) -> Result<Webhook, Vec<WebhookFault>> {
        let Some(webhooks) = &self.shared.webhooks else {
            return Err(vec![WebhookFault::NotSupported]);
        };
        let read = webhooks.policy.read(url).map_err(WebhookFault::Url);
        let key = secret.map(str::parse::<Key>).transpose();
        match (read, key.map_err(WebhookFault::Secret)) {
            (Ok(read), Ok(_)) => Ok(Webhook {
                shown: shown(&read).into(),
                host: host(&read).into(),
                target: Some(Target {
                    url: Hidden::from(url),
                    secret: secret.map(Hidden::from),
                }),
            }),
            (read, key) => Err(read.err().into_iter().chain(key.err()).collect()),
        }
    }
}

impl Webhooks {
    /// The one for a job that names none.
    pub(crate) fn of_the_server(&self) -> Option<Webhook> {
        let url = &self.default.as_ref()?.url;
        Some(Webhook {
            // The path, too, may be a secret, and not of the job's owner.
            shown: url.origin().ascii_serialization().into(),
            host: host(url).into(),
            target: None,
        })
    }
}

/// Without what often holds secrets: credentials and the query.
fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// Host and port.
fn host(url: &Url) -> String {
    format!(
        "{}:{}",
        url.host_str().unwrap_or_default(),
        url.port_or_known_default().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_an_address_holds_no_credentials() {
        let check = |url: &str, shows: &str, is_at: &str| {
            let url = Url::parse(url).unwrap();
            assert_eq!((shown(&url).as_str(), host(&url).as_str()), (shows, is_at));
        };
        check(
            "https://user:letmein@example.com/hook?key=letmein#letmein",
            "https://example.com/hook",
            "example.com:443",
        );
        check(
            "http://[2606:4700::1]:8080",
            "http://[2606:4700::1]:8080/",
            "[2606:4700::1]:8080",
        );
        let default = DefaultWebhook {
            url: Url::parse("https://u:letmein@example.com/letmein?letmein").unwrap(),
            key: Some(
                "whsec_bGV0bWVpbmxldG1laW5sZXRtZWlubGV0bWVpbg=="
                    .parse()
                    .unwrap(),
            ),
        };
        let printed = format!("{default:?}");
        assert!(!printed.contains("letmein"), "{printed}");
    }
}
