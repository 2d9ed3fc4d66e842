//! State fields and the inner fields of objects: types, defaults, constraints, checks.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::context::Context;
use super::names::OwnValue;
use super::scope::{Fields, Owner};
use super::{conditions, constraints};
use crate::diagnostic::{code, quoted};
use crate::fault::{Fault, FaultKind, PathSegment};
use crate::source::Span;
use crate::suggest::Suggestion;
use crate::syntax::advice;
use crate::syntax::location::{Location, Path};
use crate::syntax::state::{Field as Written, State};
use crate::syntax::view::{Item, Text, View};
use crate::types::{ObjectSchema, Type};
use crate::value::Value;
use crate::workflow::{Field, FieldId};
use crate::yaml::{Data, Node};

pub(super) fn lower<'a>(state: Option<&State<'a>>, context: &mut Context<'_>) -> Fields<'a> {
    let written = state.map_or(&[][..], |state| &state.fields);
    let mut fields = Fields {
        list: Vec::new(),
        typed: Vec::new(),
        index: HashMap::new(),
        known: !written.is_empty(),
    };
    let names: HashSet<&str> = written.iter().map(|field| &*field.key.text).collect();
    for field in written {
        let name = &*field.key.text;
        fields.index.insert(name, FieldId(fields.list.len()));
        let owner = Owner {
            what: "field",
            name: name.to_owned(),
        };
        let (lowered, typed) = lower_field(field, &names, &owner, context);
        fields.list.push(lowered);
        fields.typed.push(typed);
    }
    fields
}

/// The field, and whether its type could be read.
fn lower_field(
    written: &Written<'_>,
    beside: &HashSet<&str>,
    owner: &Owner<'_>,
    context: &mut Context<'_>,
) -> (Field, bool) {
    if written.key.text.starts_with('_') {
        let message = format!("{owner}: a name must not begin with an underscore");
        let advice = Suggestion::advice(
            "such names are flowmill's own, like `_parallel_item`; drop the underscore",
        );
        context.error(code::FIELD_NAME, &written.location, message, Some(advice));
    }
    let ty = written.ty.as_ref().and_then(|text| {
        lower_type(
            text,
            written.view.as_ref(),
            &written.location,
            owner,
            context,
        )
    });
    let mut field = Field::named(&*written.key.text, ty.clone().unwrap_or(Type::Str));
    if let Some(view) = &written.view {
        field.required = view.bool("required").unwrap_or(false);
        field.description = view.string("description");
        field.sensitive = view.bool("sensitive").unwrap_or(false);
        if let Some(ty) = &ty {
            field.constraints = constraints::lower(view, ty, owner, context);
            let own = OwnValue {
                name: &written.key.text,
                ty,
                beside,
            };
            field.checks = conditions::checks(&written.checks, &own, owner, context);
        }
        if let Some(default) = view.get("default") {
            lower_default(
                &mut field,
                &default,
                view,
                &written.location,
                ty.is_some(),
                owner,
                context,
            );
        }
    }
    (field, ty.is_some())
}

/// A type's text, together with the schema beside it.
pub(super) fn lower_type(
    text: &Text<'_>,
    view: Option<&View<'_>>,
    location: &Location,
    owner: &Owner<'_>,

    context: &mut Context<'_>,
) -> Option<Type> {
    let ty = parse_type(text, owner, context)?;
    let schema = view.and_then(|view| view.get("schema"));
    match (ty, schema) {
        (Type::Object(None), Some(schema)) => {
            let mut sound = true;
            let written = Written::read_all(&schema);
            let names: HashSet<&str> = written.iter().map(|inner| &*inner.key.text).collect();
            let fields = written
                .iter()
                .map(|inner| {
                    let (field, typed) =
                        lower_field(inner, &names, &owner.inner(&inner.key.text), context);
                    sound &= typed;
                    field
                })
                .collect();
            (sound && !written.is_empty())
                .then(|| Type::Object(Some(Arc::new(ObjectSchema { fields }))))
        }
        (ty, Some(schema)) => {
            let message = format!("{owner}: `schema` applies only to `type: object`");
            context.warning(code::NEEDLESS_SCHEMA, &schema.location, message, None);
            Some(ty)
        }
        (Type::Object(None), None) => {
            // An output field may leave it to the state field.
            if view.is_none_or(|view| view.table_name() == "field") {
                let span = text.location.span;
                let location = Location::new(location.path.key("schema"), span);
                let message = format!("{owner}: `schema` is missing; a `type: object` needs one");
                let advice =
                    Suggestion::advice("add `schema:` with the inner fields, or use `type: dict`");
                context.error(code::MISSING_KEY, &location, message, Some(advice));
                return None;
            }
            Some(Type::Object(None))
        }
        (ty, None) => Some(ty),
    }
}

