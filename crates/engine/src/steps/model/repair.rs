//! Reads a model's answer, and tells the model what is wrong with an answer that does not fit.

use lang::privacy::Sensitive;
use lang::workflow::Output;
use llm::chat::{ChatReply, Content, FinishReason};

use crate::faults::shortened;
use crate::outcome::CutOff;
use crate::steps::outputs::Outputs;

/// Characters of a rejected answer that are quoted to the model.
const MAX_SHOWN_ANSWER: usize = 2_000;

/// An answer that does not fit its node's output schema.
#[derive(Debug, PartialEq)]
pub(crate) struct RejectedAnswer {
    /// Which rules are broken where, without values of the answer: safe to show to a caller.
    pub(crate) reason: String,
    /// The answer as it is quoted to the model, and to nobody else.
    answer: String,
    /// What cut the answer off, if anything did.
    pub(crate) cut_off: Option<CutOff>,
}

impl RejectedAnswer {
    /// The answer as it is quoted to the model.
    pub(crate) fn answer(&self) -> &str {
        &self.answer
    }

    /// Whether the answer ran into a limit, as the next one most likely will.
    pub(crate) fn is_at_limit(&self) -> bool {
        self.cut_off.is_some_and(CutOff::is_limit)
    }
}

/// The node's output values, in the order of its outputs.
pub(crate) fn read(
    output: &Output,
    reply: &ChatReply,
    max_tokens: Option<u32>,
    sensitive: Option<&Sensitive>,
) -> Result<Outputs, RejectedAnswer> {
    let rejected = |reason: String| {
        let cut_off = cut_off(reply.finish, max_tokens);
        let reason = match cut_off {
            None => reason,
            Some(CutOff::MaxTokens) => {
                format!("{reason} (it was cut off at the node's `max_tokens`)")
            }
            Some(CutOff::OutputLimit) => {
                format!("{reason} (it was cut off at the model's output limit)")
            }
            Some(CutOff::ContextWindow) => {
                format!("{reason} (it was cut off where the model's context window was full)")
            }
            Some(CutOff::ContentFilter) => {
                format!("{reason} (it was cut off by the provider's content filter)")
            }
        };
        RejectedAnswer {
            reason,
            answer: shown(&reply.content),
            cut_off,
        }
    };
    let answer = match &reply.content {
        Content::Json(answer) => answer,
        // The model's client has already looked for an object in the text.
        Content::Text(text) => return Err(rejected(llm::why_no_object(text))),
    };
    Outputs::read(output, answer, sensitive).map_err(rejected)
}

/// What cut an answer off, if anything did.
fn cut_off(finish: FinishReason, max_tokens: Option<u32>) -> Option<CutOff> {
    match finish {
        FinishReason::Length if max_tokens.is_some() => Some(CutOff::MaxTokens),
        FinishReason::Length => Some(CutOff::OutputLimit),
        FinishReason::ContextWindow => Some(CutOff::ContextWindow),
        FinishReason::ContentFilter => Some(CutOff::ContentFilter),
        FinishReason::Stop | FinishReason::ToolCall | FinishReason::Other => None,
    }
}

/// The text that follows the prompt when the model is asked again.
pub(crate) fn remark(rejected: &RejectedAnswer) -> String {
    format!(
        "\n\nYour previous answer could not be used: {}.\nIt was:\n{}\nAnswer again, with a JSON object that fits \
         the given schema exactly.",
        rejected.reason, rejected.answer
    )
}

fn shown(content: &Content) -> String {
    match content {
        Content::Text(text) => shortened(text.clone(), MAX_SHOWN_ANSWER),
        Content::Json(answer) => shortened(answer.to_string(), MAX_SHOWN_ANSWER),
    }
}
