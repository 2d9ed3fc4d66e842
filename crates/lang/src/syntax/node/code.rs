//! The keys of a node that runs code.

use crate::syntax::grammar::{Key, Shape, key};
use crate::syntax::sandbox;
use crate::syntax::view::{Text, View};

pub(crate) const CODE: Key = key(
    "code",
    Shape::Text,
    "code that runs instead of a model; empty text counts as none",
);

pub(crate) const SANDBOX: Key = key(
    "sandbox",
    Shape::Mapping(&sandbox::SANDBOX),
    "limits on `code`",
);

/// The code of a node, read.
pub(crate) struct Code<'a> {
    /// Not empty.
    pub(crate) source: Text<'a>,
}

impl<'a> Code<'a> {
    /// `None` where the node has no code.
    pub(super) fn read(node: &View<'a>) -> Option<Self> {
        let source = node.text("code").filter(|code| !code.value.is_empty())?;
        Some(Self { source })
    }
}
