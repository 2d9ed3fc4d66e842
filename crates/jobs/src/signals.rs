//! Signals between the replicas of a store: hints that something has happened, so that the others need
//! not wait until they look.
//!
//! The store is the truth. A signal may be lost, come late or come twice, and whoever hears one asks
//! the store before acting on it; what nobody hears is found at the next look. So losing signals costs
//! time and nothing else.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use crate::id::JobId;
use crate::json::Json;

/// What happened at another replica.
#[derive(Debug, Clone)]
pub enum Signal {
    /// A job waits in the store, and no slot is free where it was accepted.
    JobsWaiting,
    /// API keys were created, rotated or revoked.
    KeysChanged,
    /// A webhook is due.
    DeliveriesDue,
    /// A running job was asked to stop.
    Cancel(JobId),
    /// A job has ended.
    Ended(JobId),
    /// Events of a job were stored.
    Events(JobId),
    /// A client of the sender watches this job. Sent again while it does.
    Watch(JobId),
    /// A piece of an answer, as it arrives.
    Delta(Delta),
    /// Another replica needs what is set aside for this API key.
    GiveBack(Arc<str>),
}

/// A piece of an answer as it arrives: shown to those who watch at that moment, and never stored.
#[derive(Debug, Clone)]
pub struct Delta {
    /// Whose it is.
    pub job: JobId,
    /// The id of the stored event before it.
    pub after: u64,
    /// The whole event.
    pub data: Json,
}

/// What a subscription yields.
#[derive(Debug, Clone)]
pub enum Heard {
    /// A signal of another replica.
    Signal(Signal),
    /// Signals may have been lost: all that they could have told has to be looked up.
    Rescan,
}

/// How well signals get through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reception {
    /// Whether signals are sent and heard now; `None` where there are none.
    pub is_connected: Option<bool>,
    /// How often signals may have been lost since the start.
    pub losses: u64,
}

/// Passes signals on to the other replicas, and theirs to this one.
pub trait Signals: Send + Sync + Debug {
    /// Tells all other replicas, soon. Returns at once and never fails.
    fn publish(&self, signal: Signal);

    /// What other replicas publish from now on.
    fn subscribe(&self) -> Subscription;

    /// How well signals get through.
    fn reception(&self) -> Reception;
}

/// Yields what other replicas publish.
#[derive(Debug)]
pub struct Subscription(Option<broadcast::Receiver<Heard>>);

impl Subscription {
    /// Of signals that are sent through this channel.
    pub(crate) fn of(receiver: broadcast::Receiver<Heard>) -> Self {
        Self(Some(receiver))
    }

    /// Waits for what comes next; for ever where nothing comes any more.
    pub async fn next(&mut self) -> Heard {
        if let Some(receiver) = &mut self.0 {
            match receiver.recv().await {
                Ok(heard) => return heard,
                Err(broadcast::error::RecvError::Lagged(_)) => return Heard::Rescan,
                Err(broadcast::error::RecvError::Closed) => self.0 = None,
            }
        }
        std::future::pending().await
    }
}

/// No signals: for a process that has its store to itself, and where replicas are to find out by
/// looking.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSignals;

impl Signals for NoSignals {
    fn publish(&self, _signal: Signal) {}

    fn subscribe(&self) -> Subscription {
        Subscription(None)
    }

    fn reception(&self) -> Reception {
        Reception::default()
    }
}

/// Signals a subscriber may lag behind before it has to look everything up.
pub(crate) const HEARD_BUFFER: usize = 4_096;

/// Signals between services of one process.
#[derive(Debug, Clone, Default)]
pub struct InProcess {
    members: Arc<Mutex<Vec<broadcast::Sender<Heard>>>>,
}

impl InProcess {
    /// One more service, which hears all others.
    pub fn join(&self) -> Member {
        let heard = broadcast::Sender::new(HEARD_BUFFER);
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.push(heard.clone());
        Member {
            all: self.clone(),
            heard,
        }
    }
}

/// One of the services that send each other signals.
#[derive(Debug)]
pub struct Member {
    all: InProcess,
    heard: broadcast::Sender<Heard>,
}

impl Signals for Member {
    fn publish(&self, signal: Signal) {
        let members = &self.all.members;
        let members = members.lock().unwrap_or_else(PoisonError::into_inner);
        for member in members.iter() {
            if !member.same_channel(&self.heard) {
                // Fails where nobody subscribes.
                let _ = member.send(Heard::Signal(signal.clone()));
            }
        }
    }

    fn subscribe(&self) -> Subscription {
        Subscription::of(self.heard.subscribe())
    }

    fn reception(&self) -> Reception {
        Reception {
            is_connected: Some(true),
            losses: 0,
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let members = &self.all.members;
        let mut members = members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| !member.same_channel(&self.heard));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_service_hears_the_others_and_not_itself() {
        let all = InProcess::default();
        let (first, second) = (all.join(), all.join());
        let (mut at_first, mut at_second) = (first.subscribe(), second.subscribe());
        let id = JobId(Uuid::from_u128(7));
        first.publish(Signal::Ended(id));
        let heard = at_second.next().now_or_never();
        assert!(matches!(heard, Some(Heard::Signal(Signal::Ended(ended))) if ended == id));
        assert!(at_first.next().now_or_never().is_none());
        drop(second);
        first.publish(Signal::JobsWaiting);
        assert!(at_second.next().now_or_never().is_none());
    }

    #[test]
    fn a_subscriber_that_lags_is_told_to_look_everything_up() {
        let all = InProcess::default();
        let (first, second) = (all.join(), all.join());
        let mut at_second = second.subscribe();
        for _ in 0..=HEARD_BUFFER {
            first.publish(Signal::JobsWaiting);
        }
        let heard = at_second.next().now_or_never();
        assert!(matches!(heard, Some(Heard::Rescan)), "{heard:?}");
        let heard = at_second.next().now_or_never();
        assert!(matches!(heard, Some(Heard::Signal(Signal::JobsWaiting))));
    }

    #[test]
    fn without_signals_nothing_is_ever_heard() {
        NoSignals.publish(Signal::KeysChanged);
        assert!(NoSignals.subscribe().next().now_or_never().is_none());
        assert_eq!(NoSignals.reception(), Reception::default());
    }
}
