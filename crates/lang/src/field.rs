//! What may stand in a field: its type, and what is asked of its values beyond that. The data only;
//! what it means for values is in [`crate::types`].

use std::sync::Arc;

use crate::ids::NodeId;
use crate::rule::Rule;
use crate::value::Value;

/// A state or output type.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// `str`
    Str,
    /// `int`
    Int,
    /// `float`
    Float,
    /// `bool`
    Bool,
    /// `list` (any items) or `list[T]`
    List(Option<Box<Type>>),
    /// `dict` (any values) or `dict[K, V]`
    Dict(Option<Box<(Type, Type)>>),
    /// `object`; without a schema (inside brackets) any mapping fits.
    Object(Option<Arc<ObjectSchema>>),
}

/// The inner fields of an `object`, in declaration order.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectSchema {
    /// In declaration order.
    pub fields: Vec<Field>,
}

/// A state field, an inner field of an object, or a field of an object output.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The name as declared.
    pub name: String,
    /// The type of its value.
    pub ty: Type,
    /// The caller must give it.
    pub required: bool,
    /// Already coerced; `None` means no default.
    pub default: Option<Value>,
    /// For the readers of `/schema`, and for the model where a node produces the field.
    pub description: Option<String>,
    /// Its value is shown nowhere but in the run's own result.
    pub sensitive: bool,
    /// Limits on the value beyond its type.
    pub constraints: Constraints,
    /// Custom checks (`value` is the field's value). State fields only.
    pub checks: Vec<Rule>,
    /// Nodes that write it. State fields only.
    pub written_by: Vec<NodeId>,
}

/// Limits on a field's value beyond its type.
#[derive(Debug, Clone, Default)]
pub struct Constraints {
    /// A regular expression searched for in a text (anchored only where it says so).
    pub pattern: Option<regex::Regex>,
    /// Fewest characters of a text.
    pub min_length: Option<usize>,
    /// Most characters of a text.
    pub max_length: Option<usize>,
    /// The lowest number, inclusive.
    pub minimum: Option<f64>,
    /// The highest number, inclusive.
    pub maximum: Option<f64>,
    /// The allowed values, coerced.
    pub allowed: Option<Vec<Value>>,
    /// A named text format.
    pub format: Option<Format>,
    /// Fewest items of a list or entries of a dict.
    pub min_items: Option<usize>,
    /// Most items of a list or entries of a dict.
    pub max_items: Option<usize>,
}

/// Text formats a field can ask for, named as in JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are JSON Schema's")]
pub enum Format {
    Date,
    DateTime,
    Time,
    Email,
    Uri,
    Uuid,
    Ipv4,
    Ipv6,
}

impl Type {
    /// Whether an output of this type may be stored in a field of the other: the same type, where
    /// an object without a schema stands for any object.
    pub fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(Some(item)), Self::List(Some(other))) => item.same_as(other),
            (Self::Dict(Some(types)), Self::Dict(Some(others))) => {
                types.0.same_as(&others.0) && types.1.same_as(&others.1)
            }
            (Self::Object(Some(schema)), Self::Object(Some(other))) => schema.same_as(other),
            (Self::Object(_), Self::Object(_)) => true,
            _ => self == other,
        }
    }

    /// The type reached by following keys from here; `None` where any value may turn up, or where
    /// there is nothing to follow.
    pub fn at(&self, path: &[String]) -> Option<&Self> {
        path.iter().try_fold(self, |ty, key| match ty {
            Self::Object(Some(schema)) => schema.field(key).map(|field| &field.ty),
            Self::Dict(Some(types)) => Some(&types.1),
            _ => None,
        })
    }
}

impl ObjectSchema {
    /// The inner field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The inner names, in declaration order.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.fields.iter().map(|field| field.name.as_str())
    }

    /// The same names with the same types, in any order; constraints do not matter.
    fn same_as(&self, other: &Self) -> bool {
        self.fields.len() == other.fields.len()
            && self.fields.iter().all(|field| {
                other
                    .field(&field.name)
                    .is_some_and(|other| field.ty.same_as(&other.ty))
            })
    }
}

impl Field {
    /// An optional field without default, constraints or checks.
    pub fn named(name: impl Into<String>, ty: Type) -> Self {
        Self {
            name: name.into(),
            ty,
            required: false,
            default: None,
            description: None,
            sensitive: false,
            constraints: Constraints::default(),
            checks: Vec::new(),
            written_by: Vec::new(),
        }
    }
}

impl PartialEq for Constraints {
    fn eq(&self, other: &Self) -> bool {
        self.pattern.as_ref().map(regex::Regex::as_str)
            == other.pattern.as_ref().map(regex::Regex::as_str)
            && (
                self.min_length,
                self.max_length,
                self.min_items,
                self.max_items,
            ) == (
                other.min_length,
                other.max_length,
                other.min_items,
                other.max_items,
            )
            && (self.minimum, self.maximum) == (other.minimum, other.maximum)
            && self.allowed == other.allowed
            && self.format == other.format
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(fields: &[(&str, &str)]) -> Type {
        let fields = fields
            .iter()
            .map(|(name, ty)| Field::named(*name, Type::parse(ty).unwrap()))
            .collect();
        Type::Object(Some(Arc::new(ObjectSchema { fields })))
    }

    #[test]
    fn outputs_are_stored_in_fields_of_the_same_type_only() {
        let check = |left: &str, right: &str, same: bool| {
            let (left, right) = (Type::parse(left).unwrap(), Type::parse(right).unwrap());
            assert_eq!(left.same_as(&right), same, "{left} in {right}");
        };
        check("list[ str ]", "list[str]", true);
        check("list", "list[str]", false);
        check("int", "float", false);
        check("dict[str, object]", "dict[str,object]", true);
        check("dict[str, int]", "dict[str, str]", false);
    }

    #[test]
    fn objects_are_the_same_when_their_inner_types_are() {
        let full = object(&[("a", "str"), ("b", "int")]);
        assert!(full.same_as(&object(&[("b", "int"), ("a", "str")])));
        assert!(full.same_as(&Type::Object(None)));
        assert!(!full.same_as(&object(&[("a", "str")])));
        assert!(!full.same_as(&object(&[("a", "str"), ("b", "float")])));
        assert!(!full.same_as(&Type::Dict(None)));
    }

    #[test]
    fn keys_lead_to_the_inner_type() {
        let ty = object(&[("tags", "dict[str, list[int]]")]);
        let at = |path: &[&str]| {
            let path: Vec<String> = path.iter().map(|&key| key.to_owned()).collect();
            ty.at(&path).map(ToString::to_string)
        };
        assert_eq!(at(&["tags"]).as_deref(), Some("dict[str, list[int]]"));
        assert_eq!(at(&["tags", "any"]).as_deref(), Some("list[int]"));
        assert_eq!(at(&["tags", "any", "0"]), None);
        assert_eq!(at(&["other"]), None);
    }
}
