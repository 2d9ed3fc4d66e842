//! An event as JSON, written at once or when it is read.

use jiff::Timestamp;
use jiff::tz::Offset;
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

/// As `Timestamp` serialises itself, with fewer instructions: a run writes several, and the general
/// way passes each piece of one through the escaping of a JSON text.
fn as_text<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    let time = Offset::UTC.to_datetime(*at);
    let Ok(year) = u32::try_from(time.year()) else {
        return at.serialize(serializer);
    };
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let numbers = [
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
    ];
    write_digits(&mut text[..4], year);
    for (number, at) in numbers.into_iter().zip([5, 8, 11, 14, 17]) {
        write_digits(&mut text[at..at + 2], number.unsigned_abs().into());
    }
    let fraction = time.subsec_nanosecond().unsigned_abs();
    write_digits(&mut text[FRACTION..FRACTION + 9], fraction);
    // The zeros at its end are left out, and with the last of them the point.
    let mut end = text.len() - 1;
    while end > FRACTION && text[end - 1] == b'0' {
        end -= 1;
    }
    if end == FRACTION {
        end -= 1;
    }
    text[end] = b'Z';
    serializer.serialize_str(str::from_utf8(&text[..=end]).map_err(S::Error::custom)?)
}

/// Where the digits of a second's fraction begin.
const FRACTION: usize = "0000-00-00T00:00:00.".len();

fn write_digits(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn timestamps_are_written_as_they_serialise_themselves() {
        let seconds = [
            0,
            1_764_000_000,
            -1,
            -62_135_596_801,
            253_402_207_199,
            1_709_164_800,
        ];
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
