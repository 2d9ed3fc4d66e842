//! The delivery of one webhook.

use jiff::Timestamp;

use crate::webhook::Webhook;

/// What the job's record does not show of its delivery.
#[derive(Debug)]
pub(super) struct DeliveryRecord {
    pub(super) webhook: Webhook,
    /// As in `Tables::due`, while it has an entry there.
    pub(super) due_at: Timestamp,
    /// Fencing token of the last claim.
    pub(super) token: u64,
    /// It is being tried.
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
