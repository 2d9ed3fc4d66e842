//! Webhooks that clients ask for with their jobs.

use jobs::webhook::{Hidden, Target, Webhook};
use outbound::policy::UrlRefusal;

use super::config::{host, shown};
use super::signature::{BadSecret, Key};
use crate::shared::Service;

/// What is wrong with a webhook that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFault {
    /// This service delivers no webhooks.
    NotSupported,
    /// The address cannot be used.
    Url(UrlRefusal),
    /// The secret is invalid.
    Secret(BadSecret),
}

impl Service {
    /// Checks the webhook of a job; returns everything that is wrong with it.
    pub fn webhook(&self, url: &str, secret: Option<&str>) -> Result<Webhook, Vec<WebhookFault>> {
        let Some(webhooks) = self.shared.deliveries.webhooks() else {
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
