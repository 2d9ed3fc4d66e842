//! Checking the constraints of a field: whether they apply to its type and can be met at all.

use regex::Regex;

use super::context::Context;
use super::scope::Owner;
use crate::diagnostic::{code, quoted};
use crate::suggest::Suggestion;
use crate::syntax::advice;
use crate::syntax::location::Location;
use crate::syntax::view::View;
use crate::types::Type;
use crate::workflow::{Constraints, Field, Format};

/// Which constraints apply to which types.
const KINDS: &[(&str, &[&str])] = &[
    ("`str`", &["pattern", "min_length", "max_length", "format"]),
    ("`int` and `float`", &["minimum", "maximum"]),
    ("`list` and `dict`", &["min_items", "max_items"]),
];

pub(super) fn lower(
    view: &View<'_>,
    ty: &Type,
    owner: &Owner<'_>,
    context: &mut Context<'_>,
) -> Constraints {
    let kind = match ty {
        Type::Str => Some("`str`"),
        Type::Int | Type::Float => Some("`int` and `float`"),
        Type::List(_) | Type::Dict(_) => Some("`list` and `dict`"),
        Type::Bool | Type::Object(_) => None,
    };
    for (types, keys) in KINDS.iter().filter(|(types, _)| Some(*types) != kind) {
        for key in *keys {
            let Some((written, item)) = view.entry(key).filter(|_| view.get(key).is_some()) else {
                continue;
            };
            let message = format!("{owner}: `{key}` applies to {types}, and the field is `{ty}`");
            let location = Location::new(item.location.path, written.span);
            context.error(
                code::CONSTRAINT_KIND,
                &location,
                message,
                Some(Suggestion::advice(format!("remove `{key}`"))),
            );
        }
    }
    let count = |key: &str| view.int(key).and_then(|count| usize::try_from(count).ok());
    let constraints = Constraints {
        pattern: pattern(view, owner, context),
        min_length: count("min_length"),
        max_length: count("max_length"),
        minimum: view.float("minimum"),
        maximum: view.float("maximum"),
        allowed: allowed(view, ty, owner, context),
        format: view
            .string("format")
            .and_then(|format| Format::from_name(&format)),
        min_items: count("min_items"),
        max_items: count("max_items"),
    };
    let crossed = [
        (
            "min_length",
            "max_length",
            constraints.min_length > constraints.max_length && constraints.max_length.is_some(),
        ),
        (
            "minimum",
            "maximum",
            constraints.minimum > constraints.maximum && constraints.maximum.is_some(),
        ),
        (
            "min_items",
            "max_items",
            constraints.min_items > constraints.max_items && constraints.max_items.is_some(),
        ),
    ];
    for (least, most, _) in crossed.iter().filter(|(_, _, crossed)| *crossed) {
        let location = view
            .get(least)
            .map_or_else(|| view.head(), |item| item.location);
        let message = format!("{owner}: `{least}` is above `{most}`, so no value fits");
        context.error(code::BAD_CONSTRAINT, &location, message, None);
    }
    constraints
}

fn pattern(view: &View<'_>, owner: &Owner<'_>, context: &mut Context<'_>) -> Option<Regex> {
    let text = view.text("pattern")?;
    match context.patterns.compile(&text.value) {
        Ok(pattern) => Some(pattern),
        Err(problem) => {
            let message = format!(
                "{owner}: the pattern {} cannot be used: {problem}",
                quoted(&text.value)
            );
            context.error(code::BAD_CONSTRAINT, &text.location, message, None);
            None
        }
    }
}

fn allowed(
    view: &View<'_>,
    ty: &Type,
    owner: &Owner<'_>,
    context: &mut Context<'_>,
) -> Option<Vec<crate::value::Value>> {
    let field = Field {
        required: true,
        ..Field::named("", ty.clone())
    };
    let mut allowed = Vec::new();
    for item in view.list("enum")? {
        if let Some(Ok(value)) = item.node.to_value().map(|value| field.coerce(&value)) {
            allowed.push(value);
        } else {
            let message = format!("{owner}: {} in `enum` is not a `{ty}`", item.node.kind());
            let advice = (*ty == Type::Str)
                .then(|| advice::quotes(item.node, context.written(item.location.span)))
                .flatten();
            context.error(code::BAD_CONSTRAINT, &item.location, message, advice);
        }
    }
    Some(allowed)
}
