//! `mcp_servers`: each can be reached in one way, by a name that fits into the names of its tools.

use std::collections::HashMap;

use super::context::Context;
use super::durations::duration;
use super::environment;
use crate::diagnostic::{code, quoted};
use crate::suggest::Suggestion;
use crate::syntax::File;
use crate::syntax::location::Location;
use crate::syntax::servers::{self, Server};
use crate::syntax::tools::{effects, texts};
use crate::syntax::view::{Item, View};
use crate::workflow::{McpServer, McpTransport, ToolFilter};

/// Longest name of a server, which is a prefix of the names of its tools.
const LONGEST_NAME: usize = 32;

/// The servers of a file.
pub(super) struct Servers<'a> {
    pub(super) list: Vec<McpServer>,
    /// As written, sound or not.
    written: Vec<Server<'a>>,
    index: HashMap<&'a str, usize>,
    used: Vec<bool>,
    /// False where there may be more servers than could be read.
    complete: bool,
}

impl Servers<'_> {
    /// Whether there is such a server, which is then in use. An unknown one is reported at
    /// `location`.
    pub(super) fn find(
        &mut self,
        name: &str,
        location: &Location,
        owner: &str,
        context: &mut Context<'_>,
    ) -> bool {
        if let Some(index) = self.index.get(name) {
            self.used[*index] = true;
            return true;
        }
        if self.complete {
            let names = self.written.iter().map(|server| &*server.name.text);
            let suggestion = context.suggest(name, names).unwrap_or_else(|| {
                Suggestion::advice("declare it under `mcp_servers` at the top of the file")
            });
            let message = format!("{owner}: there is no MCP server {}", quoted(name));
            context.error(code::UNKNOWN_SERVER, location, message, Some(suggestion));
        }
        false
    }

    /// Warns of servers that no node uses.
    pub(super) fn check_used(&self, context: &mut Context<'_>) {
        for (server, used) in self.written.iter().zip(&self.used) {
            if !used {
                let location = Location::new(server.item.location.path.clone(), server.name.span);
                let message = format!("{}: no node uses it", owner_of(server));
                let advice = format!(
                    "add `{{mcp: {}}}` to the `tools` of a node",
                    server.name.text
                );
                let advice = Suggestion::advice(advice);
                context.warning(code::NO_EFFECT, &location, message, Some(advice));
            }
        }
    }
}

/// Checks each server.
pub(super) fn lower<'a>(file: &File<'a>, context: &mut Context<'_>) -> Servers<'a> {
    let (written, complete) = servers::read(&file.view);
    let list = written
        .iter()
        .filter_map(|server| lower_server(server, context));
    Servers {
        list: list.collect(),
        index: written
            .iter()
            .enumerate()
            .map(|(index, server)| (&*server.name.text, index))
            .collect(),
        used: vec![false; written.len()],
        written,
        complete,
    }
}

fn owner_of(server: &Server<'_>) -> String {
    format!("MCP server {}", quoted(&server.name.text))
}

fn lower_server(server: &Server<'_>, context: &mut Context<'_>) -> Option<McpServer> {
    let owner = owner_of(server);
    check_name(server, &owner, context);
    let view = &server.view;
    let transport = transport(server, &owner, context);
    let timeout = duration(view, "timeout", &owner, context);
    Some(McpServer {
        name: server.name.text.to_string(),
        transport: transport?,
        timeout,
        required: view.bool("required").unwrap_or(true),
        filter: filter(view, &owner, context),
        effects: effects(view),
        pin: view.string("pin"),
    })
}

fn check_name(server: &Server<'_>, owner: &str, context: &mut Context<'_>) {
    let name = &*server.name.text;
    let sound = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && is_tool_name(name)
        && name.len() <= LONGEST_NAME
        && !name.contains("__")
        && !name.ends_with('_');
    if !sound {
        let location = Location::new(server.item.location.path.clone(), server.name.span);
        let message = format!("{owner}: the name cannot be part of a tool's name");
        let advice = format!(
            "use at most {LONGEST_NAME} letters, digits, `-` and single `_`, beginning with a letter and not ending with `_`"
        );
        context.error(
            code::MCP_SERVER,
            &location,
            message,
            Some(Suggestion::advice(advice)),
        );
    }
}

