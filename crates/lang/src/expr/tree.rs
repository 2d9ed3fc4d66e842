//! A checked condition, as a tree.

use crate::ids::FieldId;
use crate::reference::{Reference, Root, Scope};
use crate::value::Value;

/// A parsed, resolved and type-checked condition.
#[derive(Debug, Clone)]
pub struct Condition {
    pub(super) tree: Expr,
}

/// A part of a condition. Every part has a value; `All`, `Any`, `Not`, comparisons and `In` have a
/// boolean.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    /// A literal, or a list of nothing but literals.
    Literal(Value),
    Name(Reference),
    /// A list with at least one part that is no literal.
    List(Vec<Expr>),
    Len(Box<Expr>),
    Not(Box<Expr>),
    /// `and`; at least two parts.
    All(Vec<Expr>),
    /// `or`; at least two parts.
    Any(Vec<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    In(Box<Expr>, Box<Expr>),
}

/// An operator between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// Evaluates to true or false; never fails. A name without a value is null; unlike kinds are
    /// unequal and have no order.
    pub fn holds(&self, scope: &dyn Scope) -> bool {
        self.tree.is_true(scope)
    }

    /// What it reads, in the order of writing, repeated where written repeatedly.
    pub fn references(&self) -> Vec<&Reference> {
        let mut references = Vec::new();
        self.tree.collect_references(&mut references);
        references
    }

    /// The state fields it reads, each once, in the order of their first use.
    pub fn reads(&self) -> Vec<FieldId> {
        let mut fields = Vec::new();
        for reference in self.references() {
            if let Root::Field(field) = reference.root
                && !fields.contains(&field)
            {
                fields.push(field);
            }
        }
        fields
    }
}

impl Expr {
    fn collect_references<'a>(&'a self, references: &mut Vec<&'a Reference>) {
        match self {
            Self::Literal(_) => {}
            Self::Name(reference) => references.push(reference),
            Self::Len(inner) | Self::Not(inner) => inner.collect_references(references),
            Self::List(parts) | Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.collect_references(references);
                }
            }
            Self::Compare(_, left, right) | Self::In(left, right) => {
                left.collect_references(references);
                right.collect_references(references);
            }
        }
    }
}

impl Comparison {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}
