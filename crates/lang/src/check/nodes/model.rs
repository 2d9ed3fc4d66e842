//! A node that asks a model: its prompt, its settings, its tools.

use super::tools;
use crate::check::conditions::template;
use crate::check::context::Context;
use crate::check::llm::{self, GlobalLlm};
use crate::check::names::Scope;
use crate::check::servers::Servers;
use crate::syntax::node::Node as Written;
use crate::template::Template;
use crate::workflow::ModelNode;

/// What the node asks. `scope` holds the node's own variables too, `global` is `config.llm`.
pub(super) fn lower(
    node: &Written<'_>,
    scope: &Scope<'_>,
    global: &GlobalLlm<'_>,
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
    let system = match &node.model.system {
        Some(text) if scope.fields.known => Some(template(text, scope, &asked_for, owner, context)),
        _ => global.system.clone(),
    };
    ModelNode {
        prompt,
        system,
        llm: llm::of_node(&node.view, global, owner, context),
        tools: tools::lower(&node.model.turns, owner, servers, context),
    }
}
