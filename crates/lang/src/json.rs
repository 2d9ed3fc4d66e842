//! JSON text to a [`Value`], with what `serde_json` alone does not do: a depth limit of our own
//! (bounded memory and stack), and integers beyond 64 bits refused with their path rather than
//! rounded. Used for request bodies, input files, and model answers.

mod integers;

use serde::de::Deserialize as _;

use crate::value::Value;

pub use integers::LargeIntegers;

/// Deepest nesting accepted.
pub const MAX_DEPTH: usize = 512;

/// How much a text may hold, beside its depth: a short text can make a large value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Texts, numbers, lists, objects and the like, keys not counted.
    pub values: usize,
    /// Bytes of one text or key, as it is written.
    pub text_bytes: usize,
}

impl Bounds {
    /// No bounds.
    pub const NONE: Self = Self {
        values: usize::MAX,
        text_bytes: usize::MAX,
    };
}

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
    /// More values than [`Bounds::values`].
    #[error("more than {most} values at character {offset}")]
    TooMany {
        /// Character offset where the first one too many begins.
        offset: usize,
        /// How many there may be.
        most: usize,
    },
    /// A text longer than [`Bounds::text_bytes`].
    #[error("a text of more than {most} bytes at character {offset}")]
    TextTooLong {
        /// Character offset of its opening quote.
        offset: usize,
        /// How long one may be.
        most: usize,
    },
    /// JSON whose integers do not all fit 64 bits.
    #[error("an integer does not fit 64 bits")]
    IntegersTooLarge {
        /// The integers that do not fit.
        integers: LargeIntegers,
        /// The whole value, those integers rounded to doubles.
        value: Box<Value>,
    },
}

/// Reads one JSON value; a leading byte order mark is skipped. A key given twice has its last
/// value. NaN, infinities and numbers beyond doubles are syntax errors.
pub fn read(text: &str) -> Result<Value, Error> {
    read_within(text, Bounds::NONE)
}

/// The same for a text that may be hostile.
pub fn read_within(text: &str, bounds: Bounds) -> Result<Value, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let scan = scan(text, bounds)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // The scan has bounded the depth.
    deserializer.disable_recursion_limit();
    let read =
        Value::deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    let value = read.map_err(|error| syntax_error(text, &error))?;
    if scan.may_hold_large_integers
        && let Some(integers) = LargeIntegers::of(text)
    {
        return Err(Error::IntegersTooLarge {
            integers,
            value: Box::new(value),
        });
    }
    Ok(value)
}

/// What one quick pass over the bytes tells.
struct Scan {
    may_hold_large_integers: bool,
}

/// Fewest digits of an integer that may not fit 64 bits.
const LARGE_DIGITS: usize = 19;

fn scan(text: &str, bounds: Bounds) -> Result<Scan, Error> {
    let characters = |at: usize| text[..at].chars().count();
    let mut depth = 0_usize;
    // The outermost one; each comma and each bracket stands for one more, an empty pair of brackets
    // for one too many.
    let mut values = 1_usize;
    let mut text_began = 0;
    let mut digits = 0_usize;
    let mut most_digits = 0;
    let mut in_string = false;
    let mut escaped = false;
    #[cfg(test)]
    testing::work::count(text.len());
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            if !in_string && at - text_began > bounds.text_bytes.saturating_add(1) {
                return Err(Error::TextTooLong {
                    offset: characters(text_began),
                    most: bounds.text_bytes,
                });
            }
            continue;
        }
        if byte.is_ascii_digit() {
            digits += 1;
            most_digits = most_digits.max(digits);
            continue;
        }
        digits = 0;
        match byte {
            b'"' => {
                in_string = true;
                text_began = at;
            }
            b',' => values += 1,
            b'[' | b'{' => {
                depth += 1;
                values += 1;
                if depth > MAX_DEPTH {
                    return Err(Error::TooDeep {
                        offset: characters(at),
                    });
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if values > bounds.values {
            return Err(Error::TooMany {
                offset: characters(at),
                most: bounds.values,
            });
        }
    }
    Ok(Scan {
        may_hold_large_integers: most_digits >= LARGE_DIGITS,
    })
}

/// `serde_json` names a line and a column in bytes, from 1, of the byte it had just read.
fn syntax_error(text: &str, error: &serde_json::Error) -> Error {
    let line_start = match error.line() {
        0 | 1 => 0,
        line => text
            .match_indices('\n')
            .nth(line - 2)
            .map_or(0, |(at, _)| at + 1),
    };
    let mut byte = (line_start + error.column()).min(text.len());
    if !error.is_eof() {
        byte = byte.saturating_sub(1);
    }
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    // An escape is wrong from its backslash on.
    byte -= usize::from(text[..byte].ends_with('\\'));
    let offset = if error.is_eof() {
        text.chars().count()
    } else {
        text[..byte].chars().count()
    };
    let message = if let Some(word) = no_number(&text[byte..]) {
        format!("{word} is not JSON; write null or a number, or leave it out")
    } else {
        let message = error.to_string();
        let message = message.split(" at line ").next();
        message.unwrap_or_default().to_owned()
    };
    Error::Syntax { offset, message }
}

/// What Python and JavaScript write for numbers that JSON does not have.
fn no_number(rest: &str) -> Option<&'static str> {
    let rest = rest.strip_prefix('-').unwrap_or(rest);
    ["NaN", "Infinity"].into_iter().find(|word| {
        let after = rest.strip_prefix(word).map(|after| after.chars().next());
        after.is_some_and(|next| !next.is_some_and(char::is_alphanumeric))
    })
}

#[cfg(test)]
mod tests;
