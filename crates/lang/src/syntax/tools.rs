//! `tools`: what is offered to a node's model.

use super::grammar::{Shape, Table, key};
use super::view::{Item, Text};
use crate::value::{Map, Value};

/// The built-in tools.
pub(crate) const NAMES: &[&str] = &[
    "serper_search",
    "web_search",
    "web_scrape",
    "http_client",
    "file_read",
    "file_write",
    "file_glob",
    "file_move",
    "sql_query",
    "dataframe_to_csv",
    "json_parse",
    "yaml_parse",
    "shell",
    "process",
    "env_vars",
];

/// Names that only documents know, and the tool that does the same.
pub(crate) const DOCUMENTED: &[(&str, &str)] = &[
    ("read_file", "file_read"),
    ("write_file", "file_write"),
    ("http_get", "http_client"),
    ("http_post", "http_client"),
];

pub(crate) const TOOLS: Shape =
    Shape::List(&Shape::Either(&[Shape::Text, Shape::Mapping(&TOOL)]), 0);

static TOOL: Table = Table::new(
    "tool",
    &[
        key("name", Shape::Text, "one of the built-in tools").required(),
        key(
            "on_error",
            Shape::Word(&["fail", "continue"]),
            "whether a failing call fails the node",
        )
        .default("\"fail\""),
        key(
            "config",
            Shape::Open("setting", &Shape::Any, 0),
            "settings of the tool",
        ),
    ],
)
.identity("name");

/// A tool entry, read.
pub(crate) struct Tool<'a> {
    pub(crate) name: Text<'a>,
    pub(crate) continue_on_error: bool,
    pub(crate) config: Map<String, Value>,
}

impl<'a> Tool<'a> {
    pub(crate) fn read(item: &Item<'a>) -> Option<Self> {
        if let Some(name) = item.text() {
            return Some(Self {
                name,
                continue_on_error: false,
                config: Map::new(),
            });
        }
        let view = item.mapping(&TOOL)?;
        let config = match view.get("config").and_then(|config| config.node.to_value()) {
            Some(Value::Object(config)) => config,
            _ => Map::new(),
        };
        Some(Self {
            name: view.text("name")?,
            continue_on_error: view.string("on_error").as_deref() == Some("continue"),
            config,
        })
    }
}
