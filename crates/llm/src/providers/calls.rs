//! The calls of a reply as they arrive: in one piece, or in pieces that may lack what tells them
//! apart.

use serde_json::Value;

use super::streamed_text::StreamedText;
use crate::chat::{Arguments, OpaquePart, ToolCall};

/// What the ids begin with that stand in for missing ones.
pub(crate) const MADE_UP_ID: &str = "call_";

/// Most calls of a reply; what comes beyond is left out.
const MAX_CALLS: usize = 256;

/// The calls that have been received.
#[derive(Debug, Default)]
pub(crate) struct PartialCalls {
    calls: Vec<PartialCall>,
    /// The values belong to the turn, or to the call with this position.
    opaque: Vec<(Option<usize>, Value)>,
}

#[derive(Debug, Default)]
struct PartialCall {
    index: Option<u64>,
    id: String,
    name: StreamedText,
    arguments: StreamedText,
    nesting: Nesting,
    /// Arguments that came as an object.
    object: Option<Value>,
}

/// A piece of a call, as far as it came with each field.
#[derive(Debug, Default)]
pub(crate) struct CallPiece<'a> {
    pub(crate) index: Option<u64>,
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) arguments: &'a str,
    /// Precedes halves of surrogate pairs.
    pub(crate) marker: Option<char>,
}

impl PartialCalls {
    /// Adds a piece to the call that it belongs to, or begins a call.
    pub(crate) fn add(&mut self, piece: &CallPiece<'_>) {
        let at = match self.position(piece) {
            Some(at) => at,
            None if self.calls.len() < MAX_CALLS => {
                self.calls.push(PartialCall {
                    index: piece.index,
                    ..PartialCall::default()
                });
                self.calls.len() - 1
            }
            None => return,
        };
        self.add_to(at, piece);
    }

    fn add_to(&mut self, at: usize, piece: &CallPiece<'_>) {
        let call = &mut self.calls[at];
        if call.id.is_empty() {
            piece.id.clone_into(&mut call.id);
        }
        // Some servers say the whole name in every piece.
        if !call.name.is(piece.name) {
            call.name.push(piece.name, piece.marker, &mut |_| {});
        }
        call.nesting.read(piece.arguments);
        call.arguments
            .push(piece.arguments, piece.marker, &mut |_| {});
    }

    /// Begins a call, whatever came before.
    pub(crate) fn begin(&mut self, piece: &CallPiece<'_>) {
        if self.calls.len() < MAX_CALLS {
            self.calls.push(PartialCall {
                index: piece.index,
                ..PartialCall::default()
            });
            let at = self.calls.len() - 1;
            self.add_to(at, piece);
        }
    }

    /// Adds a call that came in one piece.
    pub(crate) fn add_whole(&mut self, id: &str, name: &str, arguments: Value) {
        if self.calls.len() < MAX_CALLS {
            let mut call = PartialCall {
                id: id.to_owned(),
                ..PartialCall::default()
            };
            call.name.push(name, None, &mut |_| {});
            match arguments {
                Value::String(text) => call.arguments.push(&text, None, &mut |_| {}),
                Value::Null => {}
                other => call.object = Some(other),
            }
            self.calls.push(call);
        }
    }

    /// Keeps a value for the turn, or for the latest call.
    pub(crate) fn keep(&mut self, value: Value, is_of_call: bool) {
        let call = self.calls.len().checked_sub(1).filter(|_| is_of_call);
        if self.opaque.len() < MAX_CALLS {
            self.opaque.push((call, value));
        }
    }

    /// The latest value that is kept for the turn.
    pub(crate) fn latest_kept(&mut self) -> Option<&mut Value> {
        let mut kept = self.opaque.iter_mut().rev();
        kept.find(|(call, _)| call.is_none())
            .map(|(_, value)| value)
    }

    /// The call of a piece; `None` if it begins one.
    ///
    /// Ids are believed first. An index tells calls apart that arrive interleaved, but some servers
    /// give every call the same: then a name behind complete arguments begins the next call.
    fn position(&self, piece: &CallPiece<'_>) -> Option<usize> {
        let is_of_index = |call: &PartialCall| piece.index.is_none() || call.index == piece.index;
        if !piece.id.is_empty()
            && let Some(at) = self
                .calls
                .iter()
                .position(|call| call.id == piece.id && is_of_index(call))
        {
            return Some(at);
        }
        let at = self.calls.iter().rposition(is_of_index)?;
        let call = &self.calls[at];
        let begins = if piece.name.is_empty() {
            // A call has a name; an id alone may be another in every piece.
            false
        } else if !piece.id.is_empty() && !call.id.is_empty() {
            true
        } else {
            call.nesting.is_complete() && !call.name.is_empty()
        };
        (!begins).then_some(at)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Bytes of its texts.
    pub(crate) fn text_bytes(&self) -> usize {
        let calls = self.calls.iter();
        calls
            .map(|call| call.arguments.len() + call.name.len())
            .sum()
    }

    /// The calls, each with an id of its own, and what is kept for `provider`. `earlier` calls of
    /// the conversation have ids already.
    pub(crate) fn finish(self, provider: &str, earlier: usize) -> (Vec<ToolCall>, Vec<OpaquePart>) {
        let mut calls: Vec<ToolCall> = Vec::with_capacity(self.calls.len());
        for call in self.calls {
            let mut id = call.id;
            let mut number = earlier + calls.len();
            while id.is_empty() || calls.iter().any(|other| other.id == id) {
                number += 1;
                id = format!("{MADE_UP_ID}{number}");
            }
            calls.push(ToolCall {
                id,
                name: call.name.into_text(),
                arguments: match call.object {
                    Some(value) => Arguments::read(&value.to_string()),
                    None => Arguments::read(&call.arguments.into_text()),
                },
            });
        }
        let opaque = self.opaque.into_iter().filter_map(|(call, value)| {
            let of_call = call.map(|at| calls[at].id.clone());
            OpaquePart::new(provider, of_call, value)
        });
        let opaque = opaque.collect();
        (calls, opaque)
    }
}

/// How deep the end of a JSON text is nested, read piece by piece.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
    has_begun: bool,
}

