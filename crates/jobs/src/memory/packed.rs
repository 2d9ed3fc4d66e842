//! The payloads of an ended job in one piece of memory.
//!
//! Thousands of ended jobs are kept, and hardly any of them is read. As separate values they would
//! take half as much memory again, in two dozen pieces. Each new job would reuse the pieces of a
//! deleted one, scattered over all of that memory, and cause cache misses at every step.

use std::ops::Range;
use std::sync::Arc;

use super::payloads::{Payloads, Slot};
use crate::job::Workload;
use crate::json::{Json, Payload};
use crate::store::StoredEvent;

/// Texts with their lengths in front: those of [`Payloads`] in the order of [`Slot`], with an empty
/// one for none; then id, kind and data of each event.
#[derive(Debug)]
pub(super) struct Packed(Arc<[u8]>);

/// A text within it. Taking it out is cheap however long it is, since that happens while others
/// wait for the tables.
struct Part {
    whole: Arc<[u8]>,
    range: Range<usize>,
}

impl Payload for Part {
    fn write_to(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.whole[self.range.clone()]);
    }
}

/// Enough bytes for most jobs.
const USUAL: usize = 4096;

impl Packed {
    pub(super) fn of(payloads: &Payloads) -> Self {
        let mut bytes = Vec::with_capacity(USUAL);
        for slot in Slot::ALL {
            framed(&mut bytes, |bytes| {
                if let Some(json) = payloads.slot(slot) {
                    json.write_to(bytes);
                }
            });
        }
        for event in &payloads.events {
            bytes.extend(event.id.to_le_bytes());
            framed(&mut bytes, |bytes| bytes.extend(event.kind.as_bytes()));
            framed(&mut bytes, |bytes| event.data.write_to(bytes));
        }
        // Copied, so that it takes no more than it has.
        Self(bytes.as_slice().into())
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<Json> {
        let mut reader = Reader::of(&self.0);
        for _ in 0..slot as usize {
            reader.framed();
        }
        let range = reader.framed();
        (!range.is_empty()).then(|| self.json(range))
    }

    fn json(&self, range: Range<usize>) -> Json {
        Json::later(Part {
            whole: self.0.clone(),
            range,
        })
    }

    pub(super) fn workload(&self) -> Workload {
        Workload {
            inputs: self
                .get(Slot::Inputs)
                .expect("every job has inputs, and JSON is never empty"),
            options: self.get(Slot::Options),
            progress: self.get(Slot::Progress),
        }
    }

    /// Those after that id.
    pub(super) fn events(&self, after: u64, limit: usize) -> Vec<StoredEvent> {
        let mut reader = Reader::of(&self.0);
        for _ in Slot::ALL {
            reader.framed();
        }
        let events = std::iter::from_fn(|| {
            let is_over = reader.is_over();
            (!is_over).then(|| (reader.number(), reader.framed(), reader.framed()))
        });
        events
            .filter(|(id, _, _)| *id > after)
            .take(limit)
            .map(|(id, kind, data)| StoredEvent {
                id,
                kind: String::from_utf8_lossy(&self.0[kind]).into_owned().into(),
                data: self.json(data),
            })
            .collect()
    }
}

/// Appends what `write` writes, with its length in front.
fn framed(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len() + size_of::<u64>();
    bytes.extend([0; size_of::<u64>()]);
    write(bytes);
    let length = (bytes.len() - start) as u64;
    bytes[start - size_of::<u64>()..start].copy_from_slice(&length.to_le_bytes());
}

/// Reads packed texts one after the other.
struct Reader<'a> {
    whole: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn of(whole: &'a [u8]) -> Self {
        Self { whole, at: 0 }
    }

    fn is_over(&self) -> bool {
        self.at == self.whole.len()
    }

    fn number(&mut self) -> u64 {
        let bytes = self.whole[self.at..].first_chunk();
        self.at += size_of::<u64>();
        u64::from_le_bytes(*bytes.expect("a number was packed"))
    }

    /// The range of the next text.
    fn framed(&mut self) -> Range<usize> {
        let length =
            usize::try_from(self.number()).expect("it was the length of a piece of memory");
        let start = self.at;
        self.at += length;
        start..self.at
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::json;

    use super::*;

    fn event(id: u64, kind: &'static str) -> StoredEvent {
        StoredEvent {
            id,
            kind: Cow::Borrowed(kind),
            data: Json::of(&json!({"id": id, "text": "Grüße\n"})),
        }
    }

    #[test]
    fn what_was_packed_is_read_as_it_was() {
        let workload = Workload {
            inputs: Json::of(&json!({"name": "Ada"})),
            options: None,
            progress: Some(Json::of(&json!([1, 2]))),
        };
        let events = [event(1, "run_started"), event(4, "a"), event(5, "b")];
        let mut payloads = Payloads::of_workload(workload.clone(), None);
        payloads.events.extend(events.clone());
        let packed = Packed::of(&payloads);
        assert_eq!(packed.workload(), workload);
        assert_eq!(packed.get(Slot::Usage), None);
        assert_eq!(packed.events(0, 9), events);
        assert_eq!(packed.events(1, 1), events[1..2]);
        assert_eq!(packed.events(4, 9), events[2..]);
        assert_eq!(packed.events(5, 9), []);
        assert!(packed.bytes() < 400);
    }
}
