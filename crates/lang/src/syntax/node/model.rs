//! The keys of a node that asks a model.

use crate::syntax::grammar::{Key, Shape, key};
use crate::syntax::view::{Text, View};
use crate::syntax::{llm, tools};
use crate::workflow::LlmSettings;

pub(crate) const PROMPT: Key = key("prompt", Shape::Template, "what the model is asked").required();

pub(crate) const LLM: Key = key(
    "llm",
    Shape::Mapping(&llm::LLM),
    "model settings, over those of `config.llm` key by key",
);

pub(crate) const TOOLS: Key = key("tools", tools::TOOLS, "tools offered to the model");

/// What a node asks its model, read.
pub(crate) struct Model<'a> {
    pub(crate) prompt: Option<Text<'a>>,
    /// The node's own, without those of `config.llm`.
    pub(crate) llm: LlmSettings,
    pub(crate) tools: Vec<tools::Tool<'a>>,
}

impl<'a> Model<'a> {
    pub(super) fn read(node: &View<'a>) -> Self {
        Self {
            prompt: node.text("prompt"),
            llm: node
                .mapping("llm", &llm::LLM)
                .map(|view| llm::read(&view))
                .unwrap_or_default(),
            tools: node
                .list("tools")
                .unwrap_or_default()
                .iter()
                .filter_map(tools::Tool::read)
                .collect(),
        }
    }
}
