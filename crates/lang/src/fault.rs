//! What can be wrong with a value that must fit a type. Faults are pydantic-shaped, because clients
//! of the Python original match on their `type`. Owns their kinds and fixed wording; where a value
//! breaks a rule is found in [`crate::types`].

use std::fmt;

use crate::value::{Map, Value};

/// One step from a value to a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(untagged)]
pub enum PathSegment {
    /// A key of an object or dict.
    Key(String),
    /// An index into a list.
    Index(usize),
}

/// One fault of a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// From the outermost value (for inputs: the field's name first).
    pub path: Vec<PathSegment>,
    /// The rule that the value breaks.
    pub kind: FaultKind,
    /// A sentence in pydantic's wording, such as `Input should be a valid string`.
    pub message: String,
    /// The offending value (for `missing`: the object that lacks the key).
    pub input: Value,
    /// The rule's parameters, such as `{"ge": 1}`.
    pub context: Option<Value>,
}

impl Fault {
    /// The path as people write it: `user.tags.0`; empty for the value as a whole.
    pub fn dotted_path(&self) -> String {
        let segments: Vec<String> = self.path.iter().map(ToString::to_string).collect();
        segments.join(".")
    }

    /// A fault in the wording that goes with its kind.
    pub(crate) fn new(kind: FaultKind, path: Path<'_>, input: &Value) -> Self {
        Self::worded(kind, path, input, kind.fixed_message(), None)
    }

    /// A fault whose wording depends on the rule's parameters.
    pub(crate) fn worded(
        kind: FaultKind,
        path: Path<'_>,
        input: &Value,
        message: impl Into<String>,
        context: Option<Value>,
    ) -> Self {
        Self {
            path: path.segments(),
            kind,
            message: message.into(),
            input: echo(input),
            context,
        }
    }
}

/// The number of faults after which no further items are checked: one answer need not hold a
/// million.
pub const ENOUGH: usize = 1_000;

/// The most that a path repeats of a key that is data, in bytes: each of many faults may repeat it.
const KEY_BYTES: usize = 256;

/// A step of a path as a fault names it, with a long key cut.
pub fn shortened(segment: &PathSegment) -> PathSegment {
    match segment {
        PathSegment::Key(key) => PathSegment::Key(cut(key)),
        PathSegment::Index(index) => PathSegment::Index(*index),
    }
}

fn cut(key: &str) -> String {
    if key.len() <= KEY_BYTES {
        return key.to_owned();
    }
    let mut end = KEY_BYTES;
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &key[..end])
}

/// The most that is repeated of a value, in bytes, about as it is written.
const ECHO_BYTES: usize = 64 << 10;

/// A faulty value as it is shown to the caller who sent it. A large value is left out, because many
/// faults may repeat it.
pub fn echo(value: &Value) -> Value {
    if is_within(value, ECHO_BYTES) {
        value.clone()
    } else {
        too_large_to_repeat()
    }
}

/// [`echo`] of an object with these members.
pub(crate) fn echo_object(members: &Map<String, Value>) -> Value {
    if are_within(members, ECHO_BYTES) {
        Value::Object(members.clone())
    } else {
        too_large_to_repeat()
    }
}

/// Whether a value takes no more than so many bytes, about as it is written. Costs no more than
/// those bytes do.
pub fn is_within(value: &Value, bytes: usize) -> bool {
    let mut left = bytes;
    fits(value, &mut left)
}

/// [`is_within`] of an object with these members.
pub fn are_within(members: &Map<String, Value>, bytes: usize) -> bool {
    let mut left = bytes;
    members_fit(members, &mut left)
}

fn too_large_to_repeat() -> Value {
    Value::String("[too large to repeat]".to_owned())
}

fn members_fit(members: &Map<String, Value>, left: &mut usize) -> bool {
    members.iter().all(|(key, value)| {
        let rest = left.checked_sub(key.len() + 3);
        *left = rest.unwrap_or_default();
        rest.is_some() && fits(value, left)
    })
}

fn fits(value: &Value, left: &mut usize) -> bool {
    #[cfg(test)]
    testing::work::count(1);
    let mut take = |bytes: usize| {
        let rest = left.checked_sub(bytes);
        *left = rest.unwrap_or_default();
        rest.is_some()
    };
    match value {
        Value::String(text) => take(text.len() + 2),
        Value::Array(items) => take(2) && items.iter().all(|item| fits(item, left)),
        Value::Object(entries) => take(2) && members_fit(entries, left),
        Value::Null | Value::Bool(_) | Value::Number(_) => take(4),
    }
}

