//! The keys of a node that asks a model.

use super::turns::Turns;
use crate::syntax::grammar::{Key, Shape, key};
use crate::syntax::llm;
use crate::syntax::view::{Text, View};
use crate::workflow::LlmSettings;

pub(crate) const PROMPT: Key = key("prompt", Shape::Template, "what the model is asked")
    .required_unless(&[("tool", None), ("kind", Some("tool"))]);

pub(crate) const LLM: Key = key(
    "llm",
    Shape::Mapping(&llm::LLM),
    "model settings, over those of `config.llm` key by key",
);

/// What a node asks its model, read.
pub(crate) struct Model<'a> {
    pub(crate) prompt: Option<Text<'a>>,
    /// The node's own, without those of `config.llm`.
    pub(crate) llm: LlmSettings,
    pub(crate) turns: Turns<'a>,
}

impl<'a> Model<'a> {
    pub(super) fn read(node: &View<'a>) -> Self {
        Self {
            prompt: node.text("prompt"),
            llm: node
                .mapping("llm", &llm::LLM)
                .map(|view| llm::read(&view))
                .unwrap_or_default(),
            turns: Turns::read(node),
        }
    }
}
