//! JSON text to a [`Value`](crate::value::Value), with what `serde_json` alone does not do: a depth
//! limit of our own (bounded memory and stack), and integers beyond 64 bits refused with their
//! place rather than rounded. Used for request bodies, input files, and model answers.

use crate::fault::PathSegment;
use crate::value::Value;

/// Deepest nesting accepted.
pub const MAX_DEPTH: usize = 512;

/// Why a text is not a usable JSON value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Not JSON.
    #[error("{message} at character {offset}")]
    Syntax {
        /// Character offset where reading stopped.
        offset: usize,
        /// What was wrong, in a few words.
        message: String,
    },
    /// JSON, but deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels at character {offset}")]
    TooDeep {
        /// Character offset of the bracket that is too deep.
        offset: usize,
    },
    /// JSON whose integers do not all fit 64 bits.
    #[error("an integer does not fit 64 bits")]
    IntegersTooLarge {
        /// Each such integer: where it stands, and its value rounded to a double (for echoing).
        integers: Vec<(Vec<PathSegment>, f64)>,
        /// The whole value, those integers rounded to doubles.
        value: Box<Value>,
    },
}

/// Reads one JSON value; a leading byte order mark is skipped.
pub fn read(_text: &str) -> Result<Value, Error> {
    todo!("helper `values`")
}
