//! How a request to Ollama can be worded, and the way around a refusal.

use crate::providers::detour::{Detour, RefusedFeature};

/// Ways to ask for structure, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Structure {
    /// The schema as `format`.
    Schema,
    /// `format: json`, the schema in a message.
    Json,
}

pub(super) const DETOURS: &[Detour<Structure>] = &[Detour {
    about: RefusedFeature::Structure,
    applies: |structure, features| *structure == Structure::Schema && features.has_schema,
    words: &["grammar", "format", "schema"],
    next: |_| Structure::Json,
}];
