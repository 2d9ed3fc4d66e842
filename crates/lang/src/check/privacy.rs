//! What is sensitive, and what telemetry may keep.

use std::sync::Arc;

use super::context::Context;
use crate::diagnostic::{code, quoted};
use crate::suggest::Suggestion;
use crate::syntax::File;
use crate::syntax::node::Node as Written;
use crate::syntax::state::Field as WrittenField;
use crate::syntax::view::View;
use crate::types::Type;
use crate::workflow::{Capture, CaptureLevel, FanOut, Field, Node};

/// A field is sensitive where any node that writes it says so, and where it collects sensitive
/// values.
pub(super) fn mark_outputs<P>(fields: &mut [Field], nodes: &[Node], fan_outs: &[(FanOut, P)]) {
    for output in nodes.iter().flat_map(|node| &node.output.fields) {
        let field = &mut fields[output.target.0];
        field.sensitive |= output.field.sensitive;
        mark_inner(&mut field.ty, &output.field.ty);
    }
    for (fan_out, _) in fan_outs {
        let outputs = nodes.get(fan_out.target.0).map(|node| &node.output.fields);
        let gathers = outputs.into_iter().flatten().any(|output| {
            let field = &fields[output.target.0];
            field.sensitive || has_sensitive_part(&field.ty)
        });
        fields[fan_out.collect.0].sensitive |= gathers;
    }
}

/// Marks the inner fields of an object that are sensitive by another declaration of the same type.
pub(super) fn mark_inner(ty: &mut Type, other: &Type) {
    let (Type::Object(Some(schema)), Type::Object(Some(other))) = (ty, other) else {
        return;
    };
    if !other
        .fields
        .iter()
        .any(|field| field.sensitive || has_sensitive_part(&field.ty))
    {
        return;
    }
    for field in &mut Arc::make_mut(schema).fields {
        if let Some(other) = other.field(&field.name) {
            field.sensitive |= other.sensitive;
            mark_inner(&mut field.ty, &other.ty);
        }
    }
}

fn has_sensitive_part(ty: &Type) -> bool {
    match ty {
        Type::Object(Some(schema)) => schema
            .fields
            .iter()
            .any(|field| field.sensitive || has_sensitive_part(&field.ty)),
        _ => false,
    }
}

/// Sensitive values that stand in the file, and settings that contradict each other.
pub(super) fn check(file: &File<'_>, fields: &[Field], context: &mut Context<'_>) {
    let written = file.state.as_ref().map_or(&[][..], |state| &state.fields);
    for (written, field) in written.iter().zip(fields) {
        in_file(written, field, &field.name, false, context);
    }
    let observability = file.config.observability();
    let tracking = file.config.tracking();
    if let Some(settings) = &observability {
        contradiction(settings, tracking.as_ref(), "config.observability", context);
    }
    for node in &file.nodes {
        let owner = format!("node {}", quoted(&node.name()));
        contradiction(&node.view, Some(&node.view), &owner, context);
    }
}

fn in_file(
    written: &WrittenField<'_>,
    field: &Field,
    name: &str,
    inside: bool,
    context: &mut Context<'_>,
) {
    let sensitive = inside || field.sensitive;
    let Some(view) = &written.view else { return };
    if sensitive {
        for key in ["default", "enum"] {
            if let Some((_, item)) = view.entry(key)
                && view.get(key).is_some()
            {
                let message = format!(
                    "field {}: it is sensitive, but its `{key}` is in the file and in `/schema`, where everyone can read it",
                    quoted(name)
                );
                let advice = Suggestion::advice(
                    "let the caller give the value, or drop `sensitive` if it is not a secret",
                );
                context.warning(
                    code::SENSITIVE_IN_FILE,
                    &item.location,
                    message,
                    Some(advice),
                );
            }
        }
    }
    let Type::Object(Some(schema)) = &field.ty else {
        return;
    };
    let Some(inner) = view.get("schema") else {
        return;
    };
    for written in &WrittenField::read_all(&inner) {
        if let Some(field) = schema.field(&written.key.text) {
            let name = format!("{name}.{}", field.name);
            in_file(written, field, &name, sensitive, context);
        }
    }
}

/// `capture` wins over the switches of the Python original; a warning says so where the two
/// contradict.
fn contradiction(
    capture: &View<'_>,
    switches: Option<&View<'_>>,
    owner: &str,
    context: &mut Context<'_>,
) {
    let Some(word) = capture.string("capture").filter(|word| word != "full") else {
        return;
    };
    for name in ["log_prompts", "log_artifacts"] {
        let Some(switch) = switches.filter(|view| view.bool(name) == Some(true)) else {
            continue;
        };
        if let Some(item) = switch.get(name) {
            let message =
                format!("{owner}: `capture: {word}` withholds what `{name}: true` asks for");
            let advice = Suggestion::advice("drop one of the two; `capture` counts");
            context.warning(code::CAPTURE, &item.location, message, Some(advice));
        }
    }
}

pub(super) fn capture_of_workflow(file: &File<'_>) -> Capture {
    let observability = file.config.observability();
    let tracking = file.config.tracking();
    let switch = |name| {
        tracking
            .as_ref()
            .and_then(|view| view.bool(name))
            .unwrap_or(true)
    };
    Capture {
        level: observability.as_ref().and_then(level).unwrap_or_default(),
        prompts: switch("log_prompts"),
        artifacts: switch("log_artifacts"),
    }
}

/// Each of the three by itself: the node's own, else the workflow's.
pub(super) fn capture_of_node(node: &Written<'_>, file: &File<'_>) -> Capture {
    let workflow = capture_of_workflow(file);
    Capture {
        level: level(&node.view).unwrap_or(workflow.level),
        prompts: node.view.bool("log_prompts").unwrap_or(workflow.prompts),
        artifacts: node
            .view
            .bool("log_artifacts")
            .unwrap_or(workflow.artifacts),
    }
}

fn level(view: &View<'_>) -> Option<CaptureLevel> {
    match view.string("capture")?.as_str() {
        "none" => Some(CaptureLevel::None),
        "metadata" => Some(CaptureLevel::Metadata),
        "full" => Some(CaptureLevel::Full),
        _ => None,
    }
}
