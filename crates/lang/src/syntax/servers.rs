//! `mcp_servers`: where tools come from that are not built in.

use super::grammar::{Shape, Table, key};
use super::tools::{DURATION, EFFECTS, EXCLUDE, INCLUDE};
use super::view::{Item, Text, View};
use crate::yaml::Key;

pub(crate) const SERVERS: Shape = Shape::Open("MCP server", &Shape::Mapping(&SERVER), 0);

static SERVER: Table = Table::new(
    "mcp_server",
    &[
        key("url", Shape::Name, "address of a server that speaks HTTP"),
        key(
            "headers",
            Shape::Open("header", &Shape::Text, 0),
            "sent with each request; `${NAME}` stands for a variable of the environment",
        ),
        key(
            "command",
            Shape::List(&Shape::Text, 1),
            "program and arguments of a server that is started as a child process",
        ),
        key(
            "env",
            Shape::Open("variable", &Shape::Text, 0),
            "the environment of the child; `${NAME}` stands for a variable of flowmill's own",
        ),
        key("cwd", Shape::Name, "the working directory of the child"),
        key(
            "timeout",
            DURATION,
            "longest time for one request, such as `30s`",
        ),
        key(
            "required",
            Shape::Bool,
            "whether a run fails where the server cannot be reached",
        )
        .default("true"),
        INCLUDE,
        EXCLUDE,
        EFFECTS,
        key(
            "pin",
            Shape::Name,
            "SHA-256 of its names, descriptions and schemas of tools; another list is refused",
        ),
    ],
)
.ignored(&[
    (
        "args",
        "write program and arguments in one list: `command: [PROGRAM, ARGUMENT]`",
    ),
    (
        "type",
        "remove it; `url` or `command` says how the server is reached",
    ),
    (
        "transport",
        "remove it; `url` or `command` says how the server is reached",
    ),
]);

/// A server, read.
pub(crate) struct Server<'a> {
    pub(crate) name: &'a Key,
    /// The whole entry.
    pub(crate) item: Item<'a>,
    pub(crate) view: View<'a>,
    pub(crate) url: Option<Text<'a>>,
}

/// The servers of a file, and whether each could be read.
pub(crate) fn read<'a>(file: &View<'a>) -> (Vec<Server<'a>>, bool) {
    let Some(item) = file.get("mcp_servers") else {
        return (Vec::new(), true);
    };
    let Some(entries) = item.entries() else {
        return (Vec::new(), false);
    };
    let written = entries.len();
    let servers: Vec<_> = entries
        .into_iter()
        .filter_map(|(name, item)| {
            let view = item.mapping(&SERVER)?;
            Some(Server {
                name,
                url: view.text("url"),
                item,
                view,
            })
        })
        .collect();
    let complete = servers.len() == written;
    (servers, complete)
}
