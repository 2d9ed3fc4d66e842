//! Converting texts, numbers and booleans into each other by the lax rules of pydantic.

use crate::fault::FaultKind::{
    self, BoolParsing, BoolType, FiniteNumber, FloatParsing, FloatType, IntFromFloat, IntParsing,
    IntParsingSize, IntType, StringType,
};
use crate::value::Value;

/// The first double that does not fit a 64-bit signed integer: 2^63.
const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;

/// Only text is accepted; numbers are never converted to text.
pub(super) fn to_str(value: &Value) -> Result<Value, FaultKind> {
    match value {
        Value::String(_) => Ok(value.clone()),
        _ => Err(StringType),
    }
}

pub(super) fn to_int(value: &Value) -> Result<Value, FaultKind> {
    match value {
        Value::Number(number) if !number.is_f64() => Ok(value.clone()),
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() != 0.0 => Err(IntFromFloat),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "without fraction and below 2^63"
            )]
            Some(float) if float.abs() < TOO_LARGE => Ok(Value::from(float as i64)),
            Some(_) => Err(IntParsingSize),
            None => Err(FiniteNumber),
        },
        Value::Bool(truth) => Ok(Value::from(i64::from(*truth))),
        Value::String(text) => int_from_text(text),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(IntType),
    }
}

pub(super) fn to_float(value: &Value) -> Result<Value, FaultKind> {
    match value {
        Value::Number(number) => number.as_f64().map_or(Err(FloatType), finite),
        Value::Bool(truth) => finite(f64::from(u8::from(*truth))),
        Value::String(text) => float_from_text(text),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(FloatType),
    }
}

pub(super) fn to_bool(value: &Value) -> Result<Value, FaultKind> {
    match value {
        Value::Bool(_) => Ok(value.clone()),
        // A float is read as an integer first, so only floats with a fraction have the wrong type.
        Value::Number(_) => match to_int(value).map_err(|_| BoolType)?.as_i64() {
            Some(0) => Ok(Value::Bool(false)),
            Some(1) => Ok(Value::Bool(true)),
            Some(_) => Err(BoolParsing),
            None => Err(BoolType),
        },
        Value::String(text) => bool_from_text(text).map(Value::Bool).ok_or(BoolParsing),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(BoolType),
    }
}

/// Optional surrounding whitespace, optional sign, digits with single `_` between them, optionally
/// `.` and zeros.
fn int_from_text(text: &str) -> Result<Value, FaultKind> {
    let text = text.trim();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = match unsigned.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => {
            whole
        }
        Some(_) => return Err(IntParsing),
        None => unsigned,
    };
    let all_digits =
        |group: &str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
    if !digits.split('_').all(all_digits) {
        return Err(IntParsing);
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    let plain = format!("{sign}{}", digits.replace('_', ""));
    let signed = plain.parse::<i64>().map(Value::from);
    signed
        .or_else(|_| plain.parse::<u64>().map(Value::from))
        .map_err(|_| IntParsingSize)
}

/// Surrounding whitespace, sign, `.5`, `5.`, exponent, single `_` between characters.
fn float_from_text(text: &str) -> Result<Value, FaultKind> {
    let trimmed = text.trim();
    let misplaced = trimmed.starts_with('_') || trimmed.ends_with('_') || trimmed.contains("__");
    if misplaced {
        return Err(FloatParsing);
    }
    // Rust's own grammar is the same but for the underscores.
    let float: f64 = trimmed.replace('_', "").parse().map_err(|_| FloatParsing)?;
    finite(float)
}

/// Infinity and NaN are refused because no JSON answer could carry them.
fn finite(float: f64) -> Result<Value, FaultKind> {
    serde_json::Number::from_f64(float)
        .map(Value::Number)
        .ok_or(FiniteNumber)
}

fn bool_from_text(text: &str) -> Option<bool> {
    const FALSE: [&str; 6] = ["0", "off", "f", "false", "n", "no"];
    const TRUE: [&str; 6] = ["1", "on", "t", "true", "y", "yes"];
    let is = |word: &&str| text.eq_ignore_ascii_case(word);
    if TRUE.iter().any(is) {
        Some(true)
    } else {
        FALSE.iter().any(is).then_some(false)
    }
}
