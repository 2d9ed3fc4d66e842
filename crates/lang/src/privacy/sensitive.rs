//! Which fields of a state, or parts of them, are sensitive, and hiding their values.

use std::borrow::Cow;

use super::mask::{MASK, mask_scalars};
use super::secrets::Secrets;
use crate::fault::PathSegment;
use crate::field::{Field, ObjectSchema, Type};
use crate::ids::FieldId;
use crate::value::Value;

/// The sensitive fields of a workflow's state.
#[derive(Debug, Clone)]
pub struct Sensitive {
    /// One entry per field of the state.
    fields: Vec<Hidden>,
}

/// How much of a value is sensitive.
#[derive(Debug, Clone)]
enum Hidden {
    Nothing,
    /// All of it. Says which keys in it are an author's names and no data.
    All(Type),
    /// Parts of an object.
    Inner(Vec<(String, Hidden)>),
}

impl Sensitive {
    /// `None` where no field is sensitive.
    pub(crate) fn of(fields: &[Field]) -> Option<Self> {
        let fields: Vec<Hidden> = fields.iter().map(Hidden::of).collect();
        let any = fields
            .iter()
            .any(|hidden| !matches!(hidden, Hidden::Nothing));
        any.then_some(Self { fields })
    }

    /// Whether a field is sensitive, or a part of it.
    pub fn touches(&self, field: FieldId) -> bool {
        !matches!(self.hidden(field), Hidden::Nothing)
    }

    /// Whether a field is sensitive as a whole.
    pub fn covers(&self, field: FieldId) -> bool {
        matches!(self.hidden(field), Hidden::All(_))
    }

    /// A field's value as it may be shown.
    pub fn mask<'v>(&self, field: FieldId, value: &'v Value) -> Cow<'v, Value> {
        match self.hidden(field) {
            Hidden::Nothing => Cow::Borrowed(value),
            hidden => Cow::Owned(hidden.mask(value)),
        }
    }

    /// A field's value for rendering: every scalar in its sensitive parts is masked, so that the
    /// keys a placeholder follows are still there.
    pub fn mask_scalars<'v>(&self, field: FieldId, value: &'v Value) -> Cow<'v, Value> {
        match self.hidden(field) {
            Hidden::Nothing => Cow::Borrowed(value),
            hidden => Cow::Owned(hidden.mask_scalars(value)),
        }
    }

    /// Adds what is sensitive in a field's value to what is looked for in text.
    pub fn learn(&self, field: FieldId, value: &Value, secrets: &mut Secrets) {
        self.hidden(field).learn(value, secrets);
    }

    /// Takes what is sensitive out of a fault of a field's value: out of the value it shows, and
    /// out of its path below the field. `lacks_key`: the last segment names what is missing, and
    /// the value shown is what lacks it.
    pub(crate) fn mask_fault(
        &self,
        field: FieldId,
        path: &mut [PathSegment],
        lacks_key: bool,
        shown: &mut Value,
    ) {
        self.hidden(field).mask_fault(path, lacks_key, shown);
    }

    fn hidden(&self, field: FieldId) -> &Hidden {
        self.fields.get(field.0).unwrap_or(&Hidden::Nothing)
    }
}

impl Hidden {
    fn of(field: &Field) -> Self {
        if field.sensitive {
            return Self::All(field.ty.clone());
        }
        let Type::Object(Some(schema)) = &field.ty else {
            return Self::Nothing;
        };
        let parts = schema
            .fields
            .iter()
            .map(|inner| (inner.name.clone(), Self::of(inner)));
        let parts: Vec<_> = parts
            .filter(|(_, hidden)| !matches!(hidden, Self::Nothing))
            .collect();
        if parts.is_empty() {
            Self::Nothing
        } else {
            Self::Inner(parts)
        }
    }

    fn mask(&self, value: &Value) -> Value {
        self.map(value, &|value| match value {
            Value::Null => Value::Null,
            _ => Value::from(MASK),
        })
    }

    fn mask_scalars(&self, value: &Value) -> Value {
        self.map(value, &mask_scalars)
    }

