//! The state's fields while a file is checked, and how messages name what they are about.

use std::collections::HashMap;
use std::fmt;

use crate::diagnostic::quoted;
use crate::types::Type;
use crate::workflow::{Field, FieldId};

/// The state's fields, and how to find them.
pub(super) struct Fields<'a> {
    pub(super) list: Vec<Field>,
    /// Which of them have a type that could be read.
    pub(super) typed: Vec<bool>,
    pub(super) index: HashMap<&'a str, FieldId>,
    /// False when there is no sound list of fields at all: then no name can be judged.
    pub(super) known: bool,
}

impl Fields<'_> {
    pub(super) fn id(&self, name: &str) -> Option<FieldId> {
        self.index.get(name).copied()
    }

    /// The field's type, where it could be read.
    pub(super) fn ty(&self, id: FieldId) -> Option<&Type> {
        self.typed[id.0].then_some(&self.list[id.0].ty)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.list.iter().map(|field| field.name.as_str())
    }
}

/// What a type or a default belongs to, for messages: ``field `card.name` ``.
pub(super) struct Owner<'a> {
    pub(super) what: &'a str,
    pub(super) name: String,
}

impl Owner<'_> {
    pub(super) fn inner(&self, name: &str) -> Self {
        Self {
            what: self.what,
            name: format!("{}.{name}", self.name),
        }
    }
}

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, quoted(&self.name))
    }
}
