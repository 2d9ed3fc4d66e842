//! Tools that a node offers to its model or calls itself.

use std::collections::HashSet;

use crate::check::context::Context;
use crate::check::durations::duration;
use crate::check::servers::{Servers, filter, is_tool_name};
use crate::diagnostic::{code, quoted};
use crate::expr;
use crate::suggest::Suggestion;
use crate::syntax::location::Location;
use crate::syntax::node::turns::Turns;
use crate::syntax::tools::{self, DOCUMENTED, Tool as Written, texts};
use crate::syntax::view::{Item, Text, View};
use crate::tools::{BUILT_IN, built_in};
use crate::workflow::{Approval, Effects, Tool, ToolChoice, ToolOptions, ToolSource, ToolUse};

/// What stands between the name of a server and that of its tool.
const SEPARATOR: &str = "__";

/// Longest name of a tool that every provider takes.
const LONGEST_NAME: usize = 64;

/// What the node's model may call.
pub(super) fn lower(
    turns: &Turns<'_>,
    owner: &str,
    servers: &mut Servers<'_>,
    context: &mut Context<'_>,
) -> ToolUse {
    let mut offered: Vec<Tool> = Vec::new();
    let mut seen = HashSet::new();
    for written in &turns.tools {
        let Some(tool) = lower_tool(written, owner, servers, context) else {
            continue;
        };
        if let Some(name) = name_of(&tool.source)
            && !seen.insert(name.clone())
        {
            let message = format!(
                "{owner}: the tool {} is listed twice; only the first entry counts",
                quoted(&name)
            );
            let advice = Suggestion::advice("remove one of the entries");
            context.warning(code::TOOL_TWICE, &written.location, message, Some(advice));
            continue;
        }
        offered.push(tool);
    }
    if turns.tools.is_empty() && turns.complete {
        for (key, item) in turns.settings() {
            let message =
                format!("{owner}: `{key}` has no effect, because the node has no `tools`");
            let advice = Suggestion::advice(format!("add `tools`, or remove `{key}`"));
            context.warning(code::NO_EFFECT, &item.location, message, Some(advice));
        }
    }
    ToolUse {
        choice: choice(turns, &offered, owner, context),
        offered,
        ..turns.limits()
    }
}

/// What tells an entry from the others of a list: the name that a model is told, or the server
/// whose tools are all offered.
fn name_of(source: &ToolSource) -> Option<String> {
    match source {
        ToolSource::BuiltIn(name) => Some(name.clone()),
        ToolSource::McpTool { server, tool } => Some(format!("{server}{SEPARATOR}{tool}")),
        ToolSource::Mcp { server, filter } if filter.include.is_empty() => Some(server.clone()),
        ToolSource::Mcp { .. } => None,
        ToolSource::Workflow { file } => Some(file.clone()),
    }
}

fn choice(
    turns: &Turns<'_>,
    offered: &[Tool],
    owner: &str,
    context: &mut Context<'_>,
) -> ToolChoice {
    let Some(first) = &turns.first else {
        return if turns.required {
            ToolChoice::Required
        } else {
            ToolChoice::Auto
        };
    };
    let name = &*first.value;
    let may_be_offered = |tool: &Tool| match &tool.source {
        ToolSource::BuiltIn(known) => known == name,
        ToolSource::McpTool { .. } => name_of(&tool.source).as_deref() == Some(name),
        ToolSource::Mcp { server, .. } => name
            .strip_prefix(server.as_str())
            .is_some_and(|rest| rest.starts_with(SEPARATOR)),
        ToolSource::Workflow { .. } => true,
    };
    let all_known = turns.complete && offered.len() == turns.tools.len();
    if all_known && !offered.is_empty() && !offered.iter().any(may_be_offered) {
        let message = format!(
            "{owner}: `tool_choice` names {}, which is not among its tools",
            quoted(name)
        );
        let names: Vec<String> = offered
            .iter()
            .filter_map(|tool| name_of(&tool.source))
            .collect();
        let suggestion = context.suggest(name, names.iter().map(String::as_str));
        context.error(code::TOOL_CHOICE, &first.location, message, suggestion);
    }
    ToolChoice::Tool(name.to_owned())
}

