//! Signals that are sent together, as the payload of one notification.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::id::JobId;
use crate::json::Json;
use crate::signals::{Delta, Signal};

/// Most ids in one notification.
const MAX_IDS: usize = 100;

/// Most bytes of one notification; the server takes less than 8,000.
const MAX_BYTES: usize = 7_900;

/// Bytes that everything but ids, keys and deltas takes at most.
const FRAME_BYTES: usize = 256;

/// Bytes of one id in a payload.
const ID_BYTES: usize = 40;

/// Bytes that one delta may take. A larger one is not worth the place of others.
const MAX_DELTA_BYTES: usize = 3_000;

/// What may wait to be sent; beyond it signals are lost.
const MAX_WAITING_IDS: usize = 10_000;
const MAX_WAITING_DELTA_BYTES: usize = 64 * 1_024;

/// Signals that wait to be sent, each once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    kinds: Kinds,
    cancel: BTreeSet<JobId>,
    ended: BTreeSet<JobId>,
    watch: BTreeSet<JobId>,
    events: BTreeSet<JobId>,
    give_back: BTreeSet<Arc<str>>,
    deltas: VecDeque<Delta>,
    delta_bytes: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Kinds {
    #[serde(default, skip_serializing_if = "is_false")]
    jobs_waiting: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    keys_changed: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    deliveries_due: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature is serde's"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What a notification says. What a later version adds is ignored.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    from: Uuid,
    #[serde(default)]
    kinds: Kinds,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cancel: Vec<JobId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ended: Vec<JobId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    watch: Vec<JobId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<JobId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    give_back: Vec<Arc<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deltas: Vec<(JobId, u64, Box<RawValue>)>,
}

impl Batch {
    /// Adds a signal; returns whether there was space for it.
    pub(super) fn add(&mut self, signal: Signal) -> bool {
        let (ids, id) = match signal {
            Signal::JobsWaiting => {
                self.kinds.jobs_waiting = true;
                return true;
            }
            Signal::KeysChanged => {
                self.kinds.keys_changed = true;
                return true;
            }
            Signal::DeliveriesDue => {
                self.kinds.deliveries_due = true;
                return true;
            }
            Signal::Delta(delta) => return self.add_delta(delta),
            Signal::Cancel(id) => (&mut self.cancel, id),
            Signal::Ended(id) => (&mut self.ended, id),
            Signal::Events(id) => (&mut self.events, id),
            Signal::Watch(id) => (&mut self.watch, id),
            Signal::GiveBack(key) => {
                // The ids of API keys are short.
                let fits = key.len() < ID_BYTES * 2 && self.give_back.len() < MAX_WAITING_IDS;
                if fits {
                    self.give_back.insert(key);
                }
                return fits;
            }
        };
        if ids.len() < MAX_WAITING_IDS {
            ids.insert(id);
            return true;
        }
        ids.contains(&id)
    }

    fn add_delta(&mut self, delta: Delta) -> bool {
        let bytes = bytes_of(&delta);
        let fits = bytes <= MAX_DELTA_BYTES && self.delta_bytes + bytes <= MAX_WAITING_DELTA_BYTES;
        if fits {
            self.delta_bytes += bytes;
            self.deltas.push_back(delta);
        }
        fits
    }

    /// Deltas are of use only at once.
    pub(super) fn drop_deltas(&mut self) {
        self.deltas.clear();
        self.delta_bytes = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kinds == Kinds::default()
            && self.cancel.is_empty()
            && self.ended.is_empty()
            && self.watch.is_empty()
            && self.events.is_empty()
            && self.give_back.is_empty()
            && self.deltas.is_empty()
    }

    /// Takes as much out as one notification holds.
    pub(super) fn take_payload(&mut self, from: Uuid) -> String {
        let mut left = MAX_IDS;
        let payload = Payload {
            from,
            kinds: std::mem::take(&mut self.kinds),
            cancel: take(&mut self.cancel, &mut left),
            ended: take(&mut self.ended, &mut left),
            watch: take(&mut self.watch, &mut left),
            // Each of these may take as much as two ids.
            give_back: {
                let mut pairs = left / 2;
                let keys = take(&mut self.give_back, &mut pairs);
                left -= keys.len() * 2;
                keys
            },
            events: take(&mut self.events, &mut left),
            deltas: self.take_deltas(MAX_BYTES - FRAME_BYTES - (MAX_IDS - left) * ID_BYTES),
        };
        serde_json::to_string(&payload).expect("ids, keys and JSON can be written")
    }

    fn take_deltas(&mut self, mut left: usize) -> Vec<(JobId, u64, Box<RawValue>)> {
        let mut taken = Vec::new();
        while let Some(delta) = self.deltas.front() {
            let bytes = bytes_of(delta);
            let Some(rest) = left.checked_sub(bytes) else {
                break;
            };
            left = rest;
            self.delta_bytes -= bytes;
            if let Some(Delta { job, after, data }) = self.deltas.pop_front()
                && let Ok(data) = RawValue::from_string(data.text().into_owned())
            {
                taken.push((job, after, data));
            }
        }
        taken
    }
}

