//! Sending a request again in another form when a server refuses the form and not the question.

use crate::chat::ChatRequest;
use crate::transport::failure::Refusal;

/// A refusal that another form of the request avoids.
pub(crate) struct Detour<W> {
    /// The feature that is refused.
    pub(super) about: RefusedFeature,
    /// Whether a request with this wording has the refused feature.
    pub(super) applies: fn(&W, &RequestFeatures) -> bool,
    /// The refusal contains one of these, in lower case.
    pub(super) words: &'static [&'static str],
    /// The wording without the feature. Each step gives something up, so that detours end.
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

/// For models that take only temperatures above 0.
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

/// For models that take no temperature, such as reasoning models. Must come after
/// [`zero_temperature`], whose words are more specific.
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

/// For servers that take only plain property names.
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
    /// The way to ask for the answer's structure.
    Structure,
    /// Property names with characters that not every provider takes.
    PropertyNames,
    /// A temperature of 0.
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

    /// Says which setting of the workflow was left out or changed; a sentence for the run's events.
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

/// Features of a request that a server may refuse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RequestFeatures {
    pub(super) has_schema: bool,
    /// It has property names that [`PlainNames`](super::names::PlainNames) would replace.
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

/// Sent instead of 0 to models that take only temperatures above it.
const ABOVE_ZERO: f64 = 0.01;

impl Temperature {
    /// The temperature that is sent.
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

    /// Whether a request sends a temperature.
    pub(super) fn is_sent(self, features: &RequestFeatures) -> bool {
        self != Self::Omitted && features.temperature.is_some()
    }
}

/// Phrases with which servers say that a temperature must be above 0.
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

/// Phrases with which servers refuse property names.
const ODD_NAMES: &[&str] = &[
    "property key",
    "property name",
    "properties key",
    "parameter name",
    "^[a-za-z0-9_",
    "[a-za-z0-9_.-]",
];

/// Statuses with which servers refuse the form of a request; 500 and 501 come from small local
/// servers.
const REFUSING: &[u16] = &[400, 404, 415, 422, 500, 501];

/// The index of the first detour that applies.
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

/// Whether a refusal is about the form of a request at all, whatever form was sent.
pub(super) fn is_about_wording<W>(refusal: &Refusal, detours: &[Detour<W>]) -> bool {
    REFUSING.contains(&refusal.status)
        && detours.iter().any(|detour| refusal.mentions(detour.words))
}