impl Nesting {
    fn read(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_in_string => self.is_escaped = true,
                b'"' => self.is_in_string = !self.is_in_string,
                _ if self.is_in_string => {}
                b'{' | b'[' => {
                    self.has_begun = true;
                    self.depth += 1;
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.has_begun && self.depth == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Piece<'a> = (Option<u64>, &'a str, &'a str, &'a str);

    #[track_caller]
    fn check(pieces: &[Piece<'_>], expected: &[(&str, &str, &str)]) {
        let mut calls = PartialCalls::default();
        for &(index, id, name, arguments) in pieces {
            calls.add(&CallPiece {
                index,
                id,
                name,
                arguments,
                marker: None,
            });
        }
        let (calls, _) = calls.finish("openai", 2);
        let read: Vec<_> = calls
            .iter()
            .map(|call| (&*call.id, &*call.name, call.arguments.text()))
            .collect();
        let read: Vec<_> = read
            .iter()
            .map(|(id, name, text)| (*id, *name, &**text))
            .collect();
        assert_eq!(read, expected);
    }

    /// T18
    #[test]
    fn interleaved_pieces_are_told_apart_by_their_index() {
        check(
            &[
                (Some(0), "a", "get", ""),
                (Some(1), "b", "put", ""),
                (Some(0), "", "", r#"{"x":"#),
                (Some(1), "", "", r#"{"y":"#),
                (Some(0), "", "", "1}"),
                (Some(1), "", "", "2}"),
            ],
            &[("a", "get", r#"{"x":1}"#), ("b", "put", r#"{"y":2}"#)],
        );
    }

    /// T16: an index or an id may be missing, or both.
    #[test]
    fn pieces_without_id_or_index_find_their_call() {
        check(
            &[
                (None, "", "get", r#"{"x":"#),
                (None, "", "", "1}"),
                (None, "", "get", r#"{"x":2}"#),
            ],
            &[
                ("call_3", "get", r#"{"x":1}"#),
                ("call_4", "get", r#"{"x":2}"#),
            ],
        );
        check(
            &[
                (None, "a", "get", ""),
                (None, "b", "get", ""),
                (None, "a", "", r#"{"x":1}"#),
                (None, "b", "", r#"{"x":2}"#),
            ],
            &[("a", "get", r#"{"x":1}"#), ("b", "get", r#"{"x":2}"#)],
        );
    }

    /// T17
    #[test]
    fn calls_that_all_have_the_same_index_stay_several() {
        check(
            &[
                (Some(0), "a", "get", r#"{"x":1}"#),
                (Some(0), "b", "get", r#"{"x":2}"#),
                (Some(0), "", "put", "{}"),
                (Some(0), "", "put", "{}"),
            ],
            &[
                ("a", "get", r#"{"x":1}"#),
                ("b", "get", r#"{"x":2}"#),
                ("call_5", "put", "{}"),
                ("call_6", "put", "{}"),
            ],
        );
    }

    #[test]
    fn a_name_may_come_in_pieces_or_in_every_piece() {
        check(
            &[
                (Some(0), "a", "get_", ""),
                (Some(0), "", "weather", ""),
                (Some(0), "", "", r#"{"x":"{\"}"}"#),
            ],
            &[("a", "get_weather", r#"{"x":"{\"}"}"#)],
        );
        check(
            &[
                (Some(0), "a", "get", r#"{"x""#),
                (Some(0), "a", "get", ":1}"),
            ],
            &[("a", "get", r#"{"x":1}"#)],
        );
        check(
            &[
                (Some(0), "a", "get", r#"{"x""#),
                (Some(0), "other", "", ":1}"),
            ],
            &[("a", "get", r#"{"x":1}"#)],
        );
    }

    #[test]
    fn ids_are_unique_in_a_reply() {
        let mut calls = PartialCalls::default();
        calls.add_whole("a", "get", Value::Null);
        calls.keep(Value::Bool(true), true);
        calls.add_whole("a", "get", Value::String("{".to_owned()));
        calls.keep(Value::Bool(false), false);
        let (calls, opaque) = calls.finish("google", 0);
        let read: Vec<_> = calls
            .iter()
            .map(|call| (&*call.id, call.arguments.object().is_some()))
            .collect();
        assert_eq!(read, [("a", true), ("call_2", false)]);
        let owners: Vec<_> = opaque.iter().map(|part| part.of_call.as_deref()).collect();
        assert_eq!(owners, [Some("a"), None]);
    }

    #[test]
    fn more_calls_than_any_model_makes_are_left_out() {
        let mut calls = PartialCalls::default();
        for _ in 0..=MAX_CALLS {
            calls.add_whole("", "get", Value::Null);
        }
        assert_eq!(calls.finish("ollama", 0).0.len(), MAX_CALLS);
    }
}
