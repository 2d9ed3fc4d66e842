//! Parts of the language that are checked, but that this version cannot execute.

use super::context::Context;
use crate::diagnostic::{code, quoted};
use crate::suggest::Suggestion;
use crate::syntax::memory::Memory;
use crate::syntax::node::Node;
use crate::syntax::view::View;
use crate::workflow::Unsupported;

/// Every such part, with a warning for each.
pub(super) fn list(nodes: &[Node<'_>], context: &mut Context<'_>) -> Vec<Unsupported> {
    let mut list = Vec::new();
    for node in nodes {
        let parts = [
            ("tools", !node.model.tools.is_empty()),
            ("code", node.code.is_some()),
            ("memory", node.memory.as_ref().is_some_and(Memory::is_used)),
        ];
        for (key, _) in parts.iter().filter(|(_, used)| *used) {
            list.extend(refuse(&node.view, key, &node.name(), context));
        }
    }
    list
}

fn refuse(
    node: &View<'_>,
    key: &str,
    name: &str,
    context: &mut Context<'_>,
) -> Option<Unsupported> {
    let (written, item) = node.entry(key)?;
    let location = crate::syntax::location::Location::new(item.location.path.clone(), written.span);
    let message = format!(
        "node {}: `{key}` is not supported yet; the workflow is valid, but a run is refused",
        quoted(name)
    );
    let advice = Suggestion::advice(format!(
        "remove `{key}` to run the workflow with this version"
    ));
    context.warning(code::NOT_SUPPORTED, &location, message, Some(advice));
    Some(Unsupported {
        path: item.location.path.to_string(),
        what: format!("{key} (node {})", quoted(name)),
    })
}