/// One tool; `None` where it is unknown.
pub(super) fn lower_tool(
    written: &Written<'_>,
    owner: &str,
    servers: &mut Servers<'_>,
    context: &mut Context<'_>,
) -> Option<Tool> {
    let source = source(written, owner, servers, context);
    let options = match &written.view {
        Some(view) => options(written, view, source.as_ref(), owner, context),
        None => ToolOptions::default(),
    };
    Some(Tool {
        source: source?,
        options,
    })
}

fn source(
    written: &Written<'_>,
    owner: &str,
    servers: &mut Servers<'_>,
    context: &mut Context<'_>,
) -> Option<ToolSource> {
    match (&written.name, &written.mcp, &written.workflow) {
        (Some(name), None, None) => named(name, owner, servers, context),
        (None, Some(server), None) => {
            let filter = written
                .view
                .as_ref()
                .map(|view| filter(view, owner, context));
            let known = servers.find(&server.value, &server.location, owner, context);
            known.then(|| ToolSource::Mcp {
                server: server.value.to_string(),
                filter: filter.unwrap_or_default(),
            })
        }
        (None, None, Some(file)) => Some(ToolSource::Workflow {
            file: file.value.to_string(),
        }),
        // The missing name has been reported.
        (None, None, None) => None,
        (_, server, _) => {
            if let Some(server) = server {
                servers.find(&server.value, &server.location, owner, context);
            }
            let message =
                format!("{owner}: a tool has one of `name`, `mcp` and `workflow`, not several");
            let advice = Suggestion::advice("write an entry for each");
            context.error(code::TOOL_ENTRY, &written.location, message, Some(advice));
            None
        }
    }
}

/// A built-in tool, or `server__tool`.
fn named(
    text: &Text<'_>,
    owner: &str,
    servers: &mut Servers<'_>,
    context: &mut Context<'_>,
) -> Option<ToolSource> {
    let name = &*text.value;
    if built_in(name).is_some() {
        return Some(ToolSource::BuiltIn(name.to_owned()));
    }
    if let Some((server, tool)) = name.split_once(SEPARATOR) {
        if !is_tool_name(name) || name.len() > LONGEST_NAME || tool.is_empty() {
            let message = format!("{owner}: {} cannot be the name of a tool", quoted(name));
            let advice = format!(
                "a tool of an MCP server is `SERVER__TOOL`, at most {LONGEST_NAME} letters, digits, `_` and `-`"
            );
            let advice = Suggestion::advice(advice);
            context.error(code::TOOL_NAME, &text.location, message, Some(advice));
            return None;
        }
        let known = servers.find(server, &text.location, owner, context);
        return known.then(|| ToolSource::McpTool {
            server: server.to_owned(),
            tool: tool.to_owned(),
        });
    }
    let documented = DOCUMENTED
        .iter()
        .find(|(documented, _)| *documented == name);
    let suggestion = match documented {
        Some((_, meant)) => Some(Suggestion::meant(meant)),
        None => context.suggest(name, BUILT_IN.iter().map(|tool| tool.name)),
    };
    let message = format!("{owner}: there is no tool {}", quoted(name));
    context.error(code::UNKNOWN_TOOL, &text.location, message, suggestion);
    None
}

fn options(
    written: &Written<'_>,
    view: &View<'_>,
    source: Option<&ToolSource>,
    owner: &str,
    context: &mut Context<'_>,
) -> ToolOptions {
    let options = ToolOptions {
        continue_on_error: written.continues_on_error(),
        timeout: duration(view, "timeout", owner, context),
        retries: written.retries(),
        effects: tools::effects(view),
        approval: approval(written, owner, context),
        allow: allow(view, source, owner, context),
        max_result_chars: written.max_result_chars(),
        config: written.config(),
    };
    let is_mcp = !matches!(
        source,
        Some(ToolSource::BuiltIn(_) | ToolSource::McpTool { .. } | ToolSource::Workflow { .. })
    );
    for key in ["include", "exclude"] {
        if let Some(item) = view.get(key).filter(|_| !is_mcp) {
            without_effect(
                key,
                &item,
                "it names tools of an MCP server",
                owner,
                context,
            );
        }
    }
    if options.effects == Some(Effects::Once)
        && options.retries > 0
        && let Some(item) = view.get("retries")
    {
        let why = "a call with `effects: once` is never repeated";
        without_effect("retries", &item, why, owner, context);
    }
    options
}

