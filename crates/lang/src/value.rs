//! Run-time values. A value is JSON; integers are 64-bit (see [`crate::json`] for what is refused).
//! Owns how values compare in conditions and enums, as Python has it.

use std::cmp::Ordering;

pub use serde_json::{Map, Value};

/// Whether two values are equal: numbers by their exact value (`8 == 8.0`), true as 1 and false as
/// 0, lists and objects part by part, and nothing ever equals a value of another kind.
pub fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::String(left), Value::String(right)) => left == right,
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, left)| right.get(key).is_some_and(|right| equal(left, right)))
        }
        _ => compare(left, right) == Some(Ordering::Equal),
    }
}

/// The order of two values: numbers and booleans among each other, texts by code point; everything
/// else, null included, has none.
pub fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    if let (Value::String(left), Value::String(right)) = (left, right) {
        return Some(left.cmp(right));
    }
    match (Exact::of(left)?, Exact::of(right)?) {
        (Exact::Integer(left), Exact::Integer(right)) => Some(left.cmp(&right)),
        (Exact::Float(left), Exact::Float(right)) => left.partial_cmp(&right),
        (Exact::Integer(left), Exact::Float(right)) => compare_mixed(left, right),
        (Exact::Float(left), Exact::Integer(right)) => {
            compare_mixed(right, left).map(Ordering::reverse)
        }
    }
}

/// Whether a value counts as true: not null, false, 0, nor an empty text, list or object.
pub fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
    }
}

/// A number without loss: every 64-bit integer, signed or not, fits the first.
enum Exact {
    Integer(i128),
    Float(f64),
}

impl Exact {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(truth) => Some(Self::Integer(i128::from(*truth))),
            Value::Number(number) => number
                .as_i128()
                .map(Self::Integer)
                .or_else(|| number.as_f64().map(Self::Float)),
            _ => None,
        }
    }
}

/// Going through a double would call 2^53 and 2^53 + 1 equal.
fn compare_mixed(integer: i128, float: f64) -> Option<Ordering> {
    const BEYOND_64_BITS: f64 = 36_893_488_147_419_103_232.0; // 2^65
    if float.is_nan() {
        return None;
    }
    if float.abs() >= BEYOND_64_BITS {
        return Some(if float > 0.0 {
            Ordering::Less
        } else {
            Ordering::Greater
        });
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "below 2^65, without fraction"
    )]
    let whole = float.trunc() as i128;
    Some(integer.cmp(&whole).then_with(|| {
        0.0_f64
            .partial_cmp(&float.fract())
            .unwrap_or(Ordering::Equal)
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
    fn check(left: Value, right: Value, expected: Option<Ordering>) {
        assert_eq!(compare(&left, &right), expected, "{left} against {right}");
        assert_eq!(
            compare(&right, &left),
            expected.map(Ordering::reverse),
            "{right} against {left}"
        );
        assert_eq!(
            equal(&left, &right),
            expected == Some(Ordering::Equal),
            "{left} == {right}"
        );
    }

    #[test]
    fn numbers_compare_exactly_across_kinds() {
        use Ordering::{Equal, Greater, Less};
        check(json!(8), json!(8.0), Some(Equal));
        check(json!(true), json!(1), Some(Equal));
        check(json!(false), json!(0.5), Some(Less));
        check(
            json!(9_007_199_254_740_993_i64),
            json!(9_007_199_254_740_992.0),
            Some(Greater),
        );
        check(
            json!(u64::MAX),
            json!(18_446_744_073_709_551_616.0),
            Some(Less),
        );
        check(json!(i64::MIN), json!(u64::MAX), Some(Less));
        check(json!(-2), json!(-1.5), Some(Less));
        check(json!(-1), json!(-1.5), Some(Greater));
        check(json!(1), json!(1e300), Some(Less));
    }

    #[test]
    fn texts_compare_by_code_point() {
        check(json!("Z"), json!("a"), Some(Ordering::Less));
        check(json!("é"), json!("z"), Some(Ordering::Greater));
    }

    #[test]
    fn unlike_kinds_have_no_order() {
        check(json!("5"), json!(5), None);
        check(json!(null), json!(0), None);
        check(json!([1]), json!({}), None);
    }

    #[test]
    fn collections_are_equal_part_by_part() {
        assert!(equal(&json!([1, {"a": true}]), &json!([1.0, {"a": 1}])));
        assert!(equal(&json!({"a": 1, "b": 2}), &json!({"b": 2, "a": 1})));
        assert!(!equal(&json!([1, 2]), &json!([2, 1])));
        assert!(!equal(&json!([null]), &json!([0])));
        assert!(equal(&json!(null), &json!(null)));
    }

    #[test]
    fn empty_and_zero_are_false() {
        for value in [
            json!(null),
            json!(false),
            json!(0),
            json!(-0.0),
            json!(""),
            json!([]),
            json!({}),
        ] {
            assert!(!is_truthy(&value), "{value}");
        }
        for value in [
            json!(true),
            json!(-1),
            json!(0.1),
            json!(" "),
            json!([null]),
            json!({"": null}),
        ] {
            assert!(is_truthy(&value), "{value}");
        }
    }
}
