//! A node that asks a model: its prompt, its settings, its tools.

use crate::check::conditions::template;
use crate::check::context::Context;
use crate::check::names::Scope;
use crate::diagnostic::{code, quoted};
use crate::suggest::Suggestion;
use crate::syntax::node::Node as Written;
use crate::syntax::{llm, tools};
use crate::template::Template;
use crate::workflow::{LlmSettings, ModelNode, Tool};

/// What the node asks. `scope` holds the node's own variables too, `global` is `config.llm`.
pub(super) fn lower(
    node: &Written<'_>,
    scope: &Scope<'_>,
    global: &LlmSettings,
    owner: &str,
    context: &mut Context<'_>,
) -> ModelNode {
    let outputs = node.outputs.as_deref().unwrap_or_default();
    let asked_for: Vec<&str> = outputs.iter().map(|output| &*output.value).collect();
    let prompt = match &node.model.prompt {
        Some(text) if scope.fields.known => template(text, scope, &asked_for, owner, context),
        _ => Template { pieces: Vec::new() },
    };
    let tools = node.model.tools.iter();
    ModelNode {
        prompt,
        llm: llm::merge(node.model.llm.clone(), global),
        tools: tools.map(|tool| lower_tool(tool, owner, context)).collect(),
    }
}

fn lower_tool(tool: &tools::Tool<'_>, owner: &str, context: &mut Context<'_>) -> Tool {
    let name = &*tool.name.value;
    if !tools::NAMES.contains(&name) {
        let documented = tools::DOCUMENTED
            .iter()
            .find(|(documented, _)| *documented == name);
        let suggestion = match documented {
            Some((_, meant)) => Some(Suggestion::meant(meant)),
            None => context.suggest(name, tools::NAMES.iter().copied()),
        };
        context.error(
            code::UNKNOWN_TOOL,
            &tool.name.location,
            format!("{owner}: there is no tool {}", quoted(name)),
            suggestion,
        );
    }
    Tool {
        name: name.to_owned(),
        continue_on_error: tool.continue_on_error,
        config: tool.config.clone(),
    }
}
