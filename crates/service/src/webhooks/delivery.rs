//! The deliverer: claims the deliveries that are due, tries each on a task of its own, and settles
//! it.
//!
//! A slow receiver delays only its own deliveries: of all those in flight, one host has a few.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobs::job::Job;
use jobs::store::{Error, later};
use jobs::webhook::{ClaimedDelivery, DeliveryCapacity, DeliveryLease, Settlement, Webhook};
use outbound::{Answer, Url};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::Webhooks;
use super::message;
use super::schedule::{GIVE_UP_AFTER, wait};
use super::signature::Key;
use crate::backoff::Retries;
use crate::shared::Shared;

/// Deliveries in flight at once.
const TOTAL: usize = 128;

/// Deliveries in flight to one host.
const PER_HOST: usize = 16;

/// How long one try may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a delivery stays with a process that dies; longer than a try and its settlement take.
const LEASE: Duration = Duration::from_secs(90);

/// The longest time between two looks at the store.
const TICK: Duration = Duration::from_secs(1);

/// How long tries that are under way may still take when the service stops.
const GRACE: Duration = Duration::from_secs(5);

/// Works until told to stop.
pub(crate) async fn deliver(shared: Arc<Shared>, webhooks: Webhooks) {
    let deliverer = Arc::new(Deliverer {
        shared,
        webhooks,
        in_flight: Mutex::default(),
        tries: TaskTracker::new(),
        broken_off: CancellationToken::new(),
    });
    let shared = &deliverer.shared;
    // Deliveries of an earlier process are released with its jobs; ours must not be among them.
    tokio::select! {
        biased;
        () = shared.deliveries.stop.cancelled() => return,
        () = shared.lifecycle.taken_over.wait() => {}
    }
    loop {
        deliverer.take_turn().await;
        tokio::select! {
            biased;
            () = shared.deliveries.stop.cancelled() => break,
            () = shared.deliveries.woken() => {}
            () = shared.host.sleep(TICK) => {}
        }
    }
    if !shared.store.is_durable() {
        // No other process will.
        deliverer.take_turn().await;
    }
    deliverer.tries.close();
    tokio::select! {
        biased;
        () = deliverer.tries.wait() => {}
        () = shared.host.sleep(GRACE) => {}
    }
    deliverer.broken_off.cancel();
    tokio::select! {
        biased;
        () = deliverer.tries.wait() => {}
        () = shared.host.sleep(GRACE) => tracing::warn!("some webhooks did not stop in time; they are retried after the next start"),
    }
}

struct Deliverer {
    shared: Arc<Shared>,
    webhooks: Webhooks,
    /// Tries by host.
    in_flight: Mutex<BTreeMap<Arc<str>, usize>>,
    tries: TaskTracker,
    /// Deliveries under way are to be handed back.
    broken_off: CancellationToken,
}

