//! A provider's answer before it is priced, and how structure is read from it.

mod mend;
mod scan;
mod unwrap;

use serde_json::Value;

use crate::chat::{Content, FinishReason, OpaquePart, OutputFormat, ToolCall};
use crate::tokens::Reported;
pub(crate) use mend::mend;
use scan::{Found, scan};
use unwrap::unwrapped;

/// A complete answer, translated from its dialect.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) body: Body,
    /// Other text that may contain the answer.
    pub(crate) aside: FallbackText,
    /// Token counts that the provider reported.
    pub(crate) usage: Reported,
    pub(crate) finish: FinishReason,
    /// The provider's name of a finish reason that we have no variant for.
    pub(crate) reason: Option<String>,
    /// The model's name, if the provider gives it.
    pub(crate) model: Option<String>,
    /// Calls of the offered tools.
    pub(crate) calls: Vec<ToolCall>,
    /// What goes back to the provider as it came.
    pub(crate) opaque: Vec<OpaquePart>,
}

/// The answer's body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Text(String),
    /// The arguments of the forced tool, already parsed.
    Json(Value),
}

/// Text besides the answer, for when the answer itself is useless.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum FallbackText {
    #[default]
    Nothing,
    /// The text next to a tool call.
    Text(String),
    /// The reasoning before an empty answer.
    Reasoning(String),
}

impl Answer {
    /// The content for the caller. If an object is wanted, a text is read as JSON, leniently if it
    /// is not valid JSON. The answer is the last object that fits as a whole, never a part of one,
    /// and never from the model's thoughts.
    pub(crate) fn content(&mut self, output: Option<&OutputFormat>) -> Content {
        let body = std::mem::replace(&mut self.body, Body::Text(String::new()));
        let content = content(body, output);
        let (Some(output), false) = (output, self.aside == FallbackText::Nothing) else {
            return content;
        };
        if matches!(&content, Content::Json(value) if output.filter.accepts(value)) {
            return content;
        }
        let beside = match &self.aside {
            FallbackText::Text(text) => {
                in_text(text, output).filter(|value| output.filter.accepts(value))
            }
            FallbackText::Reasoning(text) if self.finish != FinishReason::Length => {
                at_the_end(text, output)
            }
            FallbackText::Nothing | FallbackText::Reasoning(_) => None,
        };
        beside.map_or(content, Content::Json)
    }
}

fn content(body: Body, output: Option<&OutputFormat>) -> Content {
    match (body, output) {
        (Body::Json(value), Some(output)) => Content::Json(unwrapped(value, output)),
        (Body::Json(value), None) => Content::Json(value),
        (Body::Text(text), Some(output)) => match in_text(&text, output) {
            Some(value) => Content::Json(value),
            None => Content::Text(text),
        },
        (Body::Text(text), None) => Content::Text(text),
    }
}

/// The value that is the answer: the last that fits, or else the last of all. `None` if something
/// unreadable comes after it.
fn in_text(text: &str, output: &OutputFormat) -> Option<Value> {
    if let Some(value) = unwrap::read(text) {
        return Some(unwrapped(value, output));
    }
    let mut last = None;
    let mut fits = false;
    scan(text, &mut |found| match found {
        Found::Value { value, .. } => {
            let value = unwrapped(value, output);
            let this_fits = output.filter.accepts(&value);
            if this_fits || (!fits && value.is_object()) {
                fits = this_fits;
                last = Some(value);
            }
        }
        Found::Unreadable(_) | Found::Thought => {
            fits = false;
            last = None;
        }
    });
    last
}

/// The value at the end of a text, if it fits. A value with more thoughts behind it was not meant
/// as the answer.
fn at_the_end(text: &str, output: &OutputFormat) -> Option<Value> {
    let whole = unwrap::read(text);
    let mut end = whole;
    if end.is_none() {
        scan(text, &mut |found| {
            end = match found {
                Found::Value {
                    value,
                    is_last: true,
                } => Some(value),
                _ => None,
            };
        });
    }
    end.map(|value| unwrapped(value, output))
        .filter(|value| output.filter.accepts(value))
}

/// Why a text contains no object, for the model and for people, without quoting the text.
pub fn why_no_object(text: &str) -> String {
    if text.trim().is_empty() {
        return "the answer is empty".to_owned();
    }
    let mut why = None;
    scan(text, &mut |found| {
        why = match found {
            Found::Unreadable(fault) => Some(fault),
            Found::Value { .. } | Found::Thought => None,
        };
    });
    match why {
        Some(fault) => format!(
            "the answer is not a JSON object: it is not valid JSON ({})",
            fault.place(text)
        ),
        None => "the answer is not a JSON object".to_owned(),
    }
}

#[cfg(test)]
mod tests;
