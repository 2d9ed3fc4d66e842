//! `tools` of a node, and the tool of a node that calls one: what may be called, and how.

use super::grammar::{Key, Shape, Table, key};
use super::location::Location;
use super::view::{Item, Text, View};
use crate::value::{Map, Value};
use crate::workflow::{Effects, MAX_RESULT_CHARS};
use crate::yaml::Data;

/// Names that only documents know, and the tool that does the same.
pub(crate) const DOCUMENTED: &[(&str, &str)] = &[
    ("read_file", "file_read"),
    ("write_file", "file_write"),
    ("http_get", "http_client"),
    ("http_post", "http_client"),
];

pub(crate) const TOOLS: Shape =
    Shape::List(&Shape::Either(&[Shape::Text, Shape::Mapping(&TOOL)]), 0);

/// One tool, as its name or with options.
pub(crate) const ONE_TOOL: Shape = Shape::Either(&[Shape::Text, Shape::Mapping(&TOOL)]);

static TOOL: Table = Table::new(
    "tool",
    &[
        key("name", Shape::Text, "one of the built-in tools")
            .required_unless(&[("mcp", None), ("workflow", None)]),
        key(
            "mcp",
            Shape::Name,
            "a server of `mcp_servers`, whose tools are offered",
        ),
        key(
            "workflow",
            Shape::Name,
            "the file of a workflow that is offered as a tool",
        ),
        INCLUDE,
        EXCLUDE,
        key(
            "on_error",
            Shape::Word(&["fail", "continue"]),
            "whether a failing call fails the node",
        )
        .default("\"fail\""),
        key(
            "timeout",
            DURATION,
            "longest time for one call, such as `30s`",
        ),
        key(
            "retries",
            Shape::Int(0, 10),
            "further attempts at a failed call that is safe to repeat",
        )
        .default("0"),
        EFFECTS,
        key(
            "approval",
            Shape::Either(&[Shape::Word(&["never", "always"]), Shape::Mapping(&APPROVAL)]),
            "who must agree to a call; only `never` is executed",
        )
        .default("\"never\""),
        key(
            "allow",
            Shape::List(&Shape::Name, 0),
            "addresses that may be called, with `*` for any characters",
        ),
        key(
            "max_result_chars",
            Shape::Int(1, 1_000_000),
            "most characters of a result that the model is shown",
        )
        .default("20000"),
        key(
            "config",
            Shape::Open("setting", &Shape::Any, 0),
            "settings of the tool",
        ),
    ],
)
.identity("name")
.ignored(&[
    ("max_retries", "write `retries`"),
    ("timeout_seconds", "write `timeout`"),
    ("allowed_urls", "write `allow`"),
    (
        "args",
        "let the model choose the arguments, or use a node with `tool` and `args`",
    ),
]);

static APPROVAL: Table = Table::new(
    "approval",
    &[key(
        "when",
        Shape::Condition,
        "a person must agree where this holds for the arguments, such as `args.method != 'GET'`",
    )
    .required()],
);

/// A number of seconds, or text such as `1m 30s`.
pub(crate) const DURATION: Shape = Shape::Either(&[Shape::Above(0.0), Shape::Text]);

pub(crate) const INCLUDE: Key = key(
    "include",
    Shape::List(&Shape::Name, 0),
    "names of the server's tools that are used, with `*` and `?`",
);

pub(crate) const EXCLUDE: Key = key(
    "exclude",
    Shape::List(&Shape::Name, 0),
    "names of the server's tools that are not used, with `*` and `?`",
);

pub(crate) const EFFECTS: Key = key(
    "effects",
    Shape::Word(&["none", "idempotent", "once"]),
    "what repeating a call does; by default what is known of the tool",
);

/// A tool entry, read.
pub(crate) struct Tool<'a> {
    /// Absent where it is only a name.
    pub(crate) view: Option<View<'a>>,
    /// Where the entry stands.
    pub(crate) location: Location,
    pub(crate) name: Option<Text<'a>>,
    pub(crate) mcp: Option<Text<'a>>,
    pub(crate) workflow: Option<Text<'a>>,
}

impl<'a> Tool<'a> {
    pub(crate) fn read(item: &Item<'a>) -> Option<Self> {
        let location = item.location.clone();
        if let Some(name) = item.text() {
            return Some(Self {
                view: None,
                location,
                name: Some(name),
                mcp: None,
                workflow: None,
            });
        }
        let view = item.mapping(&TOOL)?;
        Some(Self {
            name: view.text("name"),
            mcp: view.text("mcp"),
            workflow: view.text("workflow"),
            location: view.head(),
            view: Some(view),
        })
    }

    /// Its `approval`, where that is more than `never`.
    pub(crate) fn approval(&self) -> Option<Item<'a>> {
        let item = self.view.as_ref()?.get("approval")?;
        let never = matches!(&item.node.data, Data::Text(text) if &*text.value == "never");
        (!never).then_some(item)
    }

    /// The condition of its `approval`.
    pub(crate) fn approval_condition(&self) -> Option<Text<'a>> {
        self.view
            .as_ref()?
            .mapping("approval", &APPROVAL)?
            .text("when")
    }

    pub(crate) fn config(&self) -> Map<String, Value> {
        let config = self.view.as_ref().and_then(|view| view.get("config"));
        match config.and_then(|config| config.node.to_value()) {
            Some(Value::Object(config)) => config,
            _ => Map::new(),
        }
    }

    pub(crate) fn continues_on_error(&self) -> bool {
        let view = self.view.as_ref();
        view.and_then(|view| view.string("on_error")).as_deref() == Some("continue")
    }

    pub(crate) fn retries(&self) -> u32 {
        let retries = self.view.as_ref().and_then(|view| view.int("retries"));
        retries
            .and_then(|retries| u32::try_from(retries).ok())
            .unwrap_or_default()
    }

    pub(crate) fn max_result_chars(&self) -> usize {
        let view = self.view.as_ref();
        view.and_then(|view| view.int("max_result_chars"))
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(MAX_RESULT_CHARS)
    }
}

/// `effects` of a tool or a server.
pub(crate) fn effects(view: &View<'_>) -> Option<Effects> {
    match view.string("effects")?.as_str() {
        "none" => Some(Effects::None),
        "idempotent" => Some(Effects::Idempotent),
        "once" => Some(Effects::Once),
        _ => None,
    }
}

/// The texts of a list, each with where it stands.
pub(crate) fn texts<'a>(view: &View<'a>, name: &str) -> Vec<Text<'a>> {
    let items = view.list(name).unwrap_or_default();
    items.iter().filter_map(Item::text).collect()
}
