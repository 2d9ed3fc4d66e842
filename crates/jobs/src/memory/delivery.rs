//! One webhook.

use jiff::Timestamp;

use crate::webhook::Webhook;

/// A delivery, beside what is shown of it in the job.
#[derive(Debug)]
pub(super) struct DeliveryRecord {
    pub(super) webhook: Webhook,
    /// As in `Tables::due`, while it is there.
    pub(super) due_at: Timestamp,
    /// Of the last claim.
    pub(super) token: u64,
    /// Somebody tries it.
    pub(super) is_claimed: bool,
}

impl DeliveryRecord {
    pub(super) fn new(webhook: Webhook) -> Self {
        Self {
            webhook,
            due_at: Timestamp::MIN,
            token: 0,
            is_claimed: false,
        }
    }
}
