//! Finding the integers beyond 64 bits in a text that is known to be JSON. Rarely needed, so it reads
//! the text a second time rather than slowing the first.

use crate::fault::PathSegment;

/// Every integer that fits neither `i64` nor `u64`, with its path and its value as a double, in the
/// order of the text.
pub(super) fn too_large(text: &str) -> Vec<(Vec<PathSegment>, f64)> {
    let mut found = Vec::new();
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
                if let Some(rounded) = rounded(&rest[..length]) {
                    found.push((path.clone(), rounded));
                }
            }
            _ => length = rest.chars().next().map_or(1, char::len_utf8),
        }
        rest = &rest[length..];
    }
    found
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
