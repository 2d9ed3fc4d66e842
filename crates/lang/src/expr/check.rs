//! Looking up the names of a condition and checking that its operators suit the types. What can
//! never work is an error; a comparison that merely always comes out the same is a warning, because
//! files with such conditions run.

use crate::diagnostic::quoted;
use crate::field::Type;
use crate::names::{self, Finding, FindingKind, Names};
use crate::reference::Root;
use crate::source::Span;
use crate::suggest::Suggestion;
use crate::value::{self, Value};

use super::parse::{Kind, Node, Raw};
use super::tree::{Comparison, Condition, Expr};

impl Raw {
    /// Looks every name up and checks the types. `locate` maps byte ranges of the parsed text to
    /// the workflow file. With a finding of error severity the condition must not be used.
    pub fn resolve(
        &self,
        names: &dyn Names,
        locate: &dyn Fn(Span) -> Span,
    ) -> (Condition, Vec<Finding>) {
        let mut checker = Checker {
            names,
            locate,
            findings: Vec::new(),
        };
        let tree = checker.truth(&self.tree);
        (Condition { tree }, checker.findings)
    }
}

/// What is known of a value before the run, as far as it matters to operators. They treat booleans
/// as numbers.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Unknown,
    Null,
    Number,
    Text,
    /// A list, with the kind of its items.
    List(Box<Shape>),
    /// A dict or an object.
    Mapping,
}

impl Shape {
    fn of_type(ty: Option<&Type>) -> Self {
        match ty {
            None => Self::Unknown,
            Some(Type::Str) => Self::Text,
            Some(Type::Int | Type::Float | Type::Bool) => Self::Number,
            Some(Type::List(item)) => Self::List(Box::new(Self::of_type(item.as_deref()))),
            Some(Type::Dict(_) | Type::Object(_)) => Self::Mapping,
        }
    }

    fn of_literal(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) | Value::Number(_) => Self::Number,
            Value::String(_) => Self::Text,
            Value::Array(_) => Self::List(Box::new(Self::Unknown)),
            Value::Object(_) => Self::Mapping,
        }
    }

    /// Whether two values of these shapes could ever be equal. Any field may be null.
    fn may_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unknown | Self::Null, _)
            | (_, Self::Unknown | Self::Null)
            | (Self::List(_), Self::List(_)) => true,
            _ => self == other,
        }
    }

    fn noun(&self) -> &'static str {
        match self {
            Self::Unknown => "of unknown type",
            Self::Null => "null",
            Self::Number => "a number or bool",
            Self::Text => "text",
            Self::List(_) => "a list",
            Self::Mapping => "a dict or object",
        }
    }
}

/// The suggestion where a check names another field.
const OUT_OF_REACH: &str =
    "a check sees only the field's own value, called `value`; compare fields in `state.rules`";

struct Checker<'a> {
    names: &'a dyn Names,
    locate: &'a dyn Fn(Span) -> Span,
    findings: Vec<Finding>,
}

