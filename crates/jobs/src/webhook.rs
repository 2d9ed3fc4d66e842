//! Telling somebody how a job ended: where, and how far that has come. What is sent is not a store's
//! business; that it is due once the job has ended, and to whom it is given to be sent, is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::job::JobId;

/// A text that is never printed: a secret, or an address that may hold one.
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

/// Where the end of a job is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The address as it may be shown.
    pub shown: Arc<str>,
    /// Whom it is told: those who are slow must not keep the others waiting.
    pub host: Arc<str>,
    /// `None`: where the server itself is set up to tell it, at the time it is told.
    pub target: Option<Target>,
}

impl Webhook {
    /// Of a job that has not ended.
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

/// An address that came with the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Absolute.
    pub url: Hidden,
    /// What messages are signed with.
    pub secret: Option<Hidden>,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// The job has not ended.
    Waiting,
    /// It is to be delivered, or is just being.
    Pending,
    /// The receiver has it.
    Delivered,
    /// The receiver wants no more.
    Gone,
    /// It was tried for as long as it is worth it.
    GivenUp,
}

impl DeliveryState {
    /// Delivered, gone or given up: nothing is owed any more.
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
    /// As it may be shown.
    pub url: Arc<str>,
    /// Where it stands.
    pub state: DeliveryState,
    /// Tries begun.
    pub attempts: u32,
    /// What became of the last one, where it failed. One sentence.
    pub last_error: Option<Arc<str>>,
    /// Of one that is pending; `None` while a try is under way.
    pub next_attempt_at: Option<Timestamp>,
}

/// How much more may be sent at once.
#[derive(Debug, Clone, Default)]
pub struct DeliveryCapacity {
    /// Deliveries to be claimed at most.
    pub total: usize,
    /// To one host at once, those in flight included.
    pub per_host: usize,
    /// In flight by host.
    pub in_flight: BTreeMap<Arc<str>, usize>,
}

impl DeliveryCapacity {
    /// How many more may go to that host, as far as it is concerned.
    pub(crate) fn of(&self, host: &str) -> usize {
        let taken = self.in_flight.get(host).copied().unwrap_or(0);
        self.per_host.saturating_sub(taken)
    }

    /// Takes a place for a delivery to that host; false where it has none left.
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
    /// The job.
    pub job: JobId,
    /// Rises with every claim of the delivery.
    pub token: u64,
}

/// A delivery that somebody is to try.
#[derive(Debug, Clone)]
pub struct ClaimedDelivery {
    /// To settle it with.
    pub lease: DeliveryLease,
    /// Where to.
    pub webhook: Webhook,
    /// This try, from 1.
    pub attempt: u32,
    /// When the job ended.
    pub ended_at: Timestamp,
}

/// What became of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The receiver has it.
    Delivered,
    /// It failed and is worth another try.
    TryAgain {
        /// Not before.
        at: Timestamp,
        /// One sentence.
        error: Arc<str>,
    },
    /// The receiver wants no more.
    Gone {
        /// One sentence.
        error: Arc<str>,
    },
    /// It failed for the last time.
    GivenUp {
        /// One sentence.
        error: Arc<str>,
    },
    /// It was broken off by us (shutdown), and does not count.
    HandedBack {
        /// From when on it may be tried again.
        at: Timestamp,
    },
}

impl Settlement {
    /// Where the delivery then stands, when it is due, and what there is to say of the try.
    pub(crate) fn parts(&self) -> (DeliveryState, Option<Timestamp>, Option<&Arc<str>>) {
        match self {
            Self::Delivered => (DeliveryState::Delivered, None, None),
            Self::TryAgain { at, error } => (DeliveryState::Pending, Some(*at), Some(error)),
            Self::Gone { error } => (DeliveryState::Gone, None, Some(error)),
            Self::GivenUp { error } => (DeliveryState::GivenUp, None, Some(error)),
            Self::HandedBack { at } => (DeliveryState::Pending, Some(*at), None),
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
