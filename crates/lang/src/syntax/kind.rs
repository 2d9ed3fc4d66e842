//! Kinds of values, such as text or a list: what a shape takes whatever the content.

use super::grammar::Shape;
use crate::yaml::{Data, Node};

/// Whether a node is of the kind a shape takes, whatever its content.
pub(super) fn fits_kind(node: &Node, shape: &Shape) -> bool {
    match shape {
        Shape::Any => true,
        Shape::Mapping(_) | Shape::Open(..) => matches!(node.data, Data::Map(_)),
        Shape::List(..) => matches!(node.data, Data::List(_)),
        Shape::Either(shapes) => shapes.iter().any(|shape| fits_kind(node, shape)),
        Shape::Bool => matches!(node.data, Data::Bool(_)),
        Shape::Int(..) | Shape::Float(..) | Shape::Above(_) => matches!(node.data, Data::Number(_)),
        Shape::Text
        | Shape::Name
        | Shape::Variable
        | Shape::Template
        | Shape::Condition
        | Shape::Type
        | Shape::Version
        | Shape::Word(_)
        | Shape::AnyCaseWord(_) => matches!(node.data, Data::Text(_)),
    }
}
