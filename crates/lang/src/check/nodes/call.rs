//! A node that calls a tool without a model: its arguments, and the keys of the result that it
//! writes.

use std::collections::HashSet;

use super::tools;
use crate::check::conditions::template;
use crate::check::context::Context;
use crate::check::names::Scope;
use crate::check::servers::Servers;
use crate::diagnostic::{code, quoted};
use crate::suggest::{self, Suggestion};
use crate::syntax::location::Location;
use crate::syntax::node::Node as Written;
use crate::syntax::node::tool::Call;
use crate::syntax::view::Item;
use crate::template::ValueTemplate;
use crate::tools::{BuiltIn, Kind, built_in};
use crate::types::Type;
use crate::workflow::{
    Field, FieldId, Output, OutputField, Tool, ToolNode, ToolOptions, ToolSource,
};
use crate::yaml::Data;

/// The node's call and its outputs. `scope` holds the node's own variables too.
pub(super) fn lower(
    node: &Written<'_>,
    scope: &Scope<'_>,
    owner: &str,
    servers: &mut Servers<'_>,
    context: &mut Context<'_>,
) -> (ToolNode, Output) {
    let call = node.call.as_ref();
    let tool = call.and_then(|call| {
        let tool = tools::lower_tool(&call.tool, owner, servers, context)?;
        if let ToolSource::Mcp { server, .. } = &tool.source {
            let message = format!("{owner}: `tool` names a server and not a tool");
            let advice = Suggestion::advice(format!("write `tool: {server}__TOOL`"));
            context.error(code::TOOL_ENTRY, &call.tool.location, message, Some(advice));
            return None;
        }
        Some(tool)
    });
    let built_in = tool.as_ref().and_then(|tool| match &tool.source {
        ToolSource::BuiltIn(name) => built_in(name),
        _ => None,
    });
    let args = call.map_or_else(Vec::new, |call| {
        if let Some(tool) = built_in {
            check_arguments(node, call, tool, owner, context);
        }
        let args = call.args.iter();
        args.map(|(name, item)| (name.text.to_string(), value(item, scope, owner, context)))
            .collect()
    });
    let output = Output {
        fields: outputs(node, scope, built_in, owner, context),
        wrapped: false,
        description: None,
    };
    let tool = tool.unwrap_or_else(|| Tool {
        source: ToolSource::BuiltIn(String::new()),
        options: ToolOptions::default(),
    });
    (ToolNode { tool, args }, output)
}

/// A value of the file with its texts read as templates.
fn value(
    item: &Item<'_>,
    scope: &Scope<'_>,
    owner: &str,
    context: &mut Context<'_>,
) -> ValueTemplate {
    if let Some(text) = item.text().filter(|_| scope.fields.known) {
        return ValueTemplate::Template(template(&text, scope, &[], owner, context));
    }
    if let Some(items) = item.list() {
        let items = items.iter();
        return ValueTemplate::List(
            items
                .map(|item| value(item, scope, owner, context))
                .collect(),
        );
    }
    if let Some(entries) = item.entries() {
        let entries = entries.iter();
        return ValueTemplate::Object(
            entries
                .map(|(key, item)| (key.text.to_string(), value(item, scope, owner, context)))
                .collect(),
        );
    }
    ValueTemplate::Value(item.node.to_value().unwrap_or_default())
}

fn check_arguments(
    node: &Written<'_>,
    call: &Call<'_>,
    tool: &BuiltIn,
    owner: &str,
    context: &mut Context<'_>,
) {
    for (name, item) in &call.args {
        let Some(argument) = tool.argument(&name.text) else {
            let location = Location::new(item.location.path.clone(), name.span);
            let message = format!(
                "{owner}: the tool `{}` has no argument {}",
                tool.name,
                quoted(&name.text)
            );
            let known = tool.arguments.iter().map(|argument| argument.name);
            let suggestion = context.suggest(&name.text, known);
            context.error(code::TOOL_ARGUMENT, &location, message, suggestion);
            continue;
        };
        let absent = matches!(item.node.data, Data::Null) && !argument.is_required();
        if !absent && !fits(&item.node.data, argument.kind) {
            let message = format!(
                "{owner}: the argument `{}` of `{}` must be {}, not {}",
                argument.name,
                tool.name,
                describe(argument.kind),
                item.node.kind()
            );
            let written = context.written(item.location.span);
            let advice = match argument.kind {
                Kind::Text => crate::syntax::advice::quotes(item.node, written),
                _ => None,
            };
            context.error(code::TOOL_ARGUMENT, &item.location, message, advice);
        }
    }
    let given: HashSet<&str> = call.args.iter().map(|(name, _)| &*name.text).collect();
    let missing: Vec<&str> = tool
        .arguments
        .iter()
        .filter(|argument| argument.is_required() && !given.contains(argument.name))
        .map(|argument| argument.name)
        .collect();
    if !missing.is_empty() {
        let location = node
            .view
            .get("args")
            .map_or_else(|| call.tool.location.clone(), |args| args.location);
        let location = Location::new(node.view.location.path.key("args"), location.span);
        let list = suggest::known_list(missing.iter().copied());
        let message = format!("{owner}: the tool `{}` also needs {list}", tool.name);
        let advice = Suggestion::advice(format!("add to `args`: {list}"));
        context.error(code::TOOL_ARGUMENT, &location, message, Some(advice));
    }
}

