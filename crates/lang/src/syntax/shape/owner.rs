//! How messages name what a value belongs to.

use crate::diagnostic::quoted;
use crate::syntax::grammar::Shape;
use crate::syntax::location::Path;
use crate::yaml::{Data, Node};

/// The named thing a value belongs to, for messages: node `say`, field `topic`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Owner<'a> {
    pub(super) kind: &'a str,
    pub(super) name: Option<&'a str>,
    /// Steps of the path that lead to it.
    pub(super) depth: usize,
}

impl Owner<'_> {
    /// ``node `say`: `llm.temperature` `` for a path inside it.
    pub(super) fn speak(&self, path: &Path) -> String {
        let key = path.below(self.depth);
        let key = if key.is_empty() {
            String::new()
        } else {
            quoted(&key)
        };
        match (self.kind, self.name) {
            ("", _) if key.is_empty() => "the file".to_owned(),
            ("", _) => key,
            (kind, None) if key.is_empty() => format!("this {kind}"),
            (kind, Some(name)) if key.is_empty() => format!("{kind} {}", quoted(name)),
            (kind, None) => format!("{kind}: {key}"),
            (kind, Some(name)) => format!("{kind} {}: {key}", quoted(name)),
        }
    }
}

/// The owner an item of a list becomes for what is inside it.
pub(super) fn owner_of<'a>(
    item: &'a Node,
    shape: &'static Shape,
    path: &Path,
) -> Option<Owner<'a>> {
    let table = match shape {
        Shape::Mapping(table) => table,
        Shape::Either(shapes) => shapes.iter().find_map(|shape| match shape {
            Shape::Mapping(table) => Some(table),
            _ => None,
        })?,
        _ => return None,
    };
    let Data::Map(entries) = &item.data else {
        return None;
    };
    let name = entries
        .iter()
        .find(|entry| table.identity == Some(&*entry.key.text))
        .and_then(|entry| match &entry.value.data {
            Data::Text(text) => Some(&*text.value),
            _ => None,
        });
    Some(Owner {
        kind: table.name,
        name,
        depth: path.depth(),
    })
}
