//! Reading a model's answer, and what to tell the model when the answer does not fit.

use lang::fault::Fault;
use lang::privacy::Sensitive;
use lang::workflow::Output;
use llm::chat::{ChatReply, Content, FinishReason};
use serde_json::Value;

/// Faults named in a message; more only make it harder to read.
const MAX_FAULTS: usize = 5;
/// Characters of a list of faults; a path through a dict may hold keys of any length.
const MAX_LIST: usize = 1_000;
/// Characters of the previous answer that are shown to the model again.
const MAX_SHOWN_ANSWER: usize = 2_000;

/// An answer that does not fit its node's output schema.
#[derive(Debug, PartialEq)]
pub(crate) struct Misfit {
    /// Which rules are broken where, without the answer's values: safe to show to a caller.
    pub(crate) reason: String,
    /// The answer, for the model alone.
    answer: String,
    /// It ran into a limit, which the next one will most likely run into as well.
    pub(crate) is_cut_off: bool,
}

impl Misfit {
    /// The answer as the model is shown it again.
    pub(crate) fn answer(&self) -> &str {
        &self.answer
    }
}

/// The node's output values, in the order of its outputs.
pub(crate) fn read(
    output: &Output,
    reply: &ChatReply,
    max_tokens: Option<u32>,
    sensitive: Option<&Sensitive>,
) -> Result<Vec<Value>, Misfit> {
    let misfit = |reason: String| {
        let reason = match reply.finish {
            FinishReason::Length => match max_tokens {
                Some(_) => format!("{reason} (it was cut off at the node's `max_tokens`)"),
                None => format!("{reason} (it was cut off at the model's limit of an answer)"),
            },
            FinishReason::ContextWindow => {
                format!("{reason} (it was cut off where the model's context window was full)")
            }
            FinishReason::ContentFilter => {
                format!("{reason} (it was cut off by the provider's content filter)")
            }
            FinishReason::Stop | FinishReason::ToolCall | FinishReason::Other => reason,
        };
        Misfit {
            reason,
            answer: shown(&reply.content),
            is_cut_off: matches!(
                reply.finish,
                FinishReason::Length | FinishReason::ContextWindow
            ),
        }
    };
    let answer = match &reply.content {
        Content::Json(answer) => answer,
        // The model's client has looked for structure in it already.
        Content::Text(text) => return Err(misfit(llm::why_no_object(text))),
    };
    match output.read(answer) {
        Ok(values) => Ok(values.into_iter().map(|(_, value)| value).collect()),
        Err(mut faults) => {
            if let Some(sensitive) = sensitive {
                sensitive.mask_answer_faults(output, &mut faults);
            }
            Err(misfit(list(&faults)))
        }
    }
}

/// What follows the original prompt when the model is asked again.
pub(crate) fn remark(misfit: &Misfit) -> String {
    format!(
        "\n\nYour previous answer could not be used: {}.\nIt was:\n{}\nAnswer again, with a JSON object that fits \
         the given schema exactly.",
        misfit.reason, misfit.answer
    )
}

/// Faults as one phrase: `result.1: Input should be a valid integer; …`.
pub(crate) fn list(faults: &[Fault]) -> String {
    let phrase = |fault: &Fault| match fault.dotted_path() {
        path if path.is_empty() => fault.message.clone(),
        path => format!("{path}: {}", fault.message),
    };
    let mut phrases: Vec<String> = faults.iter().take(MAX_FAULTS).map(phrase).collect();
    if let Some(more @ 1..) = faults.len().checked_sub(MAX_FAULTS) {
        phrases.push(format!("and {more} more"));
    }
    cut(phrases.join("; "), MAX_LIST)
}

fn shown(content: &Content) -> String {
    match content {
        Content::Text(text) => cut(text.clone(), MAX_SHOWN_ANSWER),
        Content::Json(answer) => cut(answer.to_string(), MAX_SHOWN_ANSWER),
    }
}

/// At most so many characters of a text.
fn cut(mut text: String, max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(max) {
        text.truncate(end);
        text.push('…');
    }
    text
}
