//! How webhooks are set up on this server.

use std::fmt;
use std::sync::Arc;

use jobs::webhook::Webhook;
use outbound::{Policy, Post, Url};

use super::signature::Key;

/// How webhooks are delivered.
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// The client that sends them.
    pub sender: Arc<dyn Post>,
    /// The addresses that they may be sent to.
    pub policy: Arc<Policy>,
    /// The webhook of jobs that name none.
    pub default: Option<DefaultWebhook>,
}

/// The server's default webhook. It is not stored: a job only notes that it uses the default, so
/// that a new secret applies to all deliveries from then on.
#[derive(Clone)]
pub struct DefaultWebhook {
    /// The address.
    pub url: Url,
    /// The key that signs messages.
    pub key: Option<Key>,
}

impl fmt::Debug for DefaultWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DefaultWebhook")
            .field("host", &host(&self.url))
            .finish_non_exhaustive()
    }
}

impl Webhooks {
    /// The webhook of a job that names none.
    pub(crate) fn of_the_server(&self) -> Option<Webhook> {
        let url = &self.default.as_ref()?.url;
        Some(Webhook {
            // The path may be a secret, too, and not one of the job's owner.
            shown: url.origin().ascii_serialization().into(),
            host: host(url).into(),
            target: None,
        })
    }
}

/// The address without the parts that often hold secrets: credentials and the query.
pub(super) fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// Host and port.
pub(super) fn host(url: &Url) -> String {
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
