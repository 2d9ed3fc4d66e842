//! `memory`: values kept between runs, in the three forms that files use.

use super::grammar::{Shape, Table, key};
use super::view::{Item, Text, View};

const SCOPE: Shape = Shape::Word(&["agent", "workflow", "node"]);

/// `memory` at the top of the file.
pub(crate) static DEFAULTS: Table = Table::new(
    "memory_defaults",
    &[
        key(
            "enabled",
            Shape::Bool,
            "accepted; changes nothing by itself",
        )
        .default("false"),
        key("default_scope", SCOPE, "who shares the values").default("\"agent\""),
    ],
);

/// `memory` on a node.
pub(crate) static MEMORY: Table = Table::new(
    "memory",
    &[
        key(
            "enabled",
            Shape::Bool,
            "accepted; changes nothing by itself",
        )
        .default("false"),
        key("default_scope", SCOPE, "who shares the values").default("\"agent\""),
        key(
            "read",
            Shape::List(&Shape::Either(&[Shape::Template, Shape::Mapping(&READ)]), 0),
            "values loaded before the node runs",
        ),
        key(
            "write",
            Shape::List(&Shape::Mapping(&WRITE), 0),
            "values kept after the node has run",
        ),
        key(
            "action",
            Shape::Word(&["load", "save", "delete"]),
            "the node does this instead of asking a model",
        ),
        key(
            "namespace",
            Shape::Template,
            "where the key of `action` belongs",
        ),
        key("key", Shape::Template, "the key of `action`"),
        key("value", Shape::Any, "what `action: save` keeps"),
    ],
);

static READ: Table = Table::new(
    "memory read",
    &[
        key("key", Shape::Template, "the key to load").required(),
        key(
            "as",
            Shape::Text,
            "the name the prompt knows it by; the key itself when absent",
        ),
        key("namespace", Shape::Template, "where the key belongs"),
    ],
)
.identity("key")
.notes(&["default", "description"]);

static WRITE: Table = Table::new(
    "memory write",
    &[
        key("key", Shape::Template, "the key to keep the value under").required(),
        key("value", Shape::Any, "the value, a template when it is text"),
        key("namespace", Shape::Template, "where the key belongs"),
    ],
)
.identity("key")
.notes(&["description"]);

/// A node's `memory`, read.
pub(crate) struct Memory<'a> {
    /// Names its reads make known to the prompt.
    pub(crate) variables: Vec<Text<'a>>,
    /// Every text in it that may hold placeholders.
    pub(crate) templates: Vec<Text<'a>>,
    action: Option<String>,
    /// Entries of `read` and `write`.
    entries: usize,
}

impl<'a> Memory<'a> {
    pub(crate) fn read(view: &View<'a>) -> Self {
        let mut variables = Vec::new();
        let mut templates = Vec::new();
        let reads = view.list("read").unwrap_or_default();
        for entry in &reads {
            let parts = entry.mapping(&READ);
            let key = entry.text().or_else(|| parts.as_ref()?.text("key"));
            let name = parts
                .as_ref()
                .and_then(|parts| parts.text("as"))
                .or_else(|| key.clone());
            variables.extend(name);
            templates.extend(key);
            templates.extend(parts.and_then(|parts| parts.text("namespace")));
        }
        let writes = view.list("write").unwrap_or_default();
        for parts in writes
            .iter()
            .filter_map(|entry| Item::mapping(entry, &WRITE))
        {
            templates.extend(
                ["key", "value", "namespace"]
                    .into_iter()
                    .filter_map(|key| parts.text(key)),
            );
        }
        let action = view.string("action");
        if action.is_some() {
            templates.extend(
                ["key", "value", "namespace"]
                    .into_iter()
                    .filter_map(|key| view.text(key)),
            );
        }
        Self {
            variables,
            templates,
            action,
            entries: reads.len() + writes.len(),
        }
    }

    /// Whether it reads, writes or acts, and is not mere settings.
    pub(crate) fn is_used(&self) -> bool {
        self.action.is_some() || self.entries > 0
    }

    /// Whether the node keeps or deletes a value, and therefore need not write a state field.
    pub(crate) fn writes_nothing(&self) -> bool {
        matches!(self.action.as_deref(), Some("save" | "delete"))
    }
}