impl Checker<'_> {
    /// A part that is used as true or false.
    fn truth(&mut self, node: &Node) -> Expr {
        let (expr, _) = self.value(node);
        if let (Kind::Literal(_) | Kind::List(_), Expr::Literal(value)) = (&node.kind, &expr) {
            let always = value::is_truthy(value);
            self.find(
                FindingKind::Foregone,
                node.span,
                format!("this is always {always}"),
                None,
            );
        }
        expr
    }

    fn value(&mut self, node: &Node) -> (Expr, Shape) {
        match &node.kind {
            Kind::Literal(value) => (Expr::Literal(value.clone()), Shape::of_literal(value)),
            Kind::Name(name, span) => self.name(name, *span, true),
            Kind::Word {
                text,
                on_the_right: false,
            } => self.name(text, node.span, false),
            Kind::Word {
                text,
                on_the_right: true,
            } => self.word_on_the_right(text, node.span),
            Kind::List(items) => self.list(items),
            Kind::Len(inner) => self.len(inner),
            Kind::Not(inner) => (Expr::Not(Box::new(self.truth(inner))), Shape::Number),
            Kind::All(parts) => (
                Expr::All(parts.iter().map(|part| self.truth(part)).collect()),
                Shape::Number,
            ),
            Kind::Any(parts) => (
                Expr::Any(parts.iter().map(|part| self.truth(part)).collect()),
                Shape::Number,
            ),
            Kind::Compare(comparison, left, right) => {
                self.compare(*comparison, left, right, node.span)
            }
            Kind::In(item, collection) => self.membership(item, collection, node.span),
        }
    }

    fn name(&mut self, text: &str, span: Span, braced: bool) -> (Expr, Shape) {
        match names::resolve(text, span.start, self.names, self.locate) {
            Ok(found) => {
                self.findings.extend(found.finding);
                (Expr::Name(found.reference), Shape::of_type(found.ty))
            }
            Err(mut finding) => {
                let near = finding
                    .suggestion
                    .as_ref()
                    .is_some_and(|suggestion| suggestion.did_you_mean.is_some());
                if self.is_out_of_reach(text) {
                    finding.suggestion = Some(Suggestion::advice(OUT_OF_REACH));
                } else if !near && !braced && !text.starts_with("state.") {
                    finding.suggestion = Some(Suggestion::advice(
                        "fields are written `state.field`; text on the left has to be quoted",
                    ));
                }
                self.findings.push(finding);
                (Expr::Literal(Value::Null), Shape::Unknown)
            }
        }
    }

    /// On the right a bare word is text, unless it can only be a name: `state.x`, or a variable
    /// that exists nowhere but here, such as `value` in a check.
    fn word_on_the_right(&mut self, text: &str, span: Span) -> (Expr, Shape) {
        if text.starts_with("state.") {
            return self.name(text, span, false);
        }
        if self.is_out_of_reach(text) {
            let message = format!("the field {} cannot be read here", quoted(text));
            let advice = format!("{OUT_OF_REACH}; put the word in quotes if it is text");
            self.find(
                FindingKind::AmbiguousBareWord,
                span,
                message,
                Some(Suggestion::advice(advice)),
            );
            return (Expr::Literal(Value::Null), Shape::Unknown);
        }
        match names::resolve(text, span.start, self.names, self.locate) {
            Ok(found) if matches!(found.reference.root, Root::Field(_)) => {
                return self.bare_field(text, span);
            }
            Ok(_) => return self.name(text, span, false),
            // A field's name with a dot behind it is meant for the field, though that has no such
            // part.
            Err(_) if self.names.refuses_bare_fields() && names::is_known(text, self.names) => {
                return self.name(text, span, false);
            }
            Err(_) => {}
        }
        (Expr::Literal(Value::from(text)), Shape::Text)
    }

    /// A bare word on the right that is a field's name. Old files rely on its being text in routes;
    /// in rules and checks there are none, and a rule that means something else than it says would
    /// refuse every valid input, or none.
    fn bare_field(&mut self, text: &str, span: Span) -> (Expr, Shape) {
        let (kind, message, advice) = if self.names.refuses_bare_fields() {
            (
                FindingKind::AmbiguousBareWord,
                format!("{} may mean the field or the text", quoted(text)),
                format!("write `state.{text}` for the field, or `'{text}'` for the text"),
            )
        } else {
            (
                FindingKind::BareWordIsField,
                format!("{} is taken for text here, not for the field", quoted(text)),
                "write `state.` before it for the field, or quotes around it for the text"
                    .to_owned(),
            )
        };
        self.find(kind, span, message, Some(Suggestion::advice(advice)));
        let shape = match kind {
            FindingKind::AmbiguousBareWord => Shape::Unknown,
            _ => Shape::Text,
        };
        (Expr::Literal(Value::from(text)), shape)
    }

    /// Whether a name path begins with a field that exists and cannot be read here.
    fn is_out_of_reach(&self, text: &str) -> bool {
        let path = text.strip_prefix("state.").unwrap_or(text);
        let first = path.split('.').next().unwrap_or_default();
        !names::is_known(text, self.names)
            && (self.names.is_out_of_reach(path) || self.names.is_out_of_reach(first))
    }

    fn list(&mut self, items: &[Node]) -> (Expr, Shape) {
        let (parts, shapes): (Vec<Expr>, Vec<Shape>) =
            items.iter().map(|item| self.value(item)).unzip();
        let mut shapes = shapes.into_iter();
        let first = shapes.next().unwrap_or(Shape::Unknown);
        let item = if shapes.all(|shape| shape == first) {
            first
        } else {
            Shape::Unknown
        };
        let literals: Option<Vec<Value>> = parts
            .iter()
            .map(|part| match part {
                Expr::Literal(value) => Some(value.clone()),
                _ => None,
            })
            .collect();
        let expr = literals.map_or(Expr::List(parts), |literals| {
            Expr::Literal(Value::Array(literals))
        });
        (expr, Shape::List(Box::new(item)))
    }

    fn len(&mut self, inner: &Node) -> (Expr, Shape) {
        let (expr, shape) = self.value(inner);
        if matches!(shape, Shape::Number | Shape::Null) {
            let message = format!("`len` of {} has no meaning", shape.noun());
            let advice = Suggestion::advice("`len` takes a text, a list, a dict or an object");
            self.find(FindingKind::Nonsense, inner.span, message, Some(advice));
        }
        (Expr::Len(Box::new(expr)), Shape::Number)
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        left: &Node,
        right: &Node,
        span: Span,
    ) -> (Expr, Shape) {
        let ((left, left_shape), (right, right_shape)) = (self.value(left), self.value(right));
        let always = match comparison {
            Comparison::Equal => (!left_shape.may_equal(&right_shape)).then_some(false),
            Comparison::NotEqual => (!left_shape.may_equal(&right_shape)).then_some(true),
            _ => {
                let orderable =
                    |shape: &Shape| matches!(shape, Shape::Unknown | Shape::Number | Shape::Text);
                let ordered = orderable(&left_shape)
                    && orderable(&right_shape)
                    && left_shape.may_equal(&right_shape);
                (!ordered).then_some(false)
            }
        };
        if let Some(always) = always {
            let message = format!(
                "`{}` between {} and {} is always {always}",
                comparison.as_str(),
                left_shape.noun(),
                right_shape.noun()
            );
            let advice = match (&left_shape, &right_shape) {
                (Shape::Number, Shape::Text) | (Shape::Text, Shape::Number) => Some(
                    Suggestion::advice("text never equals a number: quote both or neither"),
                ),
                _ => None,
            };
            self.find(FindingKind::Foregone, span, message, advice);
        }
        (
            Expr::Compare(comparison, Box::new(left), Box::new(right)),
            Shape::Number,
        )
    }

    fn membership(&mut self, item: &Node, collection: &Node, span: Span) -> (Expr, Shape) {
        let ((left, item_shape), (right, shape)) = (self.value(item), self.value(collection));
        match &shape {
            Shape::Number | Shape::Null => {
                let message = format!("nothing can be in {}", shape.noun());
                let advice = Suggestion::advice("`in` takes a list, a dict or a text on its right");
                self.find(
                    FindingKind::Nonsense,
                    collection.span,
                    message,
                    Some(advice),
                );
            }
            Shape::List(items) if !item_shape.may_equal(items) => {
                let message = format!(
                    "{} is never in a list whose items are {}",
                    item_shape.noun(),
                    items.noun()
                );
                self.find(FindingKind::Foregone, span, message, None);
            }
            Shape::Text | Shape::Mapping if !item_shape.may_equal(&Shape::Text) => {
                let message = format!("{} is never in {}", item_shape.noun(), shape.noun());
                self.find(FindingKind::Foregone, span, message, None);
            }
            _ => {}
        }
        (Expr::In(Box::new(left), Box::new(right)), Shape::Number)
    }

    fn find(
        &mut self,
        kind: FindingKind,
        span: Span,
        message: String,
        suggestion: Option<Suggestion>,
    ) {
        self.findings.push(Finding {
            kind,
            span: (self.locate)(span),
            message,
            suggestion,
        });
    }
}
