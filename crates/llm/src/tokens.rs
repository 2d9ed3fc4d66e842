//! Tokens of a call where nobody has counted them: an estimate from the text.

use crate::chat::{ChatRequest, Content, Usage};

/// What goes around a prompt and its schema, in tokens.
const ENVELOPE: u64 = 8;

/// Tokens of one call as far as the provider reported them; `None` is a count that it left out or that
/// cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_field_names, reason = "the names are those of `Usage`")]
pub(crate) struct Reported {
    /// Prompt tokens, the cached ones included.
    pub(crate) input_tokens: Option<u64>,
    /// Of these, read from the provider's cache.
    pub(crate) cached_tokens: Option<u64>,
    /// Answer tokens, reasoning included.
    pub(crate) output_tokens: Option<u64>,
}

impl Reported {
    /// What the call took. A count that is missing, or 0 although there was a text, is estimated.
    pub(crate) fn or_estimate(self, request: &ChatRequest, answer: &Content) -> Usage {
        let input = self.input_tokens.filter(|count| *count > 0);
        let output = self.output_tokens.filter(|count| *count > 0);
        Usage {
            input_tokens: input.unwrap_or_else(|| estimate_prompt(request)),
            cached_tokens: self.cached_tokens.unwrap_or(0),
            output_tokens: output.unwrap_or_else(|| match answer {
                Content::Text(text) => estimate(text),
                Content::Json(value) => estimate(&value.to_string()),
            }),
            is_estimated: input.is_none() || output.is_none(),
        }
    }
}

/// About as many tokens as a text has: four ASCII characters each, and any other character one.
pub fn estimate(text: &str) -> u64 {
    let (mut ascii, mut others) = (0_u64, 0_u64);
    for byte in text.bytes() {
        // Bytes that only continue a character are not counted.
        match byte {
            0..=0x7f => ascii += 1,
            0xc0.. => others += 1,
            0x80..=0xbf => {}
        }
    }
    ascii.div_ceil(4) + others
}

/// About as many tokens as a prompt has, the schema of its answer included.
pub fn estimate_prompt(request: &ChatRequest) -> u64 {
    let messages = request.messages.iter();
    let messages: u64 = messages.map(|message| estimate(&message.text)).sum();
    let schema = request.output.as_ref();
    let schema = schema.map_or(0, |output| estimate(&output.schema.to_string()));
    messages + schema + ENVELOPE
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
