//! How a request to Google can be worded, and the ways around refusals.

use crate::providers::detour::{self, Detour, RefusedFeature, SendsNames};

/// One way to word a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wording {
    pub(super) structure: Structure,
    /// Send odd property names as plain ones.
    pub(super) plain_names: bool,
}

/// Ways to ask for structure, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Structure {
    /// `responseSchema` or `responseJsonSchema`.
    #[default]
    Schema,
    /// Any JSON, the schema among the instructions.
    Message,
}

impl SendsNames for Wording {
    fn plain_names(&mut self) -> &mut bool {
        &mut self.plain_names
    }
}

pub(super) const DETOURS: &[Detour<Wording>] = &[
    detour::property_names(),
    Detour {
        about: RefusedFeature::Structure,
        applies: |wording, features| wording.structure == Structure::Schema && features.has_schema,
        words: &["schema", "too many states"],
        next: |wording| Wording {
            structure: Structure::Message,
            ..wording
        },
    },
];
