//! Parts of the language that are checked, but that this version cannot execute.

use super::context::Context;
use crate::diagnostic::{code, quoted};
use crate::suggest::Suggestion;
use crate::syntax::File;
use crate::syntax::llm;
use crate::syntax::location::Location;
use crate::syntax::memory::Memory;
use crate::syntax::node::Kind;
use crate::syntax::tools::Tool;
use crate::syntax::view::View;
use crate::workflow::Unsupported;

/// Every such part, with a warning for each.
pub(super) fn list(file: &File<'_>, context: &mut Context<'_>) -> Vec<Unsupported> {
    let mut list = Vec::new();
    list.extend(refuse(&file.view, "mcp_servers", "", context));
    if let Some(section) = file.config.llm_section() {
        for key in llm::NOT_SENT {
            list.extend(refuse(&section, key, "", context));
        }
    }
    for node in &file.nodes {
        let name = format!("node {}", quoted(&node.name()));
        let kind = node.kind();
        let parts = [
            ("system", kind == Kind::Model),
            (
                "tools",
                kind == Kind::Model && !node.model.turns.tools.is_empty(),
            ),
            ("tool", kind == Kind::Tool),
            ("code", kind == Kind::Code),
            ("memory", node.memory.as_ref().is_some_and(Memory::is_used)),
        ];
        for (key, _) in parts.iter().filter(|(_, used)| *used) {
            list.extend(refuse(&node.view, key, &name, context));
        }
        let section = node.view.mapping("llm", &llm::LLM);
        if let Some(section) = section.filter(|_| kind == Kind::Model) {
            for key in llm::NOT_SENT {
                list.extend(refuse(&section, key, &name, context));
            }
        }
        let offered = node
            .model
            .turns
            .tools
            .iter()
            .filter(|_| kind == Kind::Model);
        let called = node.call.iter().map(|call| &call.tool);
        let called = called.filter(|_| kind == Kind::Tool);
        for tool in offered.chain(called) {
            list.extend(refuse_options(tool, &name, context));
        }
    }
    list
}

/// What a tool entry asks for beyond a call.
fn refuse_options(tool: &Tool<'_>, owner: &str, context: &mut Context<'_>) -> Vec<Unsupported> {
    let parts = [
        ("workflow", tool.workflow.is_some()),
        ("approval", tool.approval().is_some()),
    ];
    let used = parts.iter().filter(|(_, used)| *used);
    let view = tool.view.as_ref();
    used.filter_map(|(key, _)| refuse(view?, key, owner, context))
        .collect()
}

/// `owner` is empty at the top of the file.
fn refuse(
    view: &View<'_>,
    key: &str,
    owner: &str,
    context: &mut Context<'_>,
) -> Option<Unsupported> {
    view.get(key)?;
    let (written, item) = view.entry(key)?;
    let location = Location::new(item.location.path.clone(), written.span);
    let prefix = if owner.is_empty() {
        String::new()
    } else {
        format!("{owner}: ")
    };
    let message = format!(
        "{prefix}`{key}` is not supported yet; the workflow is valid, but a run is refused"
    );
    let advice = Suggestion::advice(format!(
        "remove `{key}` to run the workflow with this version"
    ));
    context.warning(code::NOT_SUPPORTED, &location, message, Some(advice));
    Some(Unsupported {
        path: item.location.path.to_string(),
        what: if owner.is_empty() {
            key.to_owned()
        } else {
            format!("{key} ({owner})")
        },
    })
}
