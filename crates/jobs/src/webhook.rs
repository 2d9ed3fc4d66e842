//! Webhooks: the address that is told how a job ended, and the state of that delivery. The store
//! knows that a delivery is due once its job has ended, and who is trying it; what is sent is the
//! caller's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::JobId;

/// A text that is never printed: a secret, or an address that may contain one.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(Arc<str>);

impl Hidden {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for Hidden {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The receiver of the message about a job's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The address without anything that may be secret.
    pub shown: Arc<str>,
    /// Host and port. Deliveries are limited by host, so that a slow one does not hold up the
    /// others.
    pub host: Arc<str>,
    /// The address and its secret; `None`: the server's own webhook, as set when the message is
    /// sent.
    pub target: Option<Target>,
}

impl Webhook {
    /// The delivery of a job that has not ended.
    pub(crate) fn untried(&self) -> Delivery {
        Delivery {
            url: self.shown.clone(),
            state: DeliveryState::Waiting,
            attempts: 0,
            last_error: None,
            next_attempt_at: None,
        }
    }
}

/// An address that was submitted with the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// An absolute URL.
    pub url: Hidden,
    /// The key that signs messages.
    pub secret: Option<Hidden>,
}

/// The state of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum DeliveryState {
    /// The job has not ended.
    Waiting,
    /// It is due, or being tried.
    Pending,
    /// The receiver has accepted it.
    Delivered,
    /// The receiver wants no more messages.
    Gone,
    /// Every try failed, and no further one is made.
    GivenUp,
}

impl DeliveryState {
    /// Delivered, gone or given up: nothing more is sent.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Delivered | Self::Gone | Self::GivenUp)
    }

    /// As in JSON: `waiting`, `pending`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Gone => "gone",
            Self::GivenUp => "given_up",
        }
    }
}

/// A job's delivery as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The address without anything that may be secret.
    pub url: Arc<str>,
    /// Its state.
    pub state: DeliveryState,
    /// How many tries have begun.
    pub attempts: u32,
    /// Why the last try failed, in one sentence.
    pub last_error: Option<Arc<str>>,
    /// When the next try is due; `None` while one is under way and once the delivery is settled.
    pub next_attempt_at: Option<Timestamp>,
}

/// How many more deliveries a process can carry out at once.
#[derive(Debug, Clone, Default)]
pub struct DeliveryCapacity {
    /// Most deliveries to claim.
    pub total: usize,
    /// Most deliveries to one host at once, including those in flight.
    pub per_host: usize,
    /// Deliveries in flight by host.
    pub in_flight: BTreeMap<Arc<str>, usize>,
}

impl DeliveryCapacity {
    /// How many more deliveries that host can take.
    pub(crate) fn left_for(&self, host: &str) -> usize {
        let taken = self.in_flight.get(host).copied().unwrap_or(0);
        self.per_host.saturating_sub(taken)
    }

    /// Counts a delivery to that host as in flight; false if the host can take no more.
    pub(crate) fn take(&mut self, host: &str) -> bool {
        match self.in_flight.get_mut(host) {
            Some(taken) if *taken >= self.per_host => return false,
            Some(taken) => *taken += 1,
            None if self.per_host == 0 => return false,
            None => drop(self.in_flight.insert(host.into(), 1)),
        }
        self.total -= 1;
        true
    }
}

/// The right to settle a delivery, until another one is given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryLease {
    /// The job whose end is delivered.
    pub job: JobId,
    /// Rises with every claim of the delivery.
    pub token: u64,
}

/// A delivery for its claimant to try.
#[derive(Debug, Clone)]
pub struct ClaimedDelivery {
    /// Needed to settle the delivery.
    pub lease: DeliveryLease,
    /// The receiver.
    pub webhook: Webhook,
    /// The number of this try, from 1.
    pub attempt: u32,
    /// When the job ended.
    pub ended_at: Timestamp,
}

/// The result of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The receiver has accepted it.
    Delivered,
    /// It failed and is worth another try.
    TryAgain {
        /// How long after it is settled it is due again.
        after: Duration,
        /// Why it failed, in one sentence.
        error: Arc<str>,
    },
    /// The receiver wants no more messages.
    Gone {
        /// What the receiver answered, in one sentence.
        error: Arc<str>,
    },
    /// It failed for the last time.
    GivenUp {
        /// Why it failed, in one sentence.
        error: Arc<str>,
    },
    /// This process broke it off (shutdown); it does not count as a try, and is due at once.
    HandedBack,
}

impl Settlement {
    /// The state that follows, after how long the delivery is due again, and why the try failed.
    pub(crate) fn parts(&self) -> (DeliveryState, Option<Duration>, Option<&Arc<str>>) {
        match self {
            Self::Delivered => (DeliveryState::Delivered, None, None),
            Self::TryAgain { after, error } => (DeliveryState::Pending, Some(*after), Some(error)),
            Self::Gone { error } => (DeliveryState::Gone, None, Some(error)),
            Self::GivenUp { error } => (DeliveryState::GivenUp, None, Some(error)),
            Self::HandedBack => (DeliveryState::Pending, Some(Duration::ZERO), None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Hidden, Target, Webhook};

    #[test]
    fn what_is_hidden_is_not_printed() {
        let webhook = Webhook {
            shown: "https://example.com/hook".into(),
            host: "example.com:443".into(),
            target: Some(Target {
                url: Hidden::from("https://user:letmein@example.com/hook?key=letmein"),
                secret: Some(Hidden::from("whsec_letmein")),
            }),
        };
        let printed = format!("{webhook:?}");
        assert!(!printed.contains("letmein"), "{printed}");
        assert!(printed.contains("https://example.com/hook"), "{printed}");
    }
}