impl fmt::Display for PathSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(key),
            Self::Index(index) => write!(f, "{index}"),
        }
    }
}

/// The rules a value can break; [`FaultKind::as_str`] is the `type` clients see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is documented by its `as_str`")]
pub enum FaultKind {
    Missing,
    StringType,
    IntType,
    IntParsing,
    IntParsingSize,
    IntFromFloat,
    FiniteNumber,
    FloatType,
    FloatParsing,
    BoolType,
    BoolParsing,
    ListType,
    DictType,
    ModelType,
    StringPatternMismatch,
    StringTooShort,
    StringTooLong,
    GreaterThanEqual,
    LessThanEqual,
    Enum,
    Format,
    TooShort,
    TooLong,
    ExtraForbidden,
    AssertionError,
}

impl FaultKind {
    /// The `type` clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::StringType => "string_type",
            Self::IntType => "int_type",
            Self::IntParsing => "int_parsing",
            Self::IntParsingSize => "int_parsing_size",
            Self::IntFromFloat => "int_from_float",
            Self::FiniteNumber => "finite_number",
            Self::FloatType => "float_type",
            Self::FloatParsing => "float_parsing",
            Self::BoolType => "bool_type",
            Self::BoolParsing => "bool_parsing",
            Self::ListType => "list_type",
            Self::DictType => "dict_type",
            Self::ModelType => "model_type",
            Self::StringPatternMismatch => "string_pattern_mismatch",
            Self::StringTooShort => "string_too_short",
            Self::StringTooLong => "string_too_long",
            Self::GreaterThanEqual => "greater_than_equal",
            Self::LessThanEqual => "less_than_equal",
            Self::Enum => "enum",
            Self::Format => "string_format",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::ExtraForbidden => "extra_forbidden",
            Self::AssertionError => "assertion_error",
        }
    }

    /// pydantic's sentence, for the kinds whose sentence has no parameters.
    fn fixed_message(self) -> &'static str {
        match self {
            Self::Missing => "Field required",
            Self::StringType => "Input should be a valid string",
            Self::IntType => "Input should be a valid integer",
            Self::IntParsing => {
                "Input should be a valid integer, unable to parse string as an integer"
            }
            Self::IntParsingSize => {
                "Unable to parse input string as an integer, exceeded maximum size"
            }
            Self::IntFromFloat => {
                "Input should be a valid integer, got a number with a fractional part"
            }
            Self::FiniteNumber => "Input should be a finite number",
            Self::FloatType => "Input should be a valid number",
            Self::FloatParsing => {
                "Input should be a valid number, unable to parse string as a number"
            }
            Self::BoolType => "Input should be a valid boolean",
            Self::BoolParsing => "Input should be a valid boolean, unable to interpret input",
            Self::ListType => "Input should be a valid list",
            Self::DictType => "Input should be a valid dictionary",
            Self::ModelType => {
                "Input should be a valid dictionary or object to extract fields from"
            }
            Self::ExtraForbidden => "Extra inputs are not permitted",
            Self::StringPatternMismatch
            | Self::StringTooShort
            | Self::StringTooLong
            | Self::GreaterThanEqual
            | Self::LessThanEqual
            | Self::Enum
            | Self::Format
            | Self::TooShort
            | Self::TooLong
            | Self::AssertionError => "Input is not valid",
        }
    }
}

/// The path of a value while it is being checked. It lives on the stack, so that a value without
/// faults costs nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    /// A key that is data and not named by the author of the workflow, of any length.
    Data(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn segments(mut self) -> Vec<PathSegment> {
        let mut segments = Vec::new();
        loop {
            let (parent, segment) = match self {
                Path::Root => break,
                Path::Key(parent, key) => (parent, PathSegment::Key(key.to_owned())),
                Path::Data(parent, key) => (parent, PathSegment::Key(cut(key))),
                Path::Index(parent, index) => (parent, PathSegment::Index(index)),
            };
            segments.push(segment);
            self = *parent;
        }
        segments.reverse();
        segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_with_dots_from_the_outside_in() {
        let field = Path::Key(&Path::Root, "user");
        let tags = Path::Key(&field, "tags");
        let fault = Fault::new(FaultKind::StringType, Path::Index(&tags, 2), &Value::Null);
        assert_eq!(fault.dotted_path(), "user.tags.2");
        assert_eq!(
            serde_json::to_string(&fault.path).unwrap(),
            r#"["user","tags",2]"#
        );
        assert_eq!(
            Fault::new(FaultKind::DictType, Path::Root, &Value::Null).dotted_path(),
            ""
        );
    }
}
