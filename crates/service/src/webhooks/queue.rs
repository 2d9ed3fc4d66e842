//! What the use cases know of deliveries: the webhooks that are set up, and that one may be due.
//! The rest is in `delivery`.

use jobs::webhook::Webhook;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::Webhooks;

#[derive(Debug)]
pub(crate) struct DeliveryQueue {
    webhooks: Option<Webhooks>,
    wake: Notify,
    /// No delivery is to begin any more.
    pub(crate) stop: CancellationToken,
    /// The task that delivers.
    pub(crate) deliverer: TaskTracker,
}

impl DeliveryQueue {
    /// `None` where there are no webhooks.
    pub(crate) fn new(webhooks: Option<Webhooks>) -> Self {
        Self {
            webhooks,
            wake: Notify::new(),
            stop: CancellationToken::new(),
            deliverer: TaskTracker::new(),
        }
    }

    pub(crate) fn webhooks(&self) -> Option<&Webhooks> {
        self.webhooks.as_ref()
    }

    /// The server's own webhook, for a job that names none.
    pub(crate) fn own_webhook(&self) -> Option<Webhook> {
        self.webhooks.as_ref()?.of_the_server()
    }

    /// A job with a webhook may have ended.
    pub(crate) fn may_be_due(&self) {
        self.wake.notify_one();
    }

    /// Waits until a delivery may be due.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }
}
