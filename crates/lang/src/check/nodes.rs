//! Nodes: ids, inputs, loops. What only one kind of node has is checked in a file of that kind,
//! also where the node is of another kind.

mod call;
mod code;
mod kind;
mod model;
mod tools;

use std::collections::HashMap;

use super::conditions::{condition, template};
use super::context::Context;
use super::llm::{self, GlobalLlm};
use super::names::{NodeIds, ParallelItem, Scope, Variable};
use super::outputs;
use super::scope::Fields;
use super::servers::Servers;
use crate::diagnostic::{self, quoted};
use crate::suggest::Suggestion;
use crate::syntax::File;
use crate::syntax::node::{Kind, Node as Written};
use crate::syntax::view::View;
use crate::template::Template;
use crate::types::Type;
use crate::workflow::{Exits, FieldId, Node, NodeId, NodeInput, NodeKind, Repeat};

static TEXT: Type = Type::Str;

/// Collects the ids and checks each.
pub(super) fn register<'a>(
    nodes: &'a [Written<'a>],
    file: &View<'_>,
    context: &mut Context<'_>,
) -> NodeIds<'a> {
    let listed = file.list("nodes");
    let mut ids = NodeIds {
        complete: listed.is_some_and(|list| list.len() == nodes.len()),
        ..NodeIds::default()
    };
    for (index, node) in nodes.iter().enumerate() {
        let Some(id) = &node.id else {
            ids.complete = false;
            continue;
        };
        let name = &*id.value;
        if matches!(name, "START" | "END") {
            let message = format!(
                "a node must not be called `{name}`; the name stands for the {} of the workflow",
                name.to_lowercase()
            );
            context.error(
                diagnostic::code::RESERVED_ID,
                &id.location,
                message,
                Some(Suggestion::advice("choose another id")),
            );
            continue;
        }
        if !is_identifier(name) {
            let message = format!(
                "node {}: an id is a word of letters, digits and `_` that does not begin with a digit",
                quoted(name)
            );
            context.error(diagnostic::code::NODE_ID, &id.location, message, None);
        }
        if ids.index.contains_key(name) {
            let message = format!(
                "the id {} is already taken by an earlier node",
                quoted(name)
            );
            context.error(
                diagnostic::code::DUPLICATE_NODE,
                &id.location,
                message,
                Some(Suggestion::advice("give each node an id of its own")),
            );
            continue;
        }
        ids.index.insert(name, NodeId(index));
        ids.names.push(name);
    }
    ids
}

fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    letters
        .next()
        .is_some_and(|first| first == '_' || unicode_ident::is_xid_start(first))
        && letters.all(unicode_ident::is_xid_continue)
}

/// The nodes. `items` holds the list fields whose items each target of a fan-out runs for.
pub(super) fn lower(
    file: &File<'_>,
    exits: Vec<Exits>,
    items: &HashMap<NodeId, Vec<FieldId>>,
    fields: &Fields<'_>,
    ids: &NodeIds<'_>,
    servers: &mut Servers<'_>,
    context: &mut Context<'_>,
) -> Vec<Node> {
    let global = llm::global(&file.config, fields, context);
    let lowered = file
        .nodes
        .iter()
        .zip(exits)
        .enumerate()
        .map(|(index, (node, exits))| {
            let item = items.get(&NodeId(index)).map(|lists| ParallelItem {
                ty: item_type(lists, fields),
            });
            let comparisons = context.comparisons.clone();
            let state = Scope {
                fields,
                nodes: Some(ids),
                variables: &[],
                item,
                comparisons,
                refuses_bare_fields: false,
            };
            lower_node(node, exits, &state, file, &global, servers, context)
        });
    lowered.collect()
}

/// The type of an item, where all lists agree on one.
fn item_type<'a>(lists: &[FieldId], fields: &'a Fields<'_>) -> Option<&'a Type> {
    let mut types = lists.iter().map(|list| match fields.ty(*list) {
        Some(Type::List(Some(item))) => Some(&**item),
        _ => None,
    });
    let first = types.next()??;
    types.all(|ty| ty == Some(first)).then_some(first)
}

fn lower_node(
    node: &Written<'_>,
    exits: Exits,
    state: &Scope<'_>,
    file: &File<'_>,
    global: &GlobalLlm<'_>,
    servers: &mut Servers<'_>,
    context: &mut Context<'_>,
) -> Node {
    let owner = format!("node {}", quoted(&node.name()));
    let is_known = state.fields.known;
    let mut inputs = Vec::new();
    let mut variables: Vec<Variable<'_>> = Vec::new();
    let memory = node.memory.as_ref().filter(|_| is_known);
    if is_known {
        for (key, text) in &node.inputs {
            let template = template(text, state, &[], &owner, context);
            // A lone placeholder keeps its value, of whatever type; everything else becomes text.
            variables.push((
                &*key.text,
                template.only_placeholder().is_none().then_some(&TEXT),
            ));
            inputs.push(NodeInput {
                name: key.text.to_string(),
                template,
            });
        }
        // What a memory read brings in is a variable of the node as well.
        for text in memory.map_or(&[][..], |memory| &memory.variables) {
            variables.push((&*text.value, None));
            inputs.push(NodeInput {
                name: text.value.to_string(),
                template: Template { pieces: Vec::new() },
            });
        }
    }
    let scope = Scope {
        variables: &variables,
        ..state.clone()
    };
    for text in memory.map_or(&[][..], |memory| &memory.templates) {
        template(text, &scope, &[], &owner, context);
    }
    kind::check(node, &owner, context);
    let model = model::lower(node, &scope, global, &owner, servers, context);
    let call =
        (node.kind() == Kind::Tool).then(|| call::lower(node, &scope, &owner, servers, context));
    let until = node.repeat.as_ref().filter(|_| is_known);
    let until = until.and_then(|repeat| {
        let after = Scope {
            item: None,
            ..state.clone()
        };
        condition(repeat.until.as_ref()?, &after, &owner, context)
    });
    let (kind, output) = match (call, &node.code) {
        (Some((call, output)), _) => (NodeKind::Tool(call), output),
        (None, code) => {
            let kind = match code.as_ref().filter(|_| node.kind() == Kind::Code) {
                Some(code) => NodeKind::Code(code::lower(code)),
                None => NodeKind::Model(model),
            };
            (kind, outputs::lower(node, state.fields, &owner, context))
        }
    };
    Node {
        id: node.name(),
        description: node.view.string("description"),
        inputs,
        output,
        kind,
        exits,
        repeat: node.repeat.as_ref().map(|repeat| Repeat {
            until,
            max_iterations: super::edges::iterations(repeat.max_iterations),
            break_on_error: repeat.break_on_error,
        }),
        capture: super::privacy::capture_of_node(node, file),
    }
}