    /// The value with its sensitive parts replaced.
    fn map(&self, value: &Value, replace: &dyn Fn(&Value) -> Value) -> Value {
        match (self, value) {
            (Self::Nothing, value) => value.clone(),
            (Self::Inner(parts), Value::Object(entries)) => {
                let part = |key: &str| parts.iter().find(|(name, _)| name == key);
                let entries = entries.iter().map(|(key, value)| {
                    let value = match part(key) {
                        Some((_, hidden)) => hidden.map(value, replace),
                        None => value.clone(),
                    };
                    (key.clone(), value)
                });
                Value::Object(entries.collect())
            }
            // A value that should be an object and is not is replaced as a whole: its parts cannot
            // be told apart.
            (Self::All(_) | Self::Inner(_), value) => replace(value),
        }
    }

    fn learn(&self, value: &Value, secrets: &mut Secrets) {
        match (self, value) {
            (Self::Nothing, _) => {}
            (Self::All(ty), value) => learn(ty, value, secrets),
            (Self::Inner(parts), Value::Object(entries)) => {
                for (name, hidden) in parts {
                    if let Some(value) = entries.get(name) {
                        hidden.learn(value, secrets);
                    }
                }
            }
            (Self::Inner(_), value) => learn(&Type::Object(None), value, secrets),
        }
    }

    /// Follows a fault's path from here. `lacks_key`: the last segment names what is missing, and
    /// the value shown is what lacks it.
    fn mask_fault(&self, path: &mut [PathSegment], lacks_key: bool, shown: &mut Value) {
        let next = path
            .split_first_mut()
            .filter(|(_, rest)| !lacks_key || !rest.is_empty());
        let Some((segment, rest)) = next else {
            *shown = self.mask(shown);
            return;
        };
        match self {
            Self::Nothing => {}
            Self::Inner(parts) => {
                if let PathSegment::Key(key) = segment
                    && let Some((_, part)) = parts.iter().find(|(name, _)| name == key)
                {
                    part.mask_fault(rest, lacks_key, shown);
                }
            }
            Self::All(ty) => {
                let inner = inner(ty, segment);
                if inner.is_none()
                    && let PathSegment::Key(key) = segment
                {
                    MASK.clone_into(key);
                }
                let inner = inner.or_else(|| match ty {
                    Type::Dict(Some(types)) => Some(types.1.clone()),
                    _ => None,
                });
                Self::All(inner.unwrap_or(Type::Object(None))).mask_fault(rest, lacks_key, shown);
            }
        }
    }
}

/// What a step leads to that an author named or that is only a position; `None` for a key that is
/// data.
fn inner(ty: &Type, segment: &PathSegment) -> Option<Type> {
    match (ty, segment) {
        (Type::Object(Some(schema)), PathSegment::Key(key)) => {
            schema.field(key).map(|field| field.ty.clone())
        }
        (Type::List(Some(item)), PathSegment::Index(_)) => Some((**item).clone()),
        (_, PathSegment::Index(_)) => Some(Type::Object(None)),
        _ => None,
    }
}

/// Every text and number in a sensitive value, and the keys that are data.
fn learn(ty: &Type, value: &Value, secrets: &mut Secrets) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => secrets.add_number(&number.to_string()),
        Value::String(text) => secrets.add(text),
        Value::Array(items) => {
            let of_item = match ty {
                Type::List(Some(item)) => &**item,
                _ => &Type::Object(None),
            };
            for item in items {
                learn(of_item, item, secrets);
            }
        }
        Value::Object(entries) => {
            let schema = match ty {
                Type::Object(Some(schema)) => Some(&**schema),
                _ => None,
            };
            let named = |key: &str| schema.and_then(|schema: &ObjectSchema| schema.field(key));
            for (key, value) in entries {
                match (named(key), ty) {
                    (Some(field), _) => learn(&field.ty, value, secrets),
                    (None, Type::Dict(Some(types))) => {
                        secrets.add_key(key);
                        learn(&types.1, value, secrets);
                    }
                    (None, _) => {
                        secrets.add_key(key);
                        learn(&Type::Object(None), value, secrets);
                    }
                }
            }
        }
    }
}
