//! Clients of other replicas that watch a run which is here.
//!
//! Their replica says so by a signal, again and again while they watch; nothing of it is stored.
//! Meanwhile the events of the run are stored at once, and deltas are sent as signals: those of
//! [`COLLECT`] together, as far as they fit. A delta may be lost, and the run does not wait for any.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::event::EventKind;
use jiff::Timestamp;
use jobs::job::JobId;
use jobs::json::Json;
use jobs::signals::{Delta, Signal, Signals};
use tokio::sync::Notify;

use crate::numbered::Numbered;

/// How long a signal that clients watch is good for. It is sent twice within that time.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// Deltas of this time are sent together.
pub(crate) const COLLECT: Duration = Duration::from_millis(100);

/// Bytes of text that are collected; what comes beyond is lost.
const MOST_TEXT: usize = 2_000;

#[derive(Debug)]
pub(crate) struct RemoteWatch {
    signals: Arc<dyn Signals>,
    job: JobId,
    /// Milliseconds on the host's monotonic clock; 0 where nobody watches.
    until: AtomicU64,
    deltas: Mutex<Collected>,
    collects: Notify,
}

#[derive(Debug, Default)]
struct Collected {
    pieces: Vec<Piece>,
    bytes: usize,
}

/// Text of one node, after one event.
#[derive(Debug)]
struct Piece {
    after: u64,
    at: Timestamp,
    node: Arc<str>,
    item: Option<usize>,
    text: String,
}

impl RemoteWatch {
    pub(crate) fn new(signals: Arc<dyn Signals>, job: JobId) -> Self {
        Self {
            signals,
            job,
            until: AtomicU64::new(0),
            deltas: Mutex::default(),
            collects: Notify::new(),
        }
    }

    /// Clients of another replica watch.
    pub(crate) fn begin(&self, now: Duration) {
        let until = now.saturating_add(GOOD_FOR).as_millis();
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        self.until.store(until, Ordering::SeqCst);
    }

    /// Whether clients of other replicas watch.
    pub(crate) fn holds(&self, now: Duration) -> bool {
        let until = self.until.load(Ordering::SeqCst);
        until > 0 && now < Duration::from_millis(until)
    }

    /// Events were stored.
    pub(crate) fn stored(&self) {
        self.signals.publish(Signal::Events(self.job));
    }

    /// A delta that follows the event `after`.
    pub(crate) fn collect(&self, after: u64, at: Timestamp, delta: &EventKind) {
        let EventKind::LlmDelta { node, item, text } = delta else {
            return;
        };
        let mut collected = self.deltas();
        if collected.bytes + text.len() > MOST_TEXT {
            return;
        }
        collected.bytes += text.len();
        match collected.pieces.last_mut() {
            Some(last) if (last.after, &last.node, last.item) == (after, node, *item) => {
                last.text.push_str(text);
            }
            _ => {
                let (node, item, text) = (node.clone(), *item, text.clone());
                collected.pieces.push(Piece {
                    after,
                    at,
                    node,
                    item,
                    text,
                });
            }
        }
        self.collects.notify_one();
    }

    /// Waits until there are deltas to be sent.
    pub(crate) async fn collects(&self) {
        self.collects.notified().await;
    }

    /// Sends the deltas that were collected.
    pub(crate) fn send(&self) {
        let collected = std::mem::take(&mut *self.deltas());
        for piece in collected.pieces {
            let delta = Numbered {
                id: piece.after,
                at: piece.at,
                kind: EventKind::LlmDelta {
                    node: piece.node,
                    item: piece.item,
                    text: piece.text,
                },
            };
            self.signals.publish(Signal::Delta(Delta {
                job: self.job,
                after: piece.after,
                data: Json::of(&delta),
            }));
        }
    }

    fn deltas(&self) -> MutexGuard<'_, Collected> {
        self.deltas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use jobs::signals::{Heard, InProcess, Subscription};
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;

    fn delta(node: &str, text: &str) -> EventKind {
        EventKind::LlmDelta {
            node: node.into(),
            item: None,
            text: text.to_owned(),
        }
    }

    fn heard(subscription: &mut Subscription) -> Vec<(u64, Value)> {
        let next = || match subscription.next().now_or_never()? {
            Heard::Signal(Signal::Delta(delta)) => Some((delta.after, delta.data.read().unwrap())),
            other => panic!("{other:?}"),
        };
        std::iter::from_fn(next).collect()
    }

    fn watch() -> (RemoteWatch, Subscription, jobs::signals::Member) {
        let all = InProcess::default();
        let (here, there) = (all.join(), all.join());
        let subscription = there.subscribe();
        let watch = RemoteWatch::new(Arc::new(here), JobId(Uuid::nil()));
        (watch, subscription, there)
    }

    #[test]
    fn deltas_of_one_node_after_one_event_are_one() {
        let (watch, mut subscription, _there) = watch();
        let at = Timestamp::UNIX_EPOCH;
        for (after, node, text) in [(2, "a", "be"), (2, "a", "es"), (2, "b", "!"), (3, "b", "?")] {
            watch.collect(after, at, &delta(node, text));
        }
        assert!(heard(&mut subscription).is_empty());
        watch.send();
        let seen: Vec<(u64, String)> = heard(&mut subscription)
            .into_iter()
            .map(|(after, event)| {
                assert_eq!(
                    (&event["event"], event["id"].as_u64()),
                    (&"llm_delta".into(), Some(after))
                );
                (after, format!("{}{}", event["node"], event["text"]))
            })
            .collect();
        let expected = [(2, "\"a\"\"bees\""), (2, "\"b\"\"!\""), (3, "\"b\"\"?\"")];
        assert_eq!(seen, expected.map(|(after, text)| (after, text.to_owned())));
        watch.send();
        assert!(heard(&mut subscription).is_empty());
    }

    #[test]
    fn no_more_is_collected_than_can_be_sent() {
        let (watch, mut subscription, _there) = watch();
        for _ in 0..30 {
            watch.collect(1, Timestamp::UNIX_EPOCH, &delta("a", &"x".repeat(100)));
        }
        watch.send();
        let seen = heard(&mut subscription);
        assert_eq!(seen[0].1["text"].as_str().map(str::len), Some(MOST_TEXT));
    }

    #[test]
    fn a_watch_lasts_until_no_signal_repeats_it() {
        let (watch, ..) = watch();
        let second = Duration::from_secs;
        assert!(!watch.holds(second(0)));
        watch.begin(second(100));
        assert!(watch.holds(second(109)));
        watch.begin(second(105));
        assert!(watch.holds(second(114)));
        assert!(!watch.holds(second(115)));
    }
}
