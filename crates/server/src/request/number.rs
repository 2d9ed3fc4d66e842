//! Whole numbers of JSON, by JSON Schema's rule: `3.0` is one, as `3` is.

use serde_json::Value;

/// The largest number that every JSON reader reads exactly.
pub(crate) const LARGEST: u64 = 1 << 53;

/// The whole number, from 0 to [`LARGEST`], that a value is.
pub(crate) fn whole(value: &Value) -> Option<u64> {
    let number = value.as_u64().or_else(|| {
        let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
        // Printed without an exponent or a point; the sum makes `-0` a `0`.
        (number + 0.0).to_string().parse().ok()
    })?;
    (number <= LARGEST).then_some(number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_are_read_however_they_are_written() {
        let check = |value: Value, expected: Option<u64>| {
            assert_eq!(whole(&value), expected, "{value}");
        };
        check(json!(0), Some(0));
        check(json!(-0.0), Some(0));
        check(json!(278.0), Some(278));
        check(json!(LARGEST), Some(LARGEST));
        check(json!(1e3), Some(1_000));
        check(json!(LARGEST + 1), None);
        check(json!(1e300), None);
        check(json!(-1), None);
        check(json!(0.5), None);
        check(json!("3"), None);
    }
}
