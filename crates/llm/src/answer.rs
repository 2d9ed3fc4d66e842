//! What a provider said, before it is priced and named; and reading structure out of it.

mod mend;
mod scan;
mod unwrap;

use serde_json::Value;

use crate::chat::{Content, FinishReason, OutputFormat};
use crate::tokens::Reported;
pub(crate) use mend::mend;
use scan::{Found, scan};
use unwrap::unwrapped;

/// A complete answer, translated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) body: Body,
    /// Where else the answer may stand.
    pub(crate) aside: FallbackText,
    /// As far as the provider reported it.
    pub(crate) usage: Reported,
    pub(crate) finish: FinishReason,
    /// The provider's word for a reason that is none of ours.
    pub(crate) reason: Option<String>,
    /// As the provider names it, where it does.
    pub(crate) model: Option<String>,
}

/// The answer's body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Text(String),
    /// The arguments of the forced tool, already parsed.
    Json(Value),
}

/// What came beside the answer, for where the answer itself is of no use.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum FallbackText {
    #[default]
    Nothing,
    /// The text beside a call.
    Text(String),
    /// The reasoning before an empty answer.
    Reasoning(String),
}

impl Answer {
    /// The content to hand out. Where an object is wanted, a text is read as JSON, leniently when
    /// it is not JSON as it stands: the answer is the last object that fits as a whole, never a
    /// part of one and never a thought.
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

/// The value that is the answer: the last that fits, else the last there is. None where something
/// that cannot be read comes after it.
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

/// The value at the end of a text that fits. What is thought on behind it was not meant as the
/// answer.
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

/// Why a text holds no object, for the model and for people: without a word of it.
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
