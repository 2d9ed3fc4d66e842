//! Timestamps: RFC 3339, UTC, microseconds, `Z`. Always six digits, so that they compare as text.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// A timestamp as clients see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time(pub(crate) Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.6}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(nanoseconds: i128, expected: &str) {
        let time = Time(Timestamp::from_nanosecond(nanoseconds).unwrap());
        assert_eq!(serde_json::to_value(time).unwrap(), expected);
    }

    #[test]
    fn six_digits_and_z() {
        check(1_764_000_000_000_000_000, "2025-11-24T16:00:00.000000Z");
        check(1_764_000_000_123_456_789, "2025-11-24T16:00:00.123456Z");
    }
}
