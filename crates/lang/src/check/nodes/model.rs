//! A node that asks a model: its prompt, its settings, its tools.

use super::tools;
use crate::check::conditions::template;
use crate::check::context::Context;
use crate::check::names::Scope;
use crate::check::servers::Servers;
use crate::syntax::llm;
use crate::syntax::node::Node as Written;
use crate::template::Template;
use crate::workflow::{LlmSettings, ModelNode};

/// What the node asks. `scope` holds the node's own variables too, `global` is `config.llm`.
pub(super) fn lower(
    node: &Written<'_>,
    scope: &Scope<'_>,
    global: &LlmSettings,
    owner: &str,
    servers: &mut Servers<'_>,
    context: &mut Context<'_>,
) -> ModelNode {
    let outputs = node.outputs.as_deref().unwrap_or_default();
    let asked_for: Vec<&str> = outputs.iter().map(|output| &*output.value).collect();
    let prompt = match &node.model.prompt {
        Some(text) if scope.fields.known => template(text, scope, &asked_for, owner, context),
        _ => Template { pieces: Vec::new() },
    };
    ModelNode {
        prompt,
        llm: llm::merge(node.model.llm.clone(), global),
        tools: tools::lower(&node.model.turns, owner, servers, context),
    }
}
