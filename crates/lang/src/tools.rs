//! What a workflow file has to know of the built-in tools: their names, their arguments and the
//! keys of their results. What they do, and the limits they keep, is not known here; the crate that
//! executes them must agree with this table.

/// A built-in tool.
#[derive(Debug)]
pub struct BuiltIn {
    /// The name that files and models use.
    pub name: &'static str,
    /// Required ones first.
    pub arguments: &'static [Argument],
    /// The keys of a result. A result that is one text has the key `result`.
    pub results: &'static [ResultKey],
    /// Whether it sends requests to addresses that its caller chooses, so that `allow` can restrict
    /// them.
    pub takes_addresses: bool,
}

/// An argument of a built-in tool.
#[derive(Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its value where none is given, as JSON; `null` for none.
    pub default: Option<&'static str>,
}

impl Argument {
    /// Whether a call must give it.
    pub const fn is_required(&self) -> bool {
        self.default.is_none()
    }
}

/// A key of a tool's result.
#[derive(Debug)]
pub struct ResultKey {
    /// Its name.
    pub name: &'static str,
    /// What it holds. A key whose value is not known may be null.
    pub kind: Kind,
}

/// Kinds of values, as far as a file can be held to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Int,
    /// True or false.
    Bool,
    /// A list of anything.
    List,
    /// An object.
    Object,
    /// Anything.
    Any,
}

const fn required(name: &'static str, kind: Kind) -> Argument {
    Argument {
        name,
        kind,
        default: None,
    }
}

const fn optional(name: &'static str, kind: Kind, default: &'static str) -> Argument {
    Argument {
        name,
        kind,
        default: Some(default),
    }
}

const fn result(name: &'static str, kind: Kind) -> ResultKey {
    ResultKey { name, kind }
}

/// What went wrong; null where nothing did.
const ERROR: ResultKey = result("error", Kind::Text);

const fn tool(
    name: &'static str,
    arguments: &'static [Argument],
    results: &'static [ResultKey],
) -> BuiltIn {
    BuiltIn {
        name,
        arguments,
        results,
        takes_addresses: false,
    }
}

impl BuiltIn {
    const fn with_addresses(mut self) -> Self {
        self.takes_addresses = true;
        self
    }

    /// The argument of that name.
    pub fn argument(&self, name: &str) -> Option<&'static Argument> {
        self.arguments.iter().find(|argument| argument.name == name)
    }

    /// The key of that name.
    pub fn result(&self, name: &str) -> Option<&'static ResultKey> {
        self.results.iter().find(|result| result.name == name)
    }
}

/// The built-in tool of that name.
pub fn built_in(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|tool| tool.name == name)
}

/// All built-in tools.
pub static BUILT_IN: &[BuiltIn] = &[
    tool(
        "serper_search",
        &[required("query", Kind::Text)],
        &[result("result", Kind::Text), ERROR],
    ),
    tool(
        "web_search",
        &[
            required("query", Kind::Text),
            optional("num_results", Kind::Int, "10"),
        ],
        &[
            result("results", Kind::List),
            result("provider", Kind::Text),
            ERROR,
        ],
    ),
    tool(
        "web_scrape",
        &[
            required("url", Kind::Text),
            optional("selector", Kind::Text, "null"),
        ],
        &[
            result("url", Kind::Text),
            result("title", Kind::Text),
            result("content", Kind::Text),
            result("extracted_text", Kind::Text),
            ERROR,
        ],
    )
    .with_addresses(),
    tool(
        "http_client",
        &[
            required("method", Kind::Text),
            required("url", Kind::Text),
            optional("headers", Kind::Object, "null"),
            optional("body", Kind::Any, "null"),
        ],
        &[
            result("status_code", Kind::Int),
            result("headers", Kind::Object),
            result("body", Kind::Any),
            ERROR,
        ],
    )
    .with_addresses(),
    tool(
        "file_read",
        &[
            required("path", Kind::Text),
            optional("encoding", Kind::Text, "\"utf-8\""),
        ],
        &[
            result("path", Kind::Text),
            result("content", Kind::Text),
            result("size", Kind::Int),
            ERROR,
        ],
    ),
    tool(
        "file_write",
        &[
            required("path", Kind::Text),
            required("content", Kind::Text),
            optional("encoding", Kind::Text, "\"utf-8\""),
        ],
        &[
            result("path", Kind::Text),
            result("bytes_written", Kind::Int),
            ERROR,
        ],
    ),
    tool(
        "file_glob",
        &[
            required("pattern", Kind::Text),
            optional("base_path", Kind::Text, "\".\""),
        ],
        &[
            result("pattern", Kind::Text),
            result("matches", Kind::List),
            ERROR,
        ],
    ),
    tool(
        "file_move",
        &[required("source", Kind::Text), required("dest", Kind::Text)],
        &[
            result("source", Kind::Text),
            result("dest", Kind::Text),
            result("success", Kind::Bool),
            ERROR,
        ],
    ),
    tool(
        "sql_query",
        &[
            required("query", Kind::Text),
            optional("connection_string", Kind::Text, "\"sqlite:///:memory:\""),
        ],
        &[
            result("rows", Kind::List),
            result("columns", Kind::List),
            result("row_count", Kind::Int),
            ERROR,
        ],
    ),
    tool(
        "dataframe_to_csv",
        &[
            required("data", Kind::Any),
            required("path", Kind::Text),
            optional("index", Kind::Bool, "false"),
        ],
        &[
            result("path", Kind::Text),
            result("rows_written", Kind::Int),
            ERROR,
        ],
    ),
    tool(
        "json_parse",
        &[required("json_string", Kind::Text)],
        &[result("parsed", Kind::Any), ERROR],
    ),
    tool(
        "yaml_parse",
        &[required("yaml_string", Kind::Text)],
        &[result("parsed", Kind::Any), ERROR],
    ),
    tool(
        "shell",
        &[
            required("command", Kind::Text),
            optional("timeout", Kind::Int, "30"),
        ],
        &[
            result("stdout", Kind::Text),
            result("stderr", Kind::Text),
            result("returncode", Kind::Int),
            ERROR,
        ],
    ),
    tool(
        "process",
        &[
            required("command", Kind::Text),
            optional("args", Kind::List, "[]"),
        ],
        &[
            result("pid", Kind::Int),
            result("status", Kind::Text),
            ERROR,
        ],
    ),
    tool(
        "env_vars",
        &[optional("pattern", Kind::Text, "\"*\"")],
        &[result("vars", Kind::Object), ERROR],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The fifteen tools of the format, each with required arguments first and sound defaults.
    #[test]
    fn the_table_is_sound() {
        assert_eq!(BUILT_IN.len(), 15);
        for tool in BUILT_IN {
            assert_eq!(built_in(tool.name).map(|tool| tool.name), Some(tool.name));
            assert!(
                tool.arguments
                    .is_sorted_by_key(|argument| !argument.is_required()),
                "{}",
                tool.name
            );
            assert!(tool.result("error").is_some(), "{}", tool.name);
            for argument in tool.arguments {
                let default = argument.default.unwrap_or("null");
                let value = serde_json::from_str::<crate::value::Value>(default);
                assert!(value.is_ok(), "{}: {default}", tool.name);
            }
        }
    }
}
