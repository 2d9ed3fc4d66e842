//! How compatible servers differ, as data.

use crate::providers::detour::{
    self, Detour, RefusedFeature, SendsNames, SendsTemperature, Temperature,
};

/// One way to word a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wording {
    pub(crate) structure: Structure,
    pub(crate) max_tokens: MaxTokens,
    /// Ask for usage at the end of a stream.
    pub(crate) stream_usage: bool,
    pub(crate) temperature: Temperature,
    /// Send odd property names as plain ones.
    pub(crate) plain_names: bool,
    /// The model reads a schema in `response_format`. Servers that make a grammar of it do not show
    /// it.
    pub(crate) shows_schema: bool,
}

/// Ways to ask for structure, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Structure {
    /// `response_format: {type: json_schema}`
    JsonSchema,
    /// One function, whose call is forced.
    Tool,
    /// `response_format: {type: json_object}`, the schema in a system message.
    JsonObject,
    /// The schema in a system message alone.
    Message,
}

/// The key of the answer's token limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MaxTokens {
    /// `max_tokens`, which every compatible server knows.
    Classic,
    /// `max_completion_tokens`, which the reasoning models of OpenAI insist on.
    Completion,
}

const COMPATIBLE: Wording = Wording {
    structure: Structure::JsonSchema,
    max_tokens: MaxTokens::Classic,
    stream_usage: true,
    temperature: Temperature::AsSet,
    plain_names: false,
    shows_schema: false,
};

/// Where to begin, by host; any other is plainly compatible.
const VENDORS: &[(&str, Wording)] = &[
    (
        "api.openai.com",
        Wording {
            max_tokens: MaxTokens::Completion,
            shows_schema: true,
            ..COMPATIBLE
        },
    ),
    (
        ".openai.azure.com",
        Wording {
            shows_schema: true,
            ..COMPATIBLE
        },
    ),
    // Knows no schemas in `response_format`.
    (
        "api.deepseek.com",
        Wording {
            structure: Structure::Tool,
            ..COMPATIBLE
        },
    ),
    // Sends usage unasked, and refuses keys it does not know.
    (
        "api.mistral.ai",
        Wording {
            stream_usage: false,
            shows_schema: true,
            ..COMPATIBLE
        },
    ),
];

impl SendsTemperature for Wording {
    fn temperature(&mut self) -> &mut Temperature {
        &mut self.temperature
    }
}

impl SendsNames for Wording {
    fn plain_names(&mut self) -> &mut bool {
        &mut self.plain_names
    }
}

pub(super) const DETOURS: &[Detour<Wording>] = &[
    Detour {
        about: RefusedFeature::StreamUsage,
        applies: |wording, features| wording.stream_usage && features.stream,
        words: &["stream_options", "include_usage"],
        next: |wording| Wording {
            stream_usage: false,
            ..wording
        },
    },
    Detour {
        about: RefusedFeature::TokenLimit,
        applies: |wording, features| {
            wording.max_tokens == MaxTokens::Classic && features.has_token_limit
        },
        words: &["max_completion_tokens"],
        next: |wording| Wording {
            max_tokens: MaxTokens::Completion,
            ..wording
        },
    },
    detour::zero_temperature(),
    detour::temperature(&["temperature"]),
    // Proxies hand schemas on to providers that take plain names only.
    detour::property_names(),
    Detour {
        about: RefusedFeature::Structure,
        applies: |wording, features| {
            wording.structure == Structure::JsonSchema && features.has_schema
        },
        words: &[
            "response_format",
            "response format",
            "json_schema",
            "json schema",
            "structured output",
            "grammar",
        ],
        next: |wording| Wording {
            structure: Structure::Tool,
            ..wording
        },
    },
    Detour {
        about: RefusedFeature::Structure,
        applies: |wording, features| wording.structure == Structure::Tool && features.has_schema,
        words: &["tool", "function", "grammar"],
        next: |wording| Wording {
            structure: Structure::JsonObject,
            ..wording
        },
    },
    Detour {
        about: RefusedFeature::Structure,
        applies: |wording, features| {
            wording.structure == Structure::JsonObject && features.has_schema
        },
        words: &[
            "response_format",
            "response format",
            "json_object",
            "grammar",
        ],
        next: |wording| Wording {
            structure: Structure::Message,
            ..wording
        },
    },
];