/// A type's text by itself.
pub(super) fn parse_type(
    text: &Text<'_>,
    owner: impl fmt::Display,
    context: &mut Context<'_>,
) -> Option<Type> {
    match Type::parse(&text.value) {
        Ok(ty) => Some(ty),
        Err(error) => {
            let span = text.locator(context.text).locate(error.span);
            let span = if span.start < span.end {
                span
            } else {
                text.location.span
            };
            let location = Location::new(text.location.path.clone(), span);
            context.error(
                code::BAD_TYPE,
                &location,
                format!("{owner}: {}", error.message),
                error.suggestion,
            );
            None
        }
    }
}

fn lower_default(
    field: &mut Field,
    default: &Item<'_>,
    view: &View<'_>,
    location: &Location,
    typed: bool,
    owner: &Owner<'_>,
    context: &mut Context<'_>,
) {
    if field.required {
        let key = view
            .entry("default")
            .map_or(location.span, |(key, _)| key.span);
        let message = format!("{owner}: a required field cannot have a default");
        let advice = Suggestion::advice("drop `required` or the `default`");
        context.error(
            code::REQUIRED_WITH_DEFAULT,
            &Location::new(location.path.clone(), key),
            message,
            Some(advice),
        );
    }
    if !typed {
        return;
    }
    let Some(value) = default.node.to_value() else {
        let message = format!("{owner}: infinity and not-a-number cannot be values");
        context.error(code::DEFAULT_TYPE, &default.location, message, None);
        return;
    };
    warn_of_keys(default.node, &default.location, owner, context);
    match Field::named("", field.ty.clone()).coerce(&value) {
        Ok(coerced) => {
            if let Err(faults) = field.coerce(&coerced) {
                report(code::DEFAULT_CONSTRAINT, &faults, default, owner, context);
            }
            field.default = Some(coerced);
        }
        Err(faults) => report(code::DEFAULT_TYPE, &faults, default, owner, context),
    }
}

fn report(
    code: &'static str,
    faults: &[Fault],
    default: &Item<'_>,
    owner: &Owner<'_>,
    context: &mut Context<'_>,
) {
    for fault in faults {
        let (location, node) = inside(default, &fault.path);
        let given = shown(&fault.input);
        let message = format!(
            "{owner}: the default {given} does not fit: {}",
            fault.message
        );
        let advice = node
            .filter(|_| fault.kind == FaultKind::StringType)
            .and_then(|node| advice::quotes(node, context.written(node.span)));
        context.error(code, &location, message, advice);
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => quoted(&other.to_string()),
    }
}

/// The location that a fault's path leads to, and the value there. For a value that is missing, the
/// location of the value that should hold it.
fn inside<'a>(item: &Item<'a>, path: &[PathSegment]) -> (Location, Option<&'a Node>) {
    let mut node = Some(item.node);
    let mut span: Span = item.location.span;
    let mut key_path: Path = item.location.path.clone();
    for segment in path {
        let inner: Option<&'a Node> = match (segment, node.map(|node| &node.data)) {
            (PathSegment::Key(key), Some(Data::Map(entries))) => entries
                .iter()
                .find(|entry| *entry.key.text == **key)
                .map(|entry| &*entry.value),
            (PathSegment::Index(index), Some(Data::List(items))) => {
                items.get(*index).map(|item| &**item)
            }
            _ => None,
        };
        key_path = match segment {
            PathSegment::Key(key) => key_path.key(key.as_str()),
            PathSegment::Index(index) => key_path.index(*index),
        };
        span = inner.map_or(span, |inner| inner.span);
        node = inner;
    }
    (Location::new(key_path, span), node)
}

/// Keys in a default that are no text, where YAML reads another word than the file holds: `no` as
/// `false`, `010` as 8.
fn warn_of_keys(node: &Node, location: &Location, owner: &Owner<'_>, context: &mut Context<'_>) {
    match &node.data {
        Data::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let location = Location::new(location.path.index(index), item.span);
                warn_of_keys(item, &location, owner, context);
            }
        }
        Data::Map(entries) => {
            for entry in entries {
                let path = location.path.key(entry.key.text.clone());
                let written = context.written(entry.key.span);
                if !entry.key.is_text
                    && let Some(advice) = advice::misread_key(&entry.key.text, written)
                {
                    let message = format!(
                        "{owner}: the default has the key {}, not {}",
                        quoted(&entry.key.text),
                        quoted(written)
                    );
                    let location = Location::new(path.clone(), entry.key.span);
                    context.warning(code::KEY_NOT_TEXT, &location, message, Some(advice));
                }
                let location = Location::new(path, entry.value.span);
                warn_of_keys(&entry.value, &location, owner, context);
            }
        }
        _ => {}
    }
}
