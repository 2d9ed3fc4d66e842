//! What can be wrong with a value that must fit a type. Faults are pydantic-shaped, because clients of
//! the Python original match on their `type`.

use crate::value::Value;

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
    /// Which rule.
    pub kind: FaultKind,
    /// A sentence in pydantic's wording, such as `Input should be a valid string`.
    pub message: String,
    /// The offending value (for `missing`: the object that lacks the key).
    pub input: Value,
    /// The rule's parameters, such as `{"ge": 1}`.
    pub context: Option<Value>,
}

/// The rules a value can break; [`FaultKind::as_str`] is the `type` clients see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is documented by its `as_str`")]
pub enum FaultKind {
    Missing, StringType, IntType, IntParsing, IntParsingSize, IntFromFloat, FiniteNumber, FloatType,
    FloatParsing, BoolType, BoolParsing, ListType, DictType, ModelType, StringPatternMismatch,
    StringTooShort, StringTooLong, GreaterThanEqual, LessThanEqual, Enum, Format, TooShort, TooLong,
    ExtraForbidden, AssertionError,
}
