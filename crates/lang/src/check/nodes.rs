//! Nodes: ids, inputs, prompts, tools, loops.

use std::collections::HashMap;

use super::conditions::{condition, template};
use super::fields::Fields;
use super::names::{NodeIds, ParallelItem, Scope, Variable};
use super::{Context, outputs};
use crate::diagnostic::{code, quoted};
use crate::suggest::Suggestion;
use crate::syntax::llm;
use crate::syntax::node::Node as Written;
use crate::syntax::view::View;
use crate::syntax::{File, tools};
use crate::template::Template;
use crate::types::Type;
use crate::workflow::{
    CodeNode, Exits, FieldId, ModelNode, Node, NodeId, NodeInput, NodeKind, Repeat, Tool,
};

static TEXT: Type = Type::Str;

/// Gathers the ids, and judges each.
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
                code::RESERVED_ID,
                &id.place,
                message,
                Some(Suggestion::advice("choose another id")),
            );
            continue;
        }
        if !is_identifier(name) {
            let message = format!(
                "node {}: an id is a word of letters, digits and `_` that begins with none of the digits",
                quoted(name)
            );
            context.error(code::NODE_ID, &id.place, message, None);
        }
        if ids.index.contains_key(name) {
            let message = format!("the id {} is taken by a node further up", quoted(name));
            context.error(
                code::DUPLICATE_NODE,
                &id.place,
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
    context: &mut Context<'_>,
) -> Vec<Node> {
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
            lower_node(node, exits, &state, file, context)
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
    context: &mut Context<'_>,
) -> Node {
    let owner = format!("node {}", quoted(&node.name()));
    let mut inputs = Vec::new();
    let mut variables: Vec<Variable<'_>> = Vec::new();
    let mut prompt = Template { pieces: Vec::new() };
    let mut until = None;
    if state.fields.known {
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
        let memory = node.memory.as_ref();
        for text in memory.map_or(&[][..], |memory| &memory.variables) {
            variables.push((&*text.value, None));
            inputs.push(NodeInput {
                name: text.value.to_string(),
                template: Template { pieces: Vec::new() },
            });
        }
        let scope = Scope {
            variables: &variables,
            ..state.clone()
        };
        for text in memory.map_or(&[][..], |memory| &memory.templates) {
            template(text, &scope, &[], &owner, context);
        }
        if let Some(text) = &node.prompt {
            let outputs = node.outputs.as_deref().unwrap_or_default();
            let asked_for: Vec<&str> = outputs.iter().map(|output| &*output.value).collect();
            prompt = template(text, &scope, &asked_for, &owner, context);
        }
        let after = Scope {
            item: None,
            ..state.clone()
        };
        until = node
            .repeat
            .as_ref()
            .and_then(|repeat| condition(repeat.until.as_ref()?, &after, &owner, context));
    }
    let output = outputs::lower(node, state.fields, &owner, context);
    let tools = node
        .tools
        .iter()
        .map(|tool| lower_tool(tool, &owner, context))
        .collect();
    let own = node
        .view
        .mapping("llm", &llm::LLM)
        .map(|view| llm::read(&view))
        .unwrap_or_default();
    Node {
        id: node.name(),
        description: node.view.string("description"),
        inputs,
        output,
        kind: match &node.code {
            Some(code) => NodeKind::Code(CodeNode {
                source: code.value.to_string(),
            }),
            None => NodeKind::Model(ModelNode {
                prompt,
                llm: llm::merge(own, &file.config.llm),
                tools,
            }),
        },
        exits,
        repeat: node.repeat.as_ref().map(|repeat| Repeat {
            until,
            max_iterations: super::edges::iterations(repeat.max_iterations),
            break_on_error: repeat.break_on_error,
        }),
        capture: super::privacy::capture_of_node(node, file),
    }
}

fn lower_tool(tool: &tools::Tool<'_>, owner: &str, context: &mut Context<'_>) -> Tool {
    let name = &*tool.name.value;
    if !tools::NAMES.contains(&name) {
        let documented = tools::DOCUMENTED
            .iter()
            .find(|(documented, _)| *documented == name);
        let suggestion = match documented {
            Some((_, meant)) => Some(Suggestion::meant(meant)),
            None => context.suggest(name, tools::NAMES.iter().copied()),
        };
        context.error(
            code::UNKNOWN_TOOL,
            &tool.name.place,
            format!("{owner}: there is no tool {}", quoted(name)),
            suggestion,
        );
    }
    Tool {
        name: name.to_owned(),
        continue_on_error: tool.continue_on_error,
        config: tool.config.clone(),
    }
}