/// The characters that every provider takes in the name of a tool.
pub(super) fn is_tool_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn transport(server: &Server<'_>, owner: &str, context: &mut Context<'_>) -> Option<McpTransport> {
    let view = &server.view;
    let (url, command) = (view.get("url"), view.get("command"));
    match (url, command) {
        (Some(_), None) => {
            stray(view, &["env", "cwd"], "`url`", owner, context);
            let url = server.url.as_ref()?;
            if let Some(problem) = fault_of_url(&url.value) {
                let advice = Suggestion::advice("write it as `https://HOST/PATH`");
                let message = format!("{owner}: `url` {problem}");
                context.error(code::MCP_SERVER, &url.location, message, Some(advice));
                return None;
            }
            Some(McpTransport::Http {
                url: url.value.trim().to_owned(),
                headers: environment::headers(view, "headers", owner, context),
            })
        }
        (None, Some(command)) => {
            stray(view, &["headers"], "`command`", owner, context);
            let words = texts(view, "command");
            if words
                .first()
                .is_some_and(|program| program.value.trim().is_empty())
            {
                let message = format!("{owner}: `command` begins with an empty text");
                let advice = Suggestion::advice("begin with the program to run");
                context.error(code::MCP_SERVER, &command.location, message, Some(advice));
                return None;
            }
            Some(McpTransport::Child {
                command: words.iter().map(|word| word.value.to_string()).collect(),
                env: environment::variables(view, "env", owner, context),
                cwd: view.string("cwd"),
            })
        }
        (Some(_), Some(_)) => {
            let message = format!("{owner}: it has both `url` and `command`");
            let advice = Suggestion::advice("keep the one by which the server is reached");
            context.error(code::MCP_SERVER, &view.head(), message, Some(advice));
            None
        }
        (None, None) => {
            let message = format!("{owner}: it has neither `url` nor `command`");
            let advice = "write `url: https://…` or `command: [PROGRAM, ARGUMENT]`";
            let advice = Suggestion::advice(advice);
            context.error(code::MCP_SERVER, &view.head(), message, Some(advice));
            None
        }
    }
}

/// Keys that mean nothing beside another.
fn stray(view: &View<'_>, keys: &[&str], beside: &str, owner: &str, context: &mut Context<'_>) {
    for key in keys {
        if let Some(Item { location, .. }) = view.get(key) {
            let message = format!("{owner}: `{key}` has no effect beside {beside}");
            let advice = Suggestion::advice(format!("remove `{key}`"));
            context.warning(code::NO_EFFECT, &location, message, Some(advice));
        }
    }
}

/// What is wrong with the address of a server.
fn fault_of_url(url: &str) -> Option<&'static str> {
    let rest = url
        .trim()
        .split_once("://")
        .filter(|(scheme, _)| ["http", "https"].contains(&&*scheme.to_ascii_lowercase()))
        .map(|(_, rest)| rest);
    let Some(rest) = rest else {
        return Some("does not begin with `https://` or `http://`");
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = &rest[..end];
    if host.contains('@') {
        Some("holds a user name or a password; send it in `headers`")
    } else if host.is_empty() || rest.contains(char::is_whitespace) {
        Some("is not an address")
    } else {
        None
    }
}

/// `include` and `exclude`.
pub(super) fn filter(view: &View<'_>, owner: &str, context: &mut Context<'_>) -> ToolFilter {
    let mut patterns = |key: &str| -> Vec<String> {
        let mut list = Vec::new();
        for text in texts(view, key) {
            let is_pattern = |letter: char| !letter.is_control() && !letter.is_whitespace();
            if text.value.chars().all(is_pattern) {
                list.push(text.value.to_string());
            } else {
                let message = format!(
                    "{owner}: {} in `{key}` is not the name of a tool",
                    quoted(&text.value)
                );
                let advice = "write a name, or a pattern such as `get_*`";
                let advice = Suggestion::advice(advice);
                context.error(code::TOOL_NAME, &text.location, message, Some(advice));
            }
        }
        list
    };
    ToolFilter {
        include: patterns("include"),
        exclude: patterns("exclude"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_servers() {
        for url in [
            "https://a.example",
            "http://localhost:8000/mcp",
            " HTTPS://A/ ",
        ] {
            assert_eq!(fault_of_url(url), None, "{url}");
        }
        for url in [
            "a.example",
            "ftp://a",
            "https://",
            "https:///x",
            "https://u:p@a/",
            "http://a b",
        ] {
            assert!(fault_of_url(url).is_some(), "{url}");
        }
    }
}
