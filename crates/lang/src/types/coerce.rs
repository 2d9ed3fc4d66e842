//! Making a value fit a type by the lax rules of pydantic. Goes through a value part by part and
//! collects every fault; the rules for single texts and numbers are in [`super::scalar`].

use crate::fault::{ENOUGH, Fault, FaultKind, Path};
use crate::field::{Field, ObjectSchema, Type};
use crate::reference::{Root, Scope};
use crate::value::{Map, Value};

use super::scalar;

impl Field {
    /// The field's value made from a given one: coerced to the type, then held to the constraints
    /// and, if those are met, to the checks. Null fits an optional field without default. Paths
    /// start below the field.
    pub fn coerce(&self, value: &Value) -> Result<Value, Vec<Fault>> {
        let mut faults = Vec::new();
        self.coerce_at(value, Path::Root, &mut faults).ok_or(faults)
    }

    /// Whether null is a value of the field: it is optional and has no default.
    pub fn is_nullable(&self) -> bool {
        !self.required && self.default.is_none()
    }

    /// `None` exactly when faults were added, or there are enough of them already.
    pub(crate) fn coerce_at(
        &self,
        value: &Value,
        path: Path<'_>,
        faults: &mut Vec<Fault>,
    ) -> Option<Value> {
        if value.is_null() && self.is_nullable() {
            return Some(Value::Null);
        }
        self.coerce_present(value, path, faults)
    }

    /// As [`Self::coerce_at`], but null never fits.
    pub(crate) fn coerce_present(
        &self,
        value: &Value,
        path: Path<'_>,
        faults: &mut Vec<Fault>,
    ) -> Option<Value> {
        let coerced = self.ty.coerce_at(value, path, faults)?;
        if let Some(fault) = self.constraints.fault(&coerced, value, path) {
            faults.push(fault);
            return None;
        }
        let before = faults.len();
        let broken = self
            .checks
            .iter()
            .filter(|check| !check.condition.holds(&CheckedValue(&coerced)));
        faults.extend(broken.map(|check| check.fault(path, value)));
        (faults.len() == before).then_some(coerced)
    }

    /// The value of a field that was not given; `None` if the field is required.
    pub(crate) fn absent_value(&self) -> Option<Value> {
        match &self.default {
            Some(default) => Some(default.clone()),
            None if self.required => None,
            None => Some(Value::Null),
        }
    }
}

/// The scope of a field's own checks: nothing but the value.
struct CheckedValue<'a>(&'a Value);

impl Scope for CheckedValue<'_> {
    fn get(&self, root: Root) -> Option<std::borrow::Cow<'_, Value>> {
        (root == Root::CheckedValue).then_some(std::borrow::Cow::Borrowed(self.0))
    }
}

impl Type {
    /// `None` exactly when faults were added.
    fn coerce_at(&self, value: &Value, path: Path<'_>, faults: &mut Vec<Fault>) -> Option<Value> {
        #[cfg(test)]
        testing::work::count(1);
        let coerced = match self {
            Self::Str => scalar::to_str(value),
            Self::Int => scalar::to_int(value),
            Self::Float => scalar::to_float(value),
            Self::Bool => scalar::to_bool(value),
            Self::List(item) => match value {
                Value::Array(items) => return coerce_items(item.as_deref(), items, path, faults),
                _ => Err(FaultKind::ListType),
            },
            Self::Dict(types) => match value {
                Value::Object(entries) => {
                    return coerce_entries(types.as_deref(), entries, path, faults);
                }
                _ => Err(FaultKind::DictType),
            },
            Self::Object(schema) => match (schema, value) {
                (Some(schema), Value::Object(entries)) => {
                    return schema.coerce_at(entries, value, path, faults);
                }
                (None, Value::Object(_)) => Ok(value.clone()),
                _ => Err(FaultKind::ModelType),
            },
        };
        match coerced {
            Ok(coerced) => Some(coerced),
            Err(kind) => {
                faults.push(Fault::new(kind, path, value));
                None
            }
        }
    }
}

impl ObjectSchema {
    fn coerce_at(
        &self,
        entries: &Map<String, Value>,
        value: &Value,
        path: Path<'_>,
        faults: &mut Vec<Fault>,
    ) -> Option<Value> {
        let before = faults.len();
        let mut coerced = Map::new();
        for field in &self.fields {
            let path = Path::Key(&path, &field.name);
            let inner = match entries.get(&field.name) {
                Some(given) => field.coerce_at(given, path, faults),
                None => field.absent_value().or_else(|| {
                    faults.push(Fault::new(FaultKind::Missing, path, value));
                    None
                }),
            };
            if let Some(inner) = inner {
                coerced.insert(field.name.clone(), inner);
            }
        }
        (faults.len() == before).then_some(Value::Object(coerced))
    }
}

fn coerce_items(
    item: Option<&Type>,
    items: &[Value],
    path: Path<'_>,
    faults: &mut Vec<Fault>,
) -> Option<Value> {
    let Some(item) = item else {
        return Some(Value::Array(items.to_vec()));
    };
    let before = faults.len();
    let mut coerced = Vec::with_capacity(items.len());
    for (index, value) in items.iter().enumerate() {
        if faults.len() >= ENOUGH {
            return None;
        }
        coerced.extend(item.coerce_at(value, Path::Index(&path, index), faults));
    }
    (faults.len() == before).then_some(Value::Array(coerced))
}

/// Keys are checked but not coerced: coercing could make two of them equal.
fn coerce_entries(
    types: Option<&(Type, Type)>,
    entries: &Map<String, Value>,
    path: Path<'_>,
    faults: &mut Vec<Fault>,
) -> Option<Value> {
    let Some((key_type, value_type)) = types else {
        return Some(Value::Object(entries.clone()));
    };
    let before = faults.len();
    let mut coerced = Map::new();
    for (key, value) in entries {
        if faults.len() >= ENOUGH {
            return None;
        }
        let path = Path::Data(&path, key);
        if *key_type != Type::Str {
            key_type.coerce_at(&Value::String(key.clone()), path, faults);
        }
        if let Some(value) = value_type.coerce_at(value, path, faults) {
            coerced.insert(key.clone(), value);
        }
    }
    (faults.len() == before).then_some(Value::Object(coerced))
}

#[cfg(test)]
mod tests;
