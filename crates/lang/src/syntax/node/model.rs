//! The keys of a node that asks a model.

use super::turns::Turns;
use crate::syntax::grammar::{Key, Shape, key};
use crate::syntax::llm;
use crate::syntax::view::{Text, View};

pub(crate) const PROMPT: Key = key("prompt", Shape::Template, "what the model is asked")
    .required_unless(&[("tool", None), ("kind", Some("tool"))]);

pub(crate) const SYSTEM: Key = key(
    "system",
    Shape::Template,
    "instructions that come before the prompt",
);

pub(crate) const LLM: Key = key(
    "llm",
    Shape::Mapping(&llm::LLM),
    "model settings, over those of `config.llm` key by key",
);

/// What a node asks its model, read.
pub(crate) struct Model<'a> {
    pub(crate) prompt: Option<Text<'a>>,
    /// Its own `system`, or that of its own `llm`.
    pub(crate) system: Option<Text<'a>>,
    pub(crate) turns: Turns<'a>,
}

impl<'a> Model<'a> {
    pub(super) fn read(node: &View<'a>) -> Self {
        Self {
            prompt: node.text("prompt"),
            system: node
                .text("system")
                .or_else(|| node.mapping("llm", &llm::LLM)?.text("system")),
            turns: Turns::read(node),
        }
    }
}
