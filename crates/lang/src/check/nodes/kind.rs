//! What kind of node it is, and keys that only other kinds have.

use crate::check::context::Context;
use crate::diagnostic::code;
use crate::suggest::Suggestion;
use crate::syntax::location::Location;
use crate::syntax::node::turns::ONLY_WITH_TOOLS;
use crate::syntax::node::{Kind, Node as Written};

/// Keys of a node that calls a tool.
const OF_TOOL: &[&str] = &["tool", "args"];

/// Keys of a node that asks a model, those for turns left out.
const OF_MODEL: &[&str] = &["prompt", "system", "output_schema", "llm", "tools"];

pub(super) fn check(node: &Written<'_>, owner: &str, context: &mut Context<'_>) {
    let kind = node.kind();
    let stated = node.stated_kind.as_ref();
    let missing: &[(&str, &str)] = match kind {
        Kind::Tool => &[("tool", "name the tool that the node calls")],
        Kind::Code => &[("code", "write the code that the node runs")],
        Kind::Model => &[],
    };
    for (key, advice) in missing {
        require(node, key, advice, owner, context);
    }
    // `tool` excuses the keys that every other kind of node needs.
    if node.view.get("tool").is_some() && kind != Kind::Tool {
        let needed = [
            ("output_schema", "add what must come back"),
            ("prompt", "add what the model is asked"),
        ];
        let keys = if kind == Kind::Model { 2 } else { 1 };
        for (key, advice) in needed.iter().take(keys) {
            if node.view.entry(key).is_none() {
                require(node, key, advice, owner, context);
            }
        }
    }
    if kind == Kind::Tool {
        let advice = "remove it, or ask a model with `prompt` and offer it the tool in `tools`";
        no_effect(node, OF_MODEL, "calls a tool", advice, owner, context);
        no_effect(
            node,
            ONLY_WITH_TOOLS,
            "calls a tool",
            advice,
            owner,
            context,
        );
        no_effect(
            node,
            &["code", "sandbox"],
            "calls a tool",
            "remove it, or `tool`",
            owner,
            context,
        );
    } else {
        let (what, advice) = match kind {
            Kind::Code => ("runs code", "remove it, or the code"),
            _ => (
                "asks a model",
                "offer the tool to the model with `tools: [NAME]`, or remove `prompt` to call it without one",
            ),
        };
        no_effect(node, OF_TOOL, what, advice, owner, context);
        if kind == Kind::Model && stated.is_some() {
            no_effect(
                node,
                &["code", "sandbox"],
                what,
                "remove it, or `kind`",
                owner,
                context,
            );
        }
    }
    if kind != Kind::Tool
        && let (Some(item), Some(_)) = (node.view.get("outputs"), &node.renamed_outputs)
    {
        let message = format!(
            "{owner}: `outputs` must be a list; only a node that calls a tool takes a mapping"
        );
        let advice = Suggestion::advice("list the state fields that the node writes");
        context.error(code::WRONG_TYPE, &item.location, message, Some(advice));
    }
}

/// Reports a key that is not there at all.
fn require(node: &Written<'_>, key: &str, advice: &str, owner: &str, context: &mut Context<'_>) {
    if node.view.get(key).is_none() {
        let head = node.view.head();
        let location = Location::new(head.path.key(key), head.span);
        let message = format!("{owner}: `{key}` is missing");
        let advice = Suggestion::advice(advice);
        context.error(code::MISSING_KEY, &location, message, Some(advice));
    }
}

fn no_effect(
    node: &Written<'_>,
    keys: &[&str],
    what: &str,
    advice: &str,
    owner: &str,
    context: &mut Context<'_>,
) {
    for key in keys {
        if let (Some((written, item)), Some(_)) = (node.view.entry(key), node.view.get(key)) {
            let location = Location::new(item.location.path.clone(), written.span);
            let message = format!("{owner}: `{key}` has no effect, because the node {what}");
            context.warning(
                code::NODE_KIND,
                &location,
                message,
                Some(Suggestion::advice(advice)),
            );
        }
    }
}
