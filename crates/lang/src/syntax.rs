//! The file format: which keys there are, a file per construct, and reading them from the tree. The
//! tables that say so are the single source for checking shapes, for the JSON Schema of the
//! language and for the list of keys that a test compares with the reference. What names mean is
//! not known here.

pub(crate) mod advice;
pub(crate) mod budget;
pub(crate) mod config;
pub(crate) mod edge;
pub(crate) mod flow;
pub(crate) mod gates;
pub(crate) mod grammar;
pub(crate) mod kind;
pub(crate) mod lax;
pub(crate) mod llm;
pub(crate) mod location;
pub(crate) mod memory;
pub(crate) mod node;
pub(crate) mod optimization;
pub(crate) mod sandbox;
pub(crate) mod servers;
pub(crate) mod shape;
pub(crate) mod state;
pub(crate) mod tools;
pub(crate) mod view;

use grammar::{Shape, Table, key};
use view::{Item, View};

/// The version of the file format.
pub(crate) const VERSION: &str = "1.0";

/// The whole file.
pub(crate) static FILE: Table = Table::new(
    "workflow",
    &[
        key(
            "schema_version",
            Shape::Version,
            "version of the file format, always \"1.0\"",
        )
        .required(),
        key(
            "flow",
            Shape::Mapping(&flow::FLOW),
            "name and description of the workflow",
        )
        .required(),
        key(
            "state",
            Shape::Mapping(&state::STATE),
            "the values that inputs, nodes and outputs share",
        )
        .required(),
        key(
            "nodes",
            Shape::List(&Shape::Mapping(&node::NODE), 1),
            "the steps",
        )
        .required(),
        key(
            "edges",
            Shape::List(&Shape::Mapping(&edge::EDGE), 1),
            "which step follows which",
        )
        .required(),
        key(
            "config",
            Shape::Mapping(&config::CONFIG),
            "settings for all nodes",
        ),
        key(
            "budget",
            Shape::Mapping(&budget::BUDGET),
            "limits on what one run may spend",
        ),
        key(
            "mcp_servers",
            servers::SERVERS,
            "MCP servers by name, whose tools nodes may use",
        ),
        key(
            "additional_inputs",
            state::ADDITIONAL_INPUTS,
            "as `state.additional_inputs`",
        ),
        key(
            "optimization",
            Shape::Mapping(&optimization::OPTIMIZATION),
            "accepted; only its gates have an effect",
        ),
        key(
            "memory",
            Shape::Mapping(&memory::DEFAULTS),
            "accepted; changes nothing by itself",
        ),
    ],
)
.notes(&["metadata"])
.ignored(&[
    ("llm", "move it under `config`"),
    ("execution", "move it under `config`"),
    ("observability", "move it under `config`"),
    ("storage", "move it under `config`"),
    ("gates", "move it under `config`"),
    (
        "webhook",
        "remove it; webhooks are not part of the file format",
    ),
    (
        "webhooks",
        "remove it; webhooks are not part of the file format",
    ),
    (
        "agent",
        "remove it; only the Python original's documents show it",
    ),
    ("profiling", "remove it; every run is timed"),
    ("orchestration", "remove it; edges say what runs when"),
    ("name", "move it under `flow`"),
    ("description", "move it under `flow`"),
    (
        "version",
        "move it under `flow`; the version of the file format is `schema_version`",
    ),
    ("fields", "move it under `state`"),
    ("rules", "move it under `state`"),
    (
        "inputs",
        "declare each input as a field under `state.fields`",
    ),
    (
        "outputs",
        "declare each output as a field under `state.fields`",
    ),
    ("steps", "write `nodes`"),
    ("model", "write it under `config.llm`"),
    ("provider", "write it under `config.llm`"),
]);

/// The shape of the file.
pub(crate) static FILE_SHAPE: Shape = Shape::Mapping(&FILE);

/// The file as its sections, unsound ones absent.
pub(crate) struct File<'a> {
    pub(crate) view: View<'a>,
    pub(crate) flow: Option<flow::Flow>,
    pub(crate) state: Option<state::State<'a>>,
    pub(crate) nodes: Vec<node::Node<'a>>,
    pub(crate) edges: Vec<edge::Edge<'a>>,
    pub(crate) config: config::Config<'a>,
}

impl<'a> File<'a> {
    /// Reads a tree whose top is a mapping.
    pub(crate) fn read(root: &Item<'a>) -> Option<Self> {
        let view = root.mapping(&FILE)?;
        let items = |name: &str| view.list(name).unwrap_or_default();
        Some(Self {
            flow: view
                .mapping("flow", &flow::FLOW)
                .map(|flow| flow::Flow::read(&flow)),
            state: view
                .mapping("state", &state::STATE)
                .map(|state| state::State::read(&state)),
            nodes: items("nodes").iter().filter_map(node::Node::read).collect(),
            edges: items("edges").iter().filter_map(edge::Edge::read).collect(),
            config: config::Config::read(view.mapping("config", &config::CONFIG)),
            view,
        })
    }
}
