//! The parts of an answer that have been received, in any dialect.

use serde_json::json;

use super::calls::PartialCalls;
use super::fault::Fault;
use crate::answer::{Answer, Body, FallbackText};
use crate::chat::FinishReason;
use crate::tokens::Reported;

/// Passes a piece of the answer's text on.
pub(crate) type Emit<'a> = &'a mut (dyn FnMut(&str) + Send);

/// The tools that a reply may call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    /// Whose opaque parts the reply has.
    pub(crate) provider: &'static str,
    /// Calls earlier in the conversation, whose ids are taken.
    pub(crate) earlier_calls: usize,
}

/// An answer that is being received.
#[derive(Debug, Default)]
pub(crate) struct PartialAnswer {
    /// `None` if no tools were offered: then a call is that of the forced tool.
    pub(crate) offer: Option<Offer>,
    /// Calls of the offered tools.
    pub(crate) calls: PartialCalls,
    pub(crate) text: StreamedText,
    /// Arguments of the forced tool call.
    pub(crate) arguments: StreamedText,
    pub(crate) reasoning: StreamedText,
    /// The key under which the reasoning goes back with calls, if it does.
    pub(crate) returned_reasoning: Option<&'static str>,
    pub(crate) refusal: StreamedText,
    /// Arguments of the forced tool call, already parsed.
    pub(crate) input: Option<serde_json::Value>,
    pub(crate) finish: Option<FinishReason>,
    /// The provider's name of a finish reason that we have no variant for.
    pub(crate) reason: Option<String>,
    pub(crate) usage: Reported,
    pub(crate) model: Option<String>,
    /// A complete message came, although without a finish reason.
    pub(crate) is_whole: bool,
    /// A document followed the provider's protocol but contained no answer.
    pub(crate) is_of_protocol: bool,
}

/// A text that arrives in pieces, which may split a surrogate pair.
#[derive(Debug, Default)]
pub(crate) struct StreamedText {
    text: String,
    /// The first half of a pair whose second half has not arrived.
    half: Option<u16>,
}

impl StreamedText {
    /// Adds a piece, in which `marker` precedes halves of pairs, and emits what can be shown of it.
    pub(crate) fn push(&mut self, piece: &str, marker: Option<char>, emit: Emit<'_>) {
        let marker = marker.filter(|marker| piece.contains(*marker));
        if piece.is_empty() || (marker.is_none() && self.half.is_none()) {
            emit(piece);
            self.text.push_str(piece);
            return;
        }
        let joined = self.joined(piece, marker);
        emit(&joined);
        self.text.push_str(&joined);
    }

    fn joined(&mut self, piece: &str, marker: Option<char>) -> String {
        let mut joined = String::new();
        let mut pieces = marker.map_or_else(|| vec![piece], |marker| piece.split(marker).collect());
        let plain = pieces.remove(0);
        if !plain.is_empty() {
            self.end_half(&mut joined);
            joined.push_str(plain);
        }
        for piece in pieces {
            let (digits, plain) = piece.split_at_checked(4).unwrap_or((piece, ""));
            let unit = u16::from_str_radix(digits, 16).unwrap_or(0xdfff);
            let pair = self
                .half
                .map(|half| char::decode_utf16([half, unit]).next());
            if let Some(Some(Ok(character))) = pair {
                self.half = None;
                joined.push(character);
            } else {
                self.end_half(&mut joined);
                if (0xd800..0xdc00).contains(&unit) {
                    self.half = Some(unit);
                } else {
                    joined.push(char::REPLACEMENT_CHARACTER);
                }
            }
            if !plain.is_empty() {
                self.end_half(&mut joined);
                joined.push_str(plain);
            }
        }
        joined
    }

    fn end_half(&mut self, text: &mut String) {
        if self.half.take().is_some() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }

    pub(crate) fn into_text(mut self) -> String {
        let mut text = std::mem::take(&mut self.text);
        self.end_half(&mut text);
        text
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.half.is_none()
    }

    /// Whether this is the text so far.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.half.is_none() && self.text == text
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }
}

impl PartialAnswer {
    /// Whether any part of an answer has arrived.
    pub(crate) fn has_text(&self) -> bool {
        self.input.is_some()
            || !self.text.is_empty()
            || !self.arguments.is_empty()
            || !self.calls.is_empty()
    }

    /// Bytes of all its texts.
    pub(crate) fn text_bytes(&self) -> usize {
        let texts = [&self.text, &self.arguments, &self.reasoning, &self.refusal];
        let texts: usize = texts.iter().map(|growing| growing.len()).sum();
        texts + self.calls.text_bytes()
    }

    /// The received parts as an answer. Without a finish reason it is `Other`.
    pub(crate) fn into_answer(mut self) -> Result<Answer, Fault> {
        if !self.has_text() && !self.refusal.is_empty() {
            return Err(Fault::Filtered(self.refusal.into_text()));
        }
        let finish = self.finish.unwrap_or(FinishReason::Other);
        let (text, arguments) = (self.text.into_text(), self.arguments.into_text());
        let is_call = self.input.is_some() || !arguments.is_empty();
        // Without a brace there is nothing to be found in it.
        let reasoning = self.reasoning.into_text();
        if let Some(key) = self.returned_reasoning.filter(|_| !self.calls.is_empty()) {
            self.calls.keep(json!({ key: reasoning }), false);
        }
        let aside = if is_call && text.contains('{') {
            FallbackText::Text(text.clone())
        } else if !is_call && text.trim().is_empty() && reasoning.contains('{') {
            FallbackText::Reasoning(reasoning)
        } else {
            FallbackText::Nothing
        };
        let body = match self.input {
            Some(input) => Body::Json(input),
            None if is_call => Body::Text(arguments),
            None => Body::Text(text),
        };
        let (calls, opaque) = match self.offer {
            Some(offer) => self.calls.finish(offer.provider, offer.earlier_calls),
            None => (Vec::new(), Vec::new()),
        };
        // Forced calls end with `stop` on OpenAI itself, and all calls do on many servers.
        let finish = match finish {
            FinishReason::Stop if is_call || !calls.is_empty() => FinishReason::ToolCall,
            finish => finish,
        };
        Ok(Answer {
            body,
            aside,
            usage: self.usage,
            finish,
            reason: self.reason,
            model: self.model,
            calls,
            opaque,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pieces: &[&str], expected: &str) {
        let mut growing = StreamedText::default();
        let mut shown = String::new();
        for piece in pieces {
            growing.push(piece, Some('|'), &mut |text| shown.push_str(text));
        }
        let text = growing.into_text();
        assert_eq!(text, expected);
        assert!(text.starts_with(&shown), "{shown}");
    }

    #[test]
    fn halves_of_a_pair_are_joined_and_a_lone_one_is_replaced() {
        check(&["a|d83d", "|de00b"], "a😀b");
        check(&["a|d83d", "", "|de00"], "a😀");
        check(&["a|d83d|de00b"], "a😀b");
        check(&["|d83d", "b"], "\u{fffd}b");
        check(&["|de00b"], "\u{fffd}b");
        check(&["|d83d|d83d", "|de00"], "\u{fffd}😀");
        check(&["a|d83d"], "a\u{fffd}");
        check(&["a", "b"], "ab");
    }
}