impl Wording {
    /// Where to begin at a server.
    pub(super) fn at(host: Option<&str>) -> Self {
        let known = VENDORS.iter().find(|(vendor, _)| {
            // `.azure.com` is every host below it.
            host.is_some_and(|host| {
                host == *vendor || vendor.starts_with('.') && host.ends_with(vendor)
            })
        });
        known.map_or(COMPATIBLE, |(_, wording)| *wording)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::detour::RequestFeatures;
    use crate::transport::failure::Refusal;

    /// The way on from `wording` after a refusal of a question that has all that can be refused.
    fn reword(wording: Wording, status: u16, message: &str) -> Option<Wording> {
        let features = RequestFeatures {
            has_schema: true,
            has_odd_names: true,
            temperature: Some(0.0),
            has_token_limit: true,
            stream: true,
        };
        let refusal = Refusal {
            status,
            message: message.to_owned(),
            ..Refusal::default()
        };
        let index = detour::around(&refusal, &wording, &features, DETOURS)?;
        Some((DETOURS[index].next)(wording))
    }

    #[track_caller]
    fn check(status: u16, message: &str, next: Option<Wording>) {
        assert_eq!(reword(COMPATIBLE, status, message), next);
    }

    const TOOL: Wording = Wording {
        structure: Structure::Tool,
        ..COMPATIBLE
    };

    #[test]
    fn a_refused_response_format_becomes_a_tool() {
        check(400, "Unknown field: response_format", Some(TOOL));
        check(
            422,
            "json_schema: extra inputs are not permitted",
            Some(TOOL),
        );
        check(
            400,
            "Invalid schema for response_format 'Output_a'",
            Some(TOOL),
        );
    }

    #[test]
    fn refused_stream_options_are_left_out() {
        let bare = Wording {
            stream_usage: false,
            ..COMPATIBLE
        };
        check(400, "stream_options is not allowed", Some(bare));
    }

    #[test]
    fn what_one_model_refuses() {
        let cold = Wording {
            temperature: Temperature::Omitted,
            ..COMPATIBLE
        };
        check(
            400,
            "Unsupported value: 'temperature' does not support 0 with this model",
            Some(cold),
        );
        let warm = Wording {
            temperature: Temperature::AboveZero,
            ..COMPATIBLE
        };
        check(
            422,
            "Invalid params: temperature must be in range (0, +inf)",
            Some(warm),
        );
        let renamed = Wording {
            max_tokens: MaxTokens::Completion,
            ..COMPATIBLE
        };
        check(
            400,
            "'max_tokens' is not supported; use 'max_completion_tokens' instead",
            Some(renamed),
        );
    }

    #[test]
    fn property_names_behind_a_proxy_are_sent_plain() {
        let plain = Wording {
            plain_names: true,
            ..COMPATIBLE
        };
        check(
            400,
            "tools.0.custom.input_schema.properties: Property keys should match pattern '^[a-zA-Z0-9_.-]{1,64}$'",
            Some(plain),
        );
    }

    #[test]
    fn other_refusals_stand() {
        check(400, "model does not exist", None);
        check(429, "response_format", None);
        check(503, "response_format", None);
    }

    #[test]
    fn the_last_resort_is_the_message_alone() {
        let mut wording = COMPATIBLE;
        for expected in [Structure::Tool, Structure::JsonObject, Structure::Message] {
            wording = reword(wording, 400, "no response_format, no tools").unwrap();
            assert_eq!(wording.structure, expected);
        }
        assert_eq!(reword(wording, 400, "no response_format, no tools"), None);
    }

    #[test]
    fn what_is_not_sent_is_not_reworded() {
        let refusal = Refusal {
            status: 400,
            message: "temperature, stream_options, max_completion_tokens, response_format"
                .to_owned(),
            ..Refusal::default()
        };
        let bare = RequestFeatures {
            has_schema: false,
            has_odd_names: false,
            temperature: None,
            has_token_limit: false,
            stream: false,
        };
        assert_eq!(detour::around(&refusal, &COMPATIBLE, &bare, DETOURS), None);
    }

    #[test]
    fn vendors_are_known_by_host() {
        assert_eq!(
            Wording::at(Some("api.openai.com")).max_tokens,
            MaxTokens::Completion
        );
        assert_eq!(
            Wording::at(Some("api.deepseek.com")).structure,
            Structure::Tool
        );
        assert_eq!(Wording::at(Some("localhost")), COMPATIBLE);
    }
}
