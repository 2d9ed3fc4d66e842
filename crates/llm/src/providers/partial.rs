//! The parts of an answer that have been received, in any dialect.

use serde_json::json;

use super::calls::PartialCalls;
use super::fault::Fault;
pub(crate) use super::streamed_text::Emit;
use super::streamed_text::StreamedText;
use crate::answer::{Answer, Body, FallbackText};
use crate::chat::FinishReason;
use crate::tokens::Reported;

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
