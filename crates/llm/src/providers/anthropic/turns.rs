//! Turns as messages in Anthropic's JSON: rows of blocks.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::chat::{self, Part, Role};
use crate::providers::tools::object;

/// Whose opaque parts are ours.
const PROVIDER: &str = "anthropic";

#[derive(Serialize)]
pub(super) struct Message<'a> {
    role: Role,
    content: Content<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    /// What is a single text.
    Text(&'a str),
    Blocks(Vec<MarkableBlock<'a>>),
}

#[derive(Serialize)]
struct MarkableBlock<'a> {
    #[serde(flatten)]
    block: Block<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheMark>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Block<'a> {
    Known(KnownBlock<'a>),
    /// Thoughts, as they came.
    Opaque(&'a Value),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum KnownBlock<'a> {
    Text {
        text: &'a str,
    },
    ToolUse {
        id: String,
        name: &'a str,
        input: Map<String, Value>,
    },
    ToolResult {
        tool_use_id: String,
        content: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

/// A mark up to which the provider keeps what it read.
#[derive(Serialize)]
pub(super) struct CacheMark {
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Default for CacheMark {
    fn default() -> Self {
        Self { kind: "ephemeral" }
    }
}

impl Message<'_> {
    /// Marks its last block.
    pub(super) fn mark(&mut self) {
        if let Content::Text(text) = self.content {
            self.content = Content::Blocks(vec![of(KnownBlock::Text { text })]);
        }
        // Thoughts cannot be marked.
        if let Content::Blocks(blocks) = &mut self.content
            && let Some(last) = blocks.last_mut()
            && matches!(last.block, Block::Known(_))
        {
            last.cache_control = Some(CacheMark::default());
        }
    }
}

fn of(block: KnownBlock<'_>) -> MarkableBlock<'_> {
    MarkableBlock {
        block: Block::Known(block),
        cache_control: None,
    }
}

/// A turn: the one place that translates parts. The API wants results before anything else, and
/// thoughts too.
pub(super) fn turn(message: &chat::Message) -> Message<'_> {
    let content = match &*message.parts {
        [Part::Text(text)] => Content::Text(text),
        parts => {
            let (first, then): (Vec<_>, Vec<_>) = parts
                .iter()
                .partition(|part| matches!(part, Part::ToolResult(_) | Part::Opaque(_)));
            let is_conversation_of_texts = parts.iter().all(|part| matches!(part, Part::Text(_)));
            let blocks = first.into_iter().chain(then).filter(|part| {
                // The API refuses empty texts, such as one beside calls.
                is_conversation_of_texts || !matches!(part, Part::Text(text) if text.is_empty())
            });
            Content::Blocks(blocks.filter_map(block).collect())
        }
    };
    Message {
        role: message.role,
        content,
    }
}

/// A part; `None` if it is of another provider.
fn block(part: &Part) -> Option<MarkableBlock<'_>> {
    let known = match part {
        Part::Text(text) => KnownBlock::Text { text },
        Part::ToolCall(call) => KnownBlock::ToolUse {
            id: plain(&call.id),
            name: &call.name,
            input: object(&call.arguments),
        },
        Part::ToolResult(result) => KnownBlock::ToolResult {
            tool_use_id: plain(&result.call_id),
            content: &result.content,
            is_error: result.is_error,
        },
        Part::Opaque(opaque) if opaque.provider == PROVIDER => {
            return Some(MarkableBlock {
                block: Block::Opaque(&opaque.value),
                cache_control: None,
            });
        }
        Part::Opaque(_) => return None,
    };
    Some(of(known))
}

/// An id in the characters that the API takes: another provider's may have others.
fn plain(id: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    id.chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect()
}
