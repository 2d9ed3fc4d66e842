//! Finds the objects in what a model wrote: between fences, behind prose and thoughts, one after
//! the other.
//!
//! The search never goes into what it has read. An object that cannot be read is no place to look
//! for an answer, and neither is a thought, be it closed or cut off. Linear in the length of the
//! text.

use serde_json::Value;

use super::mend::{Fault, mend};
use super::unwrap::parse;

/// What opens a thought, and what closes it.
const THOUGHTS: &[(&str, &str)] = &[
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<reflection>", "</reflection>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
    ("[THINK]", "[/THINK]"),
    ("<|channel|>analysis", "<|channel|>final"),
];

/// Characters that a name before a colon may take, to tell `{name: …` from a brace in prose.
const MAX_NAME: usize = 200;

/// Something at the top of a text.
#[derive(Debug)]
pub(super) enum Found {
    /// A value that was read.
    Value {
        value: Value,
        /// Nothing but the end of a sentence or of a fence follows.
        is_last: bool,
    },
    /// What begins as a value and cannot be read.
    Unreadable(Fault),
    /// All that was found before was a thought.
    Thought,
}

/// Gives what is found to `take`, in order.
pub(super) fn scan(text: &str, take: &mut dyn FnMut(Found)) {
    let mut at = 0;
    while let Some(offset) = text[at..].find(['{', '[', '<', '◁']) {
        at += offset;
        let rest = &text[at..];
        if let Some((open, close)) = THOUGHTS.iter().find(|(open, _)| begins(rest, open)) {
            match skip_thought(text, at + open.len(), open, close) {
                Some(end) => at = end,
                None => return,
            }
            continue;
        }
        if let Some((_, close)) = THOUGHTS.iter().find(|(_, close)| is_stray(rest, close)) {
            // The tag that opened it was part of the prompt.
            take(Found::Thought);
            at += close.len();
            continue;
        }
        match rest.as_bytes()[0] {
            b'{' => {}
            b'[' if begins_list(rest) => {}
            _ => {
                at += rest.chars().next().map_or(1, char::len_utf8);
                continue;
            }
        }
        match read(text, at) {
            Read::Value(value, end) => {
                if is_member(&text[..at]) {
                    take(Found::Unreadable(Fault {
                        what: "its beginning is missing",
                        at,
                    }));
                } else {
                    let is_last = ends_there(&text[end..]);
                    take(Found::Value { value, is_last });
                }
                at = end;
            }
            Read::Unreadable(fault, end) => {
                take(Found::Unreadable(fault));
                at = end;
            }
            Read::Prose(end) => at = end,
            Read::Lost(fault) => {
                take(Found::Unreadable(fault));
                // A thought may hold anything; what was lost in it is found again behind it.
                let Some(end) = last_close(rest) else {
                    return;
                };
                take(Found::Thought);
                at += end;
            }
        }
    }
}

enum Read {
    Value(Value, usize),
    /// Up to a known end.
    Unreadable(Fault, usize),
    /// No value begins here; where to go on.
    Prose(usize),
    /// The end is not known.
    Lost(Fault),
}

/// Reads what begins with the bracket at an offset.
fn read(text: &str, start: usize) -> Read {
    let rest = &text[start..];
    if rest.starts_with('{') && !begins_object(rest) {
        return Read::Prose(start + 1);
    }
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    if let Some(Ok(value)) = values.next() {
        let end = values.byte_offset();
        // Only this value's own text, so that the whole stays linear.
        return Read::Value(parse(&rest[..end]).unwrap_or(value), start + end);
    }
    match mend(text, start, None) {
        Ok(mended) => match mended.fault {
            None => match parse(&mended.json) {
                Ok(value) => Read::Value(value, mended.end),
                Err(_) => Read::Unreadable(
                    Fault {
                        what: "it cannot be read",
                        at: start,
                    },
                    mended.end,
                ),
            },
            Some(fault) => Read::Unreadable(fault, mended.end),
        },
        Err(lost) if rest.starts_with('[') && !lost.has_parts => Read::Prose(start + 1),
        Err(lost) => Read::Lost(lost.fault),
    }
}

/// Whether a brace begins an object rather than stands in prose, code or a formula: `{see below}`.
fn begins_object(rest: &str) -> bool {
    let inside = rest[1..].trim_start();
    let is_name = |c: char| c.is_alphanumeric() || " _-$.'’\t\r\n".contains(c);
    match inside.chars().next() {
        // Doubled, as in templates: the second one is looked at on its own.
        Some('{' | '%') | None => false,
        Some(first) if is_name(first) && first != '\'' && first != '’' => {
            let after = inside.chars().take(MAX_NAME).find(|&c| !is_name(c));
            matches!(after, Some(':' | '"' | '“'))
        }
        Some(_) => true,
    }
}

/// Whether a bracket may begin a list of values rather than `[a remark]`.
fn begins_list(rest: &str) -> bool {
    let first = rest[1..].trim_start().chars().next();
    first.is_some_and(|c| "{[\"'-0123456789".contains(c))
}

/// Whether what follows this text is a value of an object whose beginning is not there.
fn is_member(before: &str) -> bool {
    let key = before.trim_end().strip_suffix(':');
    key.is_some_and(|key| key.trim_end().ends_with('"'))
}

/// Whether no more prose follows.
fn ends_there(rest: &str) -> bool {
    rest.len() < 64
        && rest
            .chars()
            .all(|c| c.is_whitespace() || matches!(c, '`' | '.' | '}' | '"' | '\''))
}

/// Whether a text begins with a tag, in whatever case.
fn begins(rest: &str, tag: &str) -> bool {
    rest.as_bytes()
        .get(..tag.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()))
}

/// Whether a text begins with a tag that closes a thought, where none is open.
fn is_stray(rest: &str, close: &str) -> bool {
    close.contains('/') && begins(rest, close)
}

/// Where the text goes on behind a thought; `None` where it was never closed.
fn skip_thought(text: &str, mut at: usize, open: &str, close: &str) -> Option<usize> {
    let first = close.chars().next()?;
    let mut depth = 1_usize;
    loop {
        let offset = text[at..].find(|c: char| c == first || open.starts_with(c))?;
        at += offset;
        let rest = &text[at..];
        if begins(rest, close) {
            at += close.len();
            depth -= 1;
            if depth == 0 {
                return Some(at);
            }
        } else if begins(rest, open) {
            at += open.len();
            depth += 1;
        } else {
            at += rest.chars().next()?.len_utf8();
        }
    }
}

/// Where the text goes on behind the last tag that closes a thought.
fn last_close(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    let ends = THOUGHTS
        .iter()
        .map(|(_, close)| close.to_ascii_lowercase())
        .filter(|close| close.contains('/'))
        .filter_map(|close| Some(lower.rfind(&close)? + close.len()));
    ends.max()
}