impl Deliverer {
    /// Begins as many tries as may be in flight.
    async fn take_turn(self: &Arc<Self>) {
        loop {
            let capacity = self.capacity();
            let total = capacity.total;
            if total == 0 {
                return;
            }
            let shared = &self.shared;
            let due = shared
                .store
                .claim_deliveries(&capacity, LEASE, shared.host.now())
                .await;
            let due = match due {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(%error, "cannot read the webhooks that are due; retrying");
                    return;
                }
            };
            let was_all = due.len() < total;
            for delivery in due {
                *self
                    .in_flight()
                    .entry(delivery.webhook.host.clone())
                    .or_default() += 1;
                let deliverer = self.clone();
                self.tries
                    .spawn(async move { deliverer.carry_out(delivery).await });
            }
            if was_all {
                return;
            }
        }
    }

    fn capacity(&self) -> DeliveryCapacity {
        let in_flight = self.in_flight().clone();
        DeliveryCapacity {
            total: TOTAL - in_flight.values().sum::<usize>().min(TOTAL),
            per_host: PER_HOST,
            in_flight,
        }
    }

    async fn carry_out(&self, delivery: ClaimedDelivery) {
        let host = delivery.webhook.host.clone();
        let settlement = tokio::select! {
            biased;
            settlement = self.attempt(&delivery) => settlement,
            () = self.broken_off.cancelled() => Some(Settlement::HandedBack),
        };
        if let Some(settlement) = settlement {
            self.settle(&delivery.lease, settlement).await;
        }
        let mut in_flight = self.in_flight();
        if let Some(tries) = in_flight.get_mut(&host) {
            *tries -= 1;
            if *tries == 0 {
                in_flight.remove(&host);
            }
        }
        drop(in_flight);
        self.shared.deliveries.may_be_due();
    }

    /// One try, and what becomes of the delivery by it; `None` where there is nothing to settle.
    async fn attempt(&self, delivery: &ClaimedDelivery) -> Option<Settlement> {
        let shared = &self.shared;
        let job = match shared.store.get(delivery.lease.job).await {
            Ok(Some(job)) => job,
            // It was deleted, and its webhook with it.
            Ok(None) => return None,
            Err(error) => {
                tracing::warn!(job = %delivery.lease.job, %error, "cannot read the job of a webhook");
                return Some(self.failed(delivery, "the job store did not answer", None));
            }
        };
        let outcome = tokio::select! {
            biased;
            outcome = self.send(&delivery.webhook, &job) => outcome,
            () = shared.host.sleep(ATTEMPT_TIMEOUT) => {
                Err(format!("the receiver did not answer within {} s", ATTEMPT_TIMEOUT.as_secs()))
            }
        };
        Some(match outcome {
            Ok(Answer {
                status: 200..=299, ..
            }) => Settlement::Delivered,
            Ok(Answer { status: 410, .. }) => Settlement::Gone {
                error: "the receiver answered 410: it wants no more webhooks".into(),
            },
            Ok(Answer {
                status: status @ 300..=399,
                ..
            }) => {
                let error =
                    format!("the receiver answered {status}, and redirects are not followed");
                self.failed(delivery, &error, None)
            }
            Ok(Answer {
                status,
                retry_after,
            }) => self.failed(
                delivery,
                &format!("the receiver answered {status}"),
                retry_after,
            ),
            Err(error) => self.failed(delivery, &error, None),
        })
    }

    async fn send(&self, webhook: &Webhook, job: &Job) -> Result<Answer, String> {
        let (url, key) = self.target(webhook)?;
        let seconds = self.shared.host.now().as_second();
        let request = message::request(url, key.as_ref(), job, seconds);
        self.webhooks
            .sender
            .post(request)
            .await
            .map_err(|error| error.to_string())
    }

    fn target(&self, webhook: &Webhook) -> Result<(Url, Option<Key>), String> {
        let Some(target) = &webhook.target else {
            let default = self.webhooks.default.clone();
            return default
                .map(|default| (default.url, default.key))
                .ok_or_else(|| "the server no longer has a default webhook".to_owned());
        };
        // What was allowed when the job was accepted may not be any more.
        let url = self
            .webhooks
            .policy
            .read(target.url.reveal())
            .map_err(|unfit| format!("the webhook's address cannot be used: {unfit}"))?;
        let secret = target.secret.as_ref();
        let key = secret.map(|secret| secret.reveal().parse()).transpose();
        key.map(|key| (url, key))
            .map_err(|_| "the webhook's secret cannot be read".to_owned())
    }

    fn failed(
        &self,
        delivery: &ClaimedDelivery,
        error: &str,
        asked: Option<Duration>,
    ) -> Settlement {
        let host = &*self.shared.host;
        let after = wait(delivery.attempt, asked, host.random());
        let error = error.into();
        if later(host.now(), after) > later(delivery.ended_at, GIVE_UP_AFTER) {
            Settlement::GivenUp { error }
        } else {
            Settlement::TryAgain { after, error }
        }
    }

    /// Stores the outcome, as long as the lease lasts; after that the message is sent once more.
    async fn settle(&self, lease: &DeliveryLease, settlement: Settlement) {
        let shared = &self.shared;
        let job = lease.job;
        match &settlement {
            Settlement::Delivered => tracing::debug!(%job, "webhook delivered"),
            Settlement::TryAgain { after, error } => {
                tracing::info!(%job, ?after, %error, "a webhook was not delivered; it will be retried");
            }
            Settlement::Gone { error } | Settlement::GivenUp { error } => {
                tracing::warn!(%job, %error, "a webhook was not delivered and is given up");
            }
            Settlement::HandedBack => {
                tracing::info!(%job, "a webhook will be delivered after the next start");
            }
        }
        let mut retries = Retries::of_store();
        let give_up_at = shared.host.elapsed() + LEASE;
        loop {
            match shared
                .store
                .settle_delivery(lease, settlement.clone(), shared.host.now())
                .await
            {
                Ok(()) => break,
                Err(Error::Unavailable(error)) if shared.host.elapsed() < give_up_at => {
                    tracing::warn!(%job, error, "cannot store the outcome of a webhook; retrying");
                    retries.pause(&*shared.host).await;
                }
                Err(error) => {
                    tracing::debug!(%job, %error, "a webhook no longer belongs to this process");
                    return;
                }
            }
        }
        if settlement == Settlement::Delivered {
            shared.read_jobs.end_is_known(job);
        }
    }

    fn in_flight(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, usize>> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
