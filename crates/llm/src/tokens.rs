//! Token counts without a tokenizer: an estimate from the text, and the most that a call can take.

use std::io::{self, Write};

use crate::chat::{ChatRequest, Content, Part, ToolCall, ToolDefinition, Usage};

/// Most tokens that an answer is assumed to have if no limit is sent.
pub const DEFAULT_ANSWER_TOKENS: u32 = 4_096;

/// More than any call takes.
const MOST_TOKENS: u64 = 1_000_000_000;

/// Estimate of what a provider adds to a prompt and its schema, in tokens.
const ENVELOPE: u64 = 8;

/// Most tokens that a provider adds to a prompt: a chat template with its own instructions.
pub(crate) const LARGEST_ENVELOPE: u64 = 256;

/// Estimate of what surrounds a call, a result or the definition of a tool, in tokens.
const PART_ENVELOPE: u64 = 6;

/// Most tokens that surround a call, a result or the definition of a tool.
const LARGEST_PART_ENVELOPE: u64 = 64;

/// The most tokens that a call can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageCeiling {
    /// Prompt tokens: no tokenizer makes more than one token of a byte.
    pub input_tokens: u64,
    /// Answer tokens: the limit that is sent, or [`DEFAULT_ANSWER_TOKENS`] if none is.
    pub output_tokens: u64,
}

impl UsageCeiling {
    /// `envelope` is what the provider puts around a prompt, `answer_limit` the limit that is sent.
    pub(crate) fn of(request: &ChatRequest, envelope: u64, answer_limit: Option<u32>) -> Self {
        let messages: u64 = parts(request).map(part_bytes).sum();
        // A schema may be sent twice: as such, and in words.
        let schema = request.output.as_ref();
        let schema = schema.map_or(0, |output| 2 * json_bytes(&output.schema));
        let tools: u64 = request.tools.iter().map(tool_bytes).sum();
        Self {
            input_tokens: messages + schema + tools + envelope,
            output_tokens: answer_limit.unwrap_or(DEFAULT_ANSWER_TOKENS).into(),
        }
    }
}

/// Tokens of one call as far as the provider reported them; `None` is a count that it left out or
/// that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_field_names, reason = "the names are those of `Usage`")]
pub(crate) struct Reported {
    /// Prompt tokens, including cached ones.
    pub(crate) input_tokens: Option<u64>,
    /// Of these, read from the provider's cache.
    pub(crate) cached_tokens: Option<u64>,
    /// Answer tokens, including reasoning.
    pub(crate) output_tokens: Option<u64>,
}

impl Reported {
    /// What the call took. A count that is missing, 0 although there was a text, or beyond reason
    /// is estimated.
    pub(crate) fn or_estimate(
        self,
        request: &ChatRequest,
        answer: &Content,
        calls: &[ToolCall],
    ) -> Usage {
        let input = self.input_tokens.filter(is_plausible);
        let output = self.output_tokens.filter(is_plausible);
        Usage {
            input_tokens: input.unwrap_or_else(|| estimate_prompt(request)),
            cached_tokens: self.cached_tokens.filter(is_plausible).unwrap_or(0),
            output_tokens: output.unwrap_or_else(|| {
                let text = match answer {
                    Content::Text(text) => estimate(text),
                    Content::Json(value) => estimate(&value.to_string()),
                };
                text + calls.iter().map(estimate_call).sum::<u64>()
            }),
            is_estimated: input.is_none() || output.is_none(),
        }
    }
}

/// Sums of such counts fit every sink.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "what `Option::filter` calls"
)]
fn is_plausible(count: &u64) -> bool {
    (1..=MOST_TOKENS).contains(count)
}

/// About as many tokens as a text has that comes in pieces: four ASCII characters each, and any
/// other character one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Estimate {
    ascii: u64,
    others: u64,
}

impl Estimate {
    /// One more piece.
    pub fn add(&mut self, piece: &str) {
        for byte in piece.bytes() {
            // Bytes that only continue a character are not counted.
            match byte {
                0..=0x7f => self.ascii += 1,
                0xc0.. => self.others += 1,
                0x80..=0xbf => {}
            }
        }
    }

    /// Of all pieces so far.
    pub fn tokens(&self) -> u64 {
        self.ascii.div_ceil(4) + self.others
    }
}

/// About as many tokens as a text has; see [`Estimate`].
pub fn estimate(text: &str) -> u64 {
    let mut estimate = Estimate::default();
    estimate.add(text);
    estimate.tokens()
}

/// About as many tokens as a prompt has, the schema of its answer included.
pub fn estimate_prompt(request: &ChatRequest) -> u64 {
    let messages: u64 = parts(request).map(estimate_part).sum();
    let schema = request.output.as_ref();
    let schema = schema.map_or(0, |output| estimate(&output.schema.to_string()));
    let tools = request.tools.iter().map(|tool| {
        let description = tool.description.as_deref().unwrap_or_default();
        estimate(&tool.name)
            + estimate(description)
            + estimate(&tool.schema.to_string())
            + PART_ENVELOPE
    });
    messages + schema + tools.sum::<u64>() + ENVELOPE
}

/// About as many tokens as a part has.
pub(crate) fn estimate_part(part: &Part) -> u64 {
    match part {
        Part::Text(text) => estimate(text),
        Part::ToolCall(call) => estimate_call(call),
        Part::ToolResult(result) => estimate(&result.content) + PART_ENVELOPE,
        Part::Opaque(opaque) => estimate(&opaque.value.to_string()),
    }
}

fn estimate_call(call: &ToolCall) -> u64 {
    estimate(&call.name) + estimate(&call.arguments.text()) + PART_ENVELOPE
}

/// The most tokens of a part.
fn part_bytes(part: &Part) -> u64 {
    match part {
        Part::Text(text) => bytes(text.len()),
        Part::ToolCall(call) => {
            bytes(call.id.len() + call.name.len() + call.arguments.text().len())
                + LARGEST_PART_ENVELOPE
        }
        Part::ToolResult(result) => {
            bytes(result.call_id.len() + result.name.len() + result.content.len())
                + LARGEST_PART_ENVELOPE
        }
        Part::Opaque(opaque) => json_bytes(&opaque.value),
    }
}

/// The most tokens of a tool's definition.
fn tool_bytes(tool: &ToolDefinition) -> u64 {
    let description = tool.description.as_deref().unwrap_or_default();
    bytes(tool.name.len() + description.len())
        + 2 * json_bytes(&tool.schema)
        + LARGEST_PART_ENVELOPE
}

/// All parts of a request, in their order.
fn parts(request: &ChatRequest) -> impl Iterator<Item = &Part> {
    request
        .messages
        .iter()
        .flat_map(|message| message.parts.iter())
}

/// How long a value is as JSON, without writing it anywhere.
fn json_bytes(value: &serde_json::Value) -> u64 {
    struct Count(u64);

    impl Write for Count {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            self.0 += bytes(piece.len());
            Ok(piece.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    // Neither a value nor a counter can fail.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_characters_of_english_make_a_token_and_one_of_other_scripts() {
        let check = |text: &str, tokens: u64| assert_eq!(estimate(text), tokens, "{text}");
        check("", 0);
        check("a", 1);
        check("four", 1);
        check("fives", 2);
        check("数据库", 3);
        check("größe 🎉", 1 + 3);
    }
}
