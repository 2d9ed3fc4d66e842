//! An event as JSON, written at once or when it is read.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use jobs::json::{Json, Payload, write_to};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};

/// `{"id", "at", "event", …}`, as [`RunEvent`](engine::event::RunEvent) reads it.
#[derive(Debug, Serialize)]
pub(crate) struct Numbered<K> {
    #[serde(skip_serializing_if = "engine::event::is_unnumbered")]
    pub(crate) id: u64,
    #[serde(serialize_with = "as_text")]
    pub(crate) at: Timestamp,
    #[serde(flatten)]
    pub(crate) kind: K,
}

impl<K: Serialize> Numbered<K> {
    pub(crate) fn written(&self) -> Json {
        Json::of(self)
    }
}

impl<K: Serialize + Send + Sync + 'static> Numbered<K> {
    pub(crate) fn written_later(self) -> Json {
        Json::later(self)
    }
}

impl<K: Serialize + Send + Sync> Payload for Numbered<K> {
    fn write_to(&self, bytes: &mut Vec<u8>) {
        write_to(self, bytes);
    }
}

/// Longest text of a timestamp, in bytes.
const TIMESTAMP_BYTES: usize = "-009999-01-01T00:00:00.000000000Z".len();

/// As `Timestamp` serialises itself, in a third of the instructions: a run writes several, and the
/// general way passes each piece of one through the escaping of a JSON text.
fn as_text<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = String::with_capacity(TIMESTAMP_BYTES);
    DateTimePrinter::new()
        .print_timestamp(at, &mut text)
        .map_err(S::Error::custom)?;
    serializer.serialize_str(&text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn timestamps_are_written_as_they_serialise_themselves() {
        let seconds = [0, 1_764_000_000, -1, -62_135_596_801];
        let nanoseconds = [0, 1, 120_000_000, 999_999_999];
        for (second, nanosecond) in seconds
            .into_iter()
            .flat_map(|second| nanoseconds.map(|nanosecond| (second, nanosecond)))
        {
            let at =
                Timestamp::new(second, 0).unwrap() + std::time::Duration::from_nanos(nanosecond);
            let kind = json!({"event": "x"});
            let written = Numbered { id: 1, at, kind }.written();
            let read: Value = written.read().unwrap();
            assert_eq!(read["at"], serde_json::to_value(at).unwrap());
        }
    }
}