/// Whether a value as written can be of that kind. A text may be a placeholder that becomes
/// anything.
fn fits(data: &Data, kind: Kind) -> bool {
    let is_placeholder = |text: &str| text.trim().starts_with('{') && text.trim().ends_with('}');
    match (kind, data) {
        (Kind::Any, _)
        | (Kind::Text, Data::Text(_))
        | (Kind::Bool, Data::Bool(_))
        | (Kind::List, Data::List(_))
        | (Kind::Object, Data::Map(_)) => true,
        (_, Data::Text(text)) => is_placeholder(&text.value),
        (Kind::Int, Data::Number(number)) => number.is_i64() || number.is_u64(),
        _ => false,
    }
}

fn describe(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Int => "a whole number",
        Kind::Bool => "true or false",
        Kind::List => "a list",
        Kind::Object => "a mapping",
        Kind::Any => "any value",
    }
}

/// The fields that the node writes, each from a key of the result: of its own name, or as the
/// mapping says.
fn outputs(
    node: &Written<'_>,
    scope: &Scope<'_>,
    tool: Option<&BuiltIn>,
    owner: &str,
    context: &mut Context<'_>,
) -> Vec<OutputField> {
    let listed = node.outputs.iter().flatten().map(|text| {
        let name = &*text.value;
        (name, name, text.location.clone(), text.location.clone())
    });
    let renamed = node.renamed_outputs.iter().flatten().map(|(field, key)| {
        let path = key.location.path.clone();
        let of_field = Location::new(path, field.span);
        (&*field.text, &*key.value, of_field, key.location.clone())
    });
    let written: Vec<_> = listed.chain(renamed).collect();
    let is_read = node.outputs.is_some() || node.renamed_outputs.is_some();
    if written.is_empty() && is_read {
        let location = node
            .view
            .get("outputs")
            .map_or_else(|| node.view.head(), |item| item.location);
        let message = format!("{owner}: `outputs` must not be empty");
        let advice = Suggestion::advice("name a state field and the key of the result it takes");
        context.error(code::EMPTY, &location, message, Some(advice));
    }
    let fields = scope.fields;
    let mut outputs = Vec::new();
    let mut seen = HashSet::new();
    for (name, key, of_field, of_key) in written {
        if !seen.insert(name) {
            let message = format!("{owner}: the output {} is listed twice", quoted(name));
            context.warning(code::DUPLICATE_OUTPUT, &of_field, message, None);
            continue;
        }
        let target = fields.id(name);
        if target.is_none() && fields.known {
            let message = format!("{owner}: the output {} is not a state field", quoted(name));
            let suggestion = context.suggest(name, fields.names());
            context.error(code::UNKNOWN_OUTPUT, &of_field, message, suggestion);
        }
        let result = tool.and_then(|tool| tool.result(key));
        if let (Some(tool), None) = (tool, result) {
            let message = format!(
                "{owner}: the result of `{}` has no key {}",
                tool.name,
                quoted(key)
            );
            let known = tool.results.iter().map(|result| result.name);
            let suggestion = context.suggest(key, known);
            context.error(code::RESULT_KEY, &of_key, message, suggestion);
        }
        let Some(target) = target else { continue };
        if let (Some(result), Some(ty)) = (result, fields.ty(target))
            && !can_hold(ty, result.kind)
        {
            let message = format!(
                "{owner}: `{}` is {}, but the state field {} is `{ty}`",
                result.name,
                describe(result.kind),
                quoted(name)
            );
            context.error(code::OUTPUT_TYPE, &of_field, message, None);
        }
        outputs.push(output_field(key, target, &fields.list[target.0]));
    }
    outputs
}

/// Whether a field can take values of that kind, by the rules of coercion.
fn can_hold(ty: &Type, kind: Kind) -> bool {
    match kind {
        // Text may read as a number or a truth value.
        Kind::Text => !matches!(ty, Type::List(_) | Type::Dict(_) | Type::Object(_)),
        Kind::Int => matches!(ty, Type::Int | Type::Float),
        Kind::Bool => matches!(ty, Type::Bool | Type::Int | Type::Float),
        Kind::List => matches!(ty, Type::List(_)),
        Kind::Object => matches!(ty, Type::Dict(_) | Type::Object(_)),
        Kind::Any => true,
    }
}

/// What comes back for a state field. A key without a value is null, which fits where the field is
/// optional.
fn output_field(key: &str, target: FieldId, state: &Field) -> OutputField {
    OutputField {
        key: key.to_owned(),
        nullable: !state.required && state.default.is_none(),
        field: Field {
            required: true,
            description: state.description.clone(),
            sensitive: state.sensitive,
            constraints: state.constraints.clone(),
            checks: state.checks.clone(),
            ..Field::named(key, state.ty.clone())
        },
        target,
    }
}
