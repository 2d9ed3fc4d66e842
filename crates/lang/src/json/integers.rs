//! The integers beyond 64 bits in a text that is known to be JSON. Rarely needed, so the text is
//! read a second time rather than the first reading slowed; and nothing is kept of each, since
//! there may be as many as the text has room for.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::fault::{ENOUGH, PathSegment, shortened};

/// The integers of a JSON text that fit neither `i64` nor `u64`.
#[derive(Clone, PartialEq)]
pub struct LargeIntegers {
    text: Arc<str>,
    /// Only those below this key.
    below: Option<&'static str>,
}

impl LargeIntegers {
    /// `None` where every integer fits.
    pub(super) fn of(text: &str) -> Option<Self> {
        let mut any = false;
        each(text, &mut |_, _| {
            any = true;
            ControlFlow::Break(())
        });
        any.then(|| Self {
            text: text.into(),
            below: None,
        })
    }

    /// Those below a key of the outermost object; paths begin there.
    #[must_use]
    pub fn below(self, key: &'static str) -> Self {
        Self {
            below: Some(key),
            ..self
        }
    }

    /// Shows each, in the order of the text: its path, and its value rounded to a double.
    pub fn each(&self, mut visit: impl FnMut(&[PathSegment], f64) -> ControlFlow<()>) {
        each(
            &self.text,
            &mut |path, rounded| match (self.below, path.split_first()) {
                (None, _) => visit(path, rounded),
                (Some(below), Some((PathSegment::Key(key), path))) if key == below => {
                    visit(path, rounded)
                }
                (Some(_), _) => ControlFlow::Continue(()),
            },
        );
    }

    /// The first 1,000.
    pub fn first(&self) -> Vec<(Vec<PathSegment>, f64)> {
        let mut first = Vec::new();
        self.each(|path, rounded| {
            first.push((path.iter().map(shortened).collect(), rounded));
            if first.len() < ENOUGH {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        first
    }
}

/// Without the text, which may be secret.
impl fmt::Debug for LargeIntegers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LargeIntegers").finish_non_exhaustive()
    }
}

fn each(text: &str, visit: &mut dyn FnMut(&[PathSegment], f64) -> ControlFlow<()>) {
    let mut path: Vec<PathSegment> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let mut length = 1;
        match first {
            b'[' => path.push(PathSegment::Index(0)),
            b'{' => path.push(PathSegment::Key(String::new())),
            b']' | b'}' => {
                path.pop();
            }
            b',' => {
                if let Some(PathSegment::Index(index)) = path.last_mut() {
                    *index += 1;
                }
            }
            b'"' => {
                length = string_length(rest);
                let is_key = rest[length..].trim_start().starts_with(':');
                if let (true, Some(PathSegment::Key(key))) = (is_key, path.last_mut()) {
                    *key = serde_json::from_str(&rest[..length]).unwrap_or_default();
                }
            }
            b'-' | b'0'..=b'9' => {
                let in_number = |letter: char| letter.is_ascii_digit() || "+-.eE".contains(letter);
                length = rest.find(|letter| !in_number(letter)).unwrap_or(rest.len());
                if let Some(rounded) = rounded(&rest[..length])
                    && visit(&path, rounded).is_break()
                {
                    return;
                }
            }
            _ => length = rest.chars().next().map_or(1, char::len_utf8),
        }
        #[cfg(test)]
        testing::work::count(length);
        rest = &rest[length..];
    }
}

/// The double nearest to an integer beyond 64 bits; `None` for any other number.
fn rounded(number: &str) -> Option<f64> {
    let is_integer = number
        .bytes()
        .all(|byte| byte == b'-' || byte.is_ascii_digit());
    let fits = number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    if is_integer && !fits {
        number.parse().ok()
    } else {
        None
    }
}

/// Bytes of the string at the start of the text, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}
