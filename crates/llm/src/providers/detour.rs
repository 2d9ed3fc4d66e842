//! Asking again in other words when a server refuses not the question but how it was put.

use crate::chat::ChatRequest;
use crate::transport::failure::Refusal;

/// A refusal that another wording gets around.
pub(crate) struct Detour<W> {
    /// What is refused.
    pub(super) about: RefusedFeature,
    /// The wording, as it is sent for this question, has what is refused.
    pub(super) applies: fn(&W, &RequestFeatures) -> bool,
    /// One of these is in the refusal, in lower case.
    pub(super) words: &'static [&'static str],
    /// The wording without it. Something must be given up, so that detours end.
    pub(super) next: fn(W) -> W,
}

/// A wording that sends a temperature.
pub(super) trait SendsTemperature: Copy {
    fn temperature(&mut self) -> &mut Temperature;
}

/// A wording that can send odd property names as plain ones.
pub(super) trait SendsNames: Copy {
    fn plain_names(&mut self) -> &mut bool;
}

/// Where only temperatures above 0 are taken.
pub(super) const fn zero_temperature<W: SendsTemperature>() -> Detour<W> {
    Detour {
        about: RefusedFeature::ZeroTemperature,
        applies: |wording, features| { *wording }.temperature().is_zero(features),
        words: ONLY_ABOVE_ZERO,
        next: |mut wording| {
            *wording.temperature() = Temperature::AboveZero;
            wording
        },
    }
}

/// Where none is taken: reasoning models have none to set. To stand behind [`zero_temperature`],
/// whose words are more special.
pub(super) const fn temperature<W: SendsTemperature>(words: &'static [&'static str]) -> Detour<W> {
    Detour {
        about: RefusedFeature::Temperature,
        applies: |wording, features| { *wording }.temperature().is_sent(features),
        words,
        next: |mut wording| {
            *wording.temperature() = Temperature::Omitted;
            wording
        },
    }
}

/// Where only plain property names are taken.
pub(super) const fn property_names<W: SendsNames>() -> Detour<W> {
    Detour {
        about: RefusedFeature::PropertyNames,
        applies: |wording, features| features.has_odd_names && !*{ *wording }.plain_names(),
        words: ODD_NAMES,
        next: |mut wording| {
            *wording.plain_names() = true;
            wording
        },
    }
}

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusedFeature {
    /// How the shape of the answer is asked for.
    Structure,
    /// Property names in letters that not every provider takes.
    PropertyNames,
    /// A temperature of 0, where only those above 0 are taken.
    ZeroTemperature,
    /// Any temperature.
    Temperature,
    /// The key of the answer's token limit.
    TokenLimit,
    /// The request for usage at the end of a stream.
    StreamUsage,
}

impl RefusedFeature {
    /// For the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Structure => "this way to ask for the answer's shape",
            Self::PropertyNames => "the property names of the answer",
            Self::ZeroTemperature => "temperature 0",
            Self::Temperature => "the temperature",
            Self::TokenLimit => "the key `max_tokens`",
            Self::StreamUsage => "the request for usage in a stream",
        }
    }

    /// What the workflow set and the model was asked without; a sentence for whoever reads the
    /// run's events.
    pub(super) fn given_up(self, model: &str, features: &RequestFeatures) -> Option<String> {
        let wanted = features.temperature?;
        match self {
            Self::ZeroTemperature => Some(format!(
                "{model} refuses `temperature: {wanted}`; it was asked with {ABOVE_ZERO} instead"
            )),
            Self::Temperature => Some(format!(
                "{model} refuses `temperature: {wanted}`; it was asked without, so its own default applies: \
                 remove the key, or use another model"
            )),
            _ => None,
        }
    }
}

/// What a question has that a server may refuse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RequestFeatures {
    pub(super) has_schema: bool,
    /// Property names that would be sent otherwise as [`PlainNames`](super::names::PlainNames).
    pub(super) has_odd_names: bool,
    pub(super) temperature: Option<f64>,
    pub(super) has_token_limit: bool,
    pub(super) stream: bool,
}

impl RequestFeatures {
    pub(super) fn of(request: &ChatRequest, has_odd_names: bool) -> Self {
        Self {
            has_schema: request.output.is_some(),
            has_odd_names,
            temperature: request.temperature,
            has_token_limit: request.max_tokens.is_some(),
            stream: request.stream,
        }
    }
}

/// How a temperature is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Temperature {
    /// As the workflow sets it.
    AsSet,
    /// As set, but never 0.
    AboveZero,
    /// Not at all.
    Omitted,
}

/// Stands for 0 where only temperatures above it are taken.
const ABOVE_ZERO: f64 = 0.01;

impl Temperature {
    /// What is sent.
    pub(super) fn of(self, set: Option<f64>) -> Option<f64> {
        match self {
            Self::AsSet => set,
            Self::AboveZero => set.map(|set| set.max(ABOVE_ZERO)),
            Self::Omitted => None,
        }
    }

    /// Whether a request sends 0.
    pub(super) fn is_zero(self, features: &RequestFeatures) -> bool {
        self == Self::AsSet && features.temperature.is_some_and(|set| set < ABOVE_ZERO)
    }

    /// Whether a request sends any.
    pub(super) fn is_sent(self, features: &RequestFeatures) -> bool {
        self != Self::Omitted && features.temperature.is_some()
    }
}

/// How servers say that a temperature must be above 0.
const ONLY_ABOVE_ZERO: &[&str] = &[
    "temperature must be in range (0",
    "temperature must be in (0",
    "temperature must be greater than 0",
    "temperature must be > 0",
    "temperature must be positive",
    "temperature must be strictly positive",
    "temperature` must be strictly positive",
    "temperature has to be a strictly positive",
    "temperature should be greater than 0",
    "temperature: input should be greater than 0",
    "temperature should be in (0",
];

/// How servers name property names that they refuse.
const ODD_NAMES: &[&str] = &[
    "property key",
    "property name",
    "properties key",
    "parameter name",
    "^[a-za-z0-9_",
    "[a-za-z0-9_.-]",
];

/// The statuses with which servers refuse a wording; 500 and 501 come from small local ones.
const REFUSING: &[u16] = &[400, 404, 415, 422, 500, 501];

/// The first detour that fits, by its index.
pub(super) fn around<W>(
    refusal: &Refusal,
    refused: &W,
    features: &RequestFeatures,
    detours: &[Detour<W>],
) -> Option<usize> {
    if !REFUSING.contains(&refusal.status) {
        return None;
    }
    detours
        .iter()
        .position(|detour| (detour.applies)(refused, features) && refusal.mentions(detour.words))
}

/// Whether a refusal is about any wording at all, whatever this one was.
pub(super) fn is_about_wording<W>(refusal: &Refusal, detours: &[Detour<W>]) -> bool {
    REFUSING.contains(&refusal.status)
        && detours.iter().any(|detour| refusal.mentions(detour.words))
}