/// The first of them, as many as are left.
fn take<T: Ord>(all: &mut BTreeSet<T>, left: &mut usize) -> Vec<T> {
    let taken: Vec<T> = std::iter::from_fn(|| all.pop_first()).take(*left).collect();
    *left -= taken.len();
    taken
}

/// In a payload.
fn bytes_of(delta: &Delta) -> usize {
    delta.data.text().len() + ID_BYTES + 24
}

/// What a notification says, and who sent it; `None` where it is none of ours.
pub(super) fn read(payload: &str) -> Option<(Uuid, Vec<Signal>)> {
    let payload: Payload = serde_json::from_str(payload).ok()?;
    let mut signals = Vec::new();
    let kinds = payload.kinds;
    signals.extend(kinds.jobs_waiting.then_some(Signal::JobsWaiting));
    signals.extend(kinds.keys_changed.then_some(Signal::KeysChanged));
    signals.extend(kinds.deliveries_due.then_some(Signal::DeliveriesDue));
    signals.extend(payload.cancel.into_iter().map(Signal::Cancel));
    signals.extend(payload.watch.into_iter().map(Signal::Watch));
    signals.extend(payload.give_back.into_iter().map(Signal::GiveBack));
    signals.extend(payload.deltas.into_iter().filter_map(|(job, after, data)| {
        let data = Json::from_text(String::from(Box::<str>::from(data))).ok()?;
        Some(Signal::Delta(Delta { job, after, data }))
    }));
    signals.extend(payload.events.into_iter().map(Signal::Events));
    signals.extend(payload.ended.into_iter().map(Signal::Ended));
    Some((payload.from, signals))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FROM: Uuid = Uuid::from_u128(1);

    fn id(number: u128) -> JobId {
        JobId(Uuid::from_u128(u128::MAX - number))
    }

    fn delta(after: u64, text: &str) -> Signal {
        Signal::Delta(Delta {
            job: id(0),
            after,
            data: Json::of(&json!({"event": "llm_delta", "text": text})),
        })
    }

    /// All that the notifications of a batch say.
    fn sent(batch: &mut Batch) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        while !batch.is_empty() {
            let payload = batch.take_payload(FROM);
            assert!(payload.len() < 8_000, "{} bytes", payload.len());
            let (from, signals) = read(&payload).unwrap();
            assert_eq!(from, FROM);
            all.push(signals.iter().map(|signal| format!("{signal:?}")).collect());
        }
        all
    }

    #[test]
    fn each_kind_of_signal_arrives_as_it_was_sent() {
        let signals = [
            Signal::JobsWaiting,
            Signal::KeysChanged,
            Signal::DeliveriesDue,
            Signal::Cancel(id(1)),
            Signal::Watch(id(4)),
            Signal::GiveBack("key".into()),
            delta(3, "b\u{0}é\"\\"),
            Signal::Events(id(3)),
            Signal::Ended(id(2)),
        ];
        let mut batch = Batch::default();
        for signal in signals.clone() {
            assert!(batch.add(signal.clone()) && batch.add(signal));
        }
        let expected: Vec<String> = signals.iter().map(|signal| format!("{signal:?}")).collect();
        let delta = expected[6].clone();
        let mut sent = sent(&mut batch).concat();
        // A delta that comes twice is two deltas.
        assert_eq!(sent.remove(7), delta);
        assert_eq!(sent, expected);
    }

    #[test]
    fn more_than_fits_goes_with_the_next_notification() {
        let mut batch = Batch::default();
        for number in 0..150 {
            assert!(batch.add(Signal::Ended(id(number))));
            assert!(batch.add(Signal::GiveBack(format!("{number:070}").into())));
        }
        for number in 0..20 {
            assert!(batch.add(delta(number, &"x".repeat(2_500))));
        }
        let sent = sent(&mut batch);
        let count = |kind: &str| {
            let all = sent.iter().flatten();
            all.filter(|signal| signal.starts_with(kind)).count()
        };
        assert_eq!((count("Ended"), count("GiveBack")), (150, 150));
        assert_eq!(count("Delta"), 20);
    }

    #[test]
    fn a_large_delta_is_dropped_and_so_are_those_that_nobody_takes() {
        let mut batch = Batch::default();
        assert!(!batch.add(delta(1, &"x".repeat(4_000))));
        let added = (0..100).filter(|_| batch.add(delta(1, &"x".repeat(2_000))));
        assert!((20..40).contains(&added.count()));
        batch.drop_deltas();
        assert!(batch.is_empty());
        assert!(batch.add(delta(1, "x")));
    }

    #[test]
    fn what_is_none_of_ours_is_not_read() {
        for payload in ["", "hello", "{}", "{\"from\":7}"] {
            assert!(read(payload).is_none(), "{payload}");
        }
        let later =
            format!("{{\"from\":\"{FROM}\",\"kinds\":{{\"jobs_waiting\":true}},\"new\":[1]}}");
        assert_eq!(read(&later).unwrap().1.len(), 1);
    }
}