fn without_effect(key: &str, item: &Item<'_>, why: &str, owner: &str, context: &mut Context<'_>) {
    let message = format!("{owner}: `{key}` of a tool has no effect here, because {why}");
    let advice = Suggestion::advice(format!("remove `{key}`"));
    context.warning(code::TOOL_OPTION, &item.location, message, Some(advice));
}

/// The form of an approval's condition is checked; what it can name is known once approvals exist.
fn approval(written: &Written<'_>, owner: &str, context: &mut Context<'_>) -> Approval {
    if let Some(text) = written.approval_condition()
        && let Err(error) = expr::parse(&text.value)
    {
        let span = text.locator(context.text).locate(error.span);
        let location = Location::new(text.location.path.clone(), span);
        let message = format!("{owner}: the condition cannot be read: {}", error.message);
        context.error(code::CONDITION_SYNTAX, &location, message, error.suggestion);
    }
    match written.approval() {
        Some(_) => Approval::Asked,
        None => Approval::Never,
    }
}

fn allow(
    view: &View<'_>,
    source: Option<&ToolSource>,
    owner: &str,
    context: &mut Context<'_>,
) -> Vec<String> {
    let takes_addresses = match source {
        Some(ToolSource::BuiltIn(name)) => built_in(name).is_some_and(|tool| tool.takes_addresses),
        Some(_) => false,
        None => true,
    };
    if let Some(item) = view.get("allow").filter(|_| !takes_addresses) {
        // A limit that does not hold is worse than none.
        let message = format!("{owner}: `allow` does not limit this tool");
        let names = BUILT_IN.iter().filter(|tool| tool.takes_addresses);
        let known = crate::suggest::known_list(names.map(|tool| tool.name));
        let advice = Suggestion::advice(format!("remove it; it limits the addresses of {known}"));
        context.error(code::TOOL_OPTION, &item.location, message, Some(advice));
        return Vec::new();
    }
    let mut patterns = Vec::new();
    for text in texts(view, "allow") {
        match fault_of_pattern(&text.value) {
            None => patterns.push(text.value.to_string()),
            Some(problem) => {
                let message = format!("{owner}: {} in `allow` {problem}", quoted(&text.value));
                let advice = "write an address such as `https://api.example.com/*` or `https://*.example.com/*`";
                let advice = Suggestion::advice(advice);
                context.error(code::TOOL_OPTION, &text.location, message, Some(advice));
            }
        }
    }
    patterns
}

/// What is wrong with a pattern of addresses. `*` stands for a whole host or for the labels at its
/// left, because `https://example.com*` would fit `https://example.com.evil.example`.
fn fault_of_pattern(pattern: &str) -> Option<&'static str> {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| pattern.strip_prefix(scheme));
    let Some(rest) = rest else {
        return Some("does not begin with `https://` or `http://`");
    };
    let (host, _) = rest.split_once('/').unwrap_or((rest, ""));
    let labels = host.strip_prefix("*.").unwrap_or(host);
    if host.is_empty() || host.contains(['?', '#', '@']) || rest.contains(char::is_whitespace) {
        Some("is not an address")
    } else if host != "*" && (labels.is_empty() || labels.contains('*')) {
        Some("has a `*` inside its host")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pattern cannot be read as a wider one than it looks like.
    #[test]
    fn patterns_of_addresses() {
        for sound in [
            "https://api.example.com/*",
            "https://*.example.com/*",
            "http://localhost:8080/a?b=*",
            "https://*/x",
            "https://example.com",
        ] {
            assert_eq!(fault_of_pattern(sound), None, "{sound}");
        }
        for unsound in [
            "api.example.com/*",
            "*://a/",
            "https://",
            "https:///x",
            "https://example.com*",
            "https://*example.com/",
            "https://api.*.com/",
            "https://user@example.com/",
            "https://*./",
        ] {
            assert!(fault_of_pattern(unsound).is_some(), "{unsound}");
        }
    }
}
