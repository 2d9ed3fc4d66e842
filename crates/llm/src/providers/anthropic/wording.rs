//! How a request to Anthropic can be worded, and the ways around refusals.

use crate::providers::detour::{self, Detour, RefusedFeature, SendsTemperature, Temperature};

/// One way to word a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wording {
    pub(super) structure: Structure,
    pub(super) temperature: Temperature,
}

/// Ways to ask for structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Structure {
    /// One tool, whose call is forced. Every model but the newest takes it.
    Tool,
    /// `output_config.format`, which the older models do not know.
    Format,
}

impl Default for Wording {
    fn default() -> Self {
        Self {
            structure: Structure::Tool,
            temperature: Temperature::AsSet,
        }
    }
}

impl SendsTemperature for Wording {
    fn temperature(&mut self) -> &mut Temperature {
        &mut self.temperature
    }
}

pub(super) const DETOURS: &[Detour<Wording>] = &[
    detour::zero_temperature(),
    detour::temperature(&["temperature", "sampling parameter"]),
    Detour {
        about: RefusedFeature::Structure,
        applies: |wording, features| wording.structure == Structure::Tool && features.has_schema,
        words: &["tool_choice", "forced tool", "forces tool", "tools"],
        next: |wording| Wording {
            structure: Structure::Format,
            ..wording
        },
    },
];
