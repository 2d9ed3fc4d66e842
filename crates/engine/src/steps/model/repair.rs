//! Reads a model's answer, and tells the model what is wrong with an answer that does not fit.

use lang::privacy::Sensitive;
use lang::workflow::Output;
use llm::chat::{ChatReply, Content, FinishReason};

use crate::faults::shortened;
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
    /// The answer ran into a limit, as the next one most likely will.
    pub(crate) is_cut_off: bool,
}

impl RejectedAnswer {
    /// The answer as it is quoted to the model.
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
) -> Result<Outputs, RejectedAnswer> {
    let rejected = |reason: String| {
        let reason = match reply.finish {
            FinishReason::Length => match max_tokens {
                Some(_) => format!("{reason} (it was cut off at the node's `max_tokens`)"),
                None => format!("{reason} (it was cut off at the model's output limit)"),
            },
            FinishReason::ContextWindow => {
                format!("{reason} (it was cut off where the model's context window was full)")
            }
            FinishReason::ContentFilter => {
                format!("{reason} (it was cut off by the provider's content filter)")
            }
            FinishReason::Stop | FinishReason::ToolCall | FinishReason::Other => reason,
        };
        RejectedAnswer {
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
        // The model's client has already looked for an object in the text.
        Content::Text(text) => return Err(rejected(llm::why_no_object(text))),
    };
    Outputs::read(output, answer, sensitive).map_err(rejected)
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
