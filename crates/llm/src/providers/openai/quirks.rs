//! How compatible servers differ, as data, and what was learnt about one of them.

use std::sync::{Mutex, PoisonError};

use crate::providers::detour::{self, Detour};
use crate::transport::failure::Refusal;

/// One way to word a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wording {
    pub(crate) structure: Structure,
    pub(crate) max_tokens: MaxTokens,
    /// Ask for usage at the end of a stream.
    pub(crate) stream_usage: bool,
    /// Send the temperature, where one is set.
    pub(crate) temperature: bool,
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
    temperature: true,
};

/// Where to begin, by host; any other is plainly compatible.
const VENDORS: &[(&str, Wording)] = &[
    (
        "api.openai.com",
        Wording {
            max_tokens: MaxTokens::Completion,
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
            ..COMPATIBLE
        },
    ),
];

const DETOURS: &[Detour<Wording>] = &[
    Detour {
        applies: |wording| wording.stream_usage,
        words: &["stream_options", "include_usage"],
        next: |wording| Wording {
            stream_usage: false,
            ..wording
        },
    },
    Detour {
        applies: |wording| wording.max_tokens == MaxTokens::Classic,
        words: &["max_completion_tokens"],
        next: |wording| Wording {
            max_tokens: MaxTokens::Completion,
            ..wording
        },
    },
    // Reasoning models have none to set.
    Detour {
        applies: |wording| wording.temperature,
        words: &["temperature"],
        next: |wording| Wording {
            temperature: false,
            ..wording
        },
    },
    Detour {
        applies: |wording| wording.structure == Structure::JsonSchema,
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
        applies: |wording| wording.structure == Structure::Tool,
        words: &["tool", "function", "grammar"],
        next: |wording| Wording {
            structure: Structure::JsonObject,
            ..wording
        },
    },
];

/// A refusal that says this is about one schema, not about the server.
const ABOUT_ONE_SCHEMA: &[&str] = &["invalid schema", "invalid json schema"];

/// What one server has refused so far. Shared by all of its models.
#[derive(Debug)]
pub(crate) struct Server {
    wording: Mutex<Wording>,
}

impl Server {
    pub(crate) fn new(host: Option<&str>) -> Self {
        let known = VENDORS.iter().find(|(vendor, _)| host == Some(vendor));
        Self {
            wording: Mutex::new(known.map_or(COMPATIBLE, |(_, wording)| *wording)),
        }
    }

    /// The best wording not refused so far.
    pub(crate) fn wording(&self) -> Wording {
        *self.wording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another wording, if the refusal is about this one.
    pub(crate) fn reword(&self, refused: Wording, refusal: &Refusal) -> Option<Wording> {
        let next = detour::around(refusal, refused, DETOURS)?;
        if !refusal.mentions(ABOUT_ONE_SCHEMA) {
            let mut learnt = self.wording.lock().unwrap_or_else(PoisonError::into_inner);
            learnt.structure = learnt.structure.max(next.structure);
            learnt.stream_usage &= next.stream_usage;
            // Token limit and temperature are the model's own affair.
        }
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, message: &str) -> Refusal {
        Refusal {
            status,
            message: message.to_owned(),
            ..Refusal::default()
        }
    }

    /// The refusal leads to `next` for this call, and to `later` for the calls after it.
    #[track_caller]
    fn check(status: u16, message: &str, next: Option<Wording>, later: Wording) {
        let server = Server::new(None);
        assert_eq!(
            (
                server.reword(COMPATIBLE, &refusal(status, message)),
                server.wording()
            ),
            (next, later)
        );
    }

    const TOOL: Wording = Wording {
        structure: Structure::Tool,
        ..COMPATIBLE
    };

    #[test]
    fn a_refused_response_format_is_remembered() {
        check(400, "Unknown field: response_format", Some(TOOL), TOOL);
        check(
            422,
            "json_schema: extra inputs are not permitted",
            Some(TOOL),
            TOOL,
        );
    }

    #[test]
    fn a_refused_schema_is_not_held_against_the_server() {
        check(
            400,
            "Invalid schema for response_format 'Output_a'",
            Some(TOOL),
            COMPATIBLE,
        );
    }

    #[test]
    fn refused_stream_options_are_left_out() {
        let bare = Wording {
            stream_usage: false,
            ..COMPATIBLE
        };
        check(400, "stream_options is not allowed", Some(bare), bare);
    }

    #[test]
    fn what_one_model_refuses_is_not_held_against_the_server() {
        let cold = Wording {
            temperature: false,
            ..COMPATIBLE
        };
        check(
            400,
            "Unsupported value: 'temperature' does not support 0.5 with this model",
            Some(cold),
            COMPATIBLE,
        );
        let renamed = Wording {
            max_tokens: MaxTokens::Completion,
            ..COMPATIBLE
        };
        check(
            400,
            "'max_tokens' is not supported; use 'max_completion_tokens' instead",
            Some(renamed),
            COMPATIBLE,
        );
    }

    #[test]
    fn other_refusals_stand() {
        check(400, "model does not exist", None, COMPATIBLE);
        check(429, "response_format", None, COMPATIBLE);
    }

    #[test]
    fn the_last_resort_is_any_object() {
        let server = Server::new(None);
        let refusal = refusal(400, "no response_format, no tools");
        let mut wording = server.wording();
        for expected in [Structure::Tool, Structure::JsonObject] {
            wording = server.reword(wording, &refusal).unwrap();
            assert_eq!(wording.structure, expected);
        }
        assert_eq!(server.reword(wording, &refusal), None);
    }

    #[test]
    fn vendors_are_known_by_host() {
        assert_eq!(
            Server::new(Some("api.openai.com")).wording().max_tokens,
            MaxTokens::Completion
        );
        assert_eq!(
            Server::new(Some("api.deepseek.com")).wording().structure,
            Structure::Tool
        );
        assert_eq!(Server::new(Some("localhost")).wording(), COMPATIBLE);
    }
}
