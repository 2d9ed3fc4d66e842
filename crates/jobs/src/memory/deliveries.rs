//! Webhooks: due with the end of their job, claimed to be tried, settled.

use std::time::Duration;

use jiff::Timestamp;

use super::delivery::DeliveryRecord;
use super::record::Record;
use super::tables::Tables;
use crate::store::{Error, later};
use crate::webhook::{
    ClaimedDelivery, Delivery, DeliveryCapacity, DeliveryLease, DeliveryState, Settlement,
};

impl Record {
    /// Makes the webhook of an ended job due, if the job has one.
    pub(super) fn make_delivery_due(&mut self, at: Timestamp) {
        if let Some(Parts { owed, shown, .. }) = self.delivery() {
            owed.due_at = at;
            shown.state = DeliveryState::Pending;
            shown.next_attempt_at = Some(at);
        }
    }

    /// The delivery of an ended job with a webhook.
    fn delivery(&mut self) -> Option<Parts<'_>> {
        Some(Parts {
            owed: self.owed.as_mut()?,
            shown: self.head.webhook.as_mut()?,
            ended_at: self.head.completed_at?,
        })
    }
}

struct Parts<'a> {
    owed: &'a mut DeliveryRecord,
    shown: &'a mut Delivery,
    ended_at: Timestamp,
}

impl Tables {
    pub(super) fn claim_deliveries(
        &mut self,
        capacity: DeliveryCapacity,
        lease_for: Duration,
        now: Timestamp,
    ) -> Vec<ClaimedDelivery> {
        let lapses_at = later(now, lease_for);
        let mut claimed = Vec::new();
        for (due_at, id) in self.due.until(now, capacity) {
            let Some(Parts {
                owed,
                shown,
                ended_at,
            }) = self.jobs.get_mut(&id).and_then(|record| record.delivery())
            else {
                continue;
            };
            shown.attempts += 1;
            shown.next_attempt_at = None;
            owed.token += 1;
            owed.is_claimed = true;
            owed.due_at = lapses_at;
            claimed.push(ClaimedDelivery {
                lease: DeliveryLease {
                    job: id,
                    token: owed.token,
                },
                webhook: owed.webhook.clone(),
                attempt: shown.attempts,
                ended_at,
            });
            let host = owed.webhook.host.clone();
            self.due.remove(&host, due_at, id);
            self.due.insert(&host, lapses_at, id);
        }
        claimed
    }

    pub(super) fn settle_delivery(
        &mut self,
        lease: &DeliveryLease,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<(), Error> {
        let id = lease.job;
        let Parts {
            owed,
            shown,
            ended_at,
        } = self
            .jobs
            .get_mut(&id)
            .and_then(|record| record.delivery())
            .filter(|parts| parts.owed.is_claimed && parts.owed.token == lease.token)
            .ok_or(Error::LeaseLost(id))?;
        let (state, after, error) = settlement.parts();
        let due_at = after.map(|after| later(now, after));
        owed.is_claimed = false;
        let host = owed.webhook.host.clone();
        self.due.remove(&host, owed.due_at, id);
        if matches!(settlement, Settlement::HandedBack) {
            shown.attempts -= 1;
        } else {
            shown.last_error = error.cloned();
        }
        shown.state = state;
        shown.next_attempt_at = due_at;
        if let Some(due_at) = due_at {
            owed.due_at = due_at;
            self.due.insert(&host, due_at, id);
        } else {
            self.owed.remove(&(ended_at, id));
            self.ended.insert((ended_at, id));
        }
        Ok(())
    }

    /// Makes deliveries due that are being tried.
    pub(super) fn release_deliveries(&mut self) {
        for (lapses_at, id) in self.due.take_all() {
            let Some(Parts {
                owed,
                shown,
                ended_at,
            }) = self.jobs.get_mut(&id).and_then(|record| record.delivery())
            else {
                continue;
            };
            if std::mem::take(&mut owed.is_claimed) {
                owed.due_at = ended_at;
                shown.next_attempt_at = Some(ended_at);
            } else {
                owed.due_at = lapses_at;
            }
            self.due.insert(&owed.webhook.host, owed.due_at, id);
        }
    }
}
