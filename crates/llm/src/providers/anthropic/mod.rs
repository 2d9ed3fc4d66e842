//! Anthropic's messages. Structure is asked for as a forced tool call, and as an output format where a
//! model refuses to be forced: the newest ones always think, and thinking excludes force.

mod reply;
mod request;

use std::sync::{Mutex, PoisonError};

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::detour::{self, Detour};
use super::schema::Fitted;
use super::{Dialect, Fault};
use crate::answer::Answer;
use crate::chat::ChatRequest;
use crate::transport::failure::Refusal;
use crate::transport::frames::Framing;

/// The dialect as one model speaks it.
#[derive(Debug, Default)]
pub(crate) struct Anthropic {
    wording: Mutex<Wording>,
    schemas: Fitted<request::Schemas>,
}

/// One way to word a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wording {
    structure: Structure,
    /// Send the temperature, where one is set.
    temperature: bool,
}

/// Ways to ask for structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Structure {
    /// One tool, whose call is forced. Every model but the newest takes it.
    Tool,
    /// `output_config.format`, which the older models do not know.
    Format,
}

impl Default for Wording {
    fn default() -> Self {
        Self {
            structure: Structure::Tool,
            temperature: true,
        }
    }
}

const DETOURS: &[Detour<Wording>] = &[
    Detour {
        applies: |wording| wording.temperature,
        words: &["temperature", "sampling parameter"],
        next: |wording| Wording {
            temperature: false,
            ..wording
        },
    },
    Detour {
        applies: |wording| wording.structure == Structure::Tool,
        words: &["tool_choice", "forced tool", "forces tool", "tools"],
        next: |wording| Wording {
            structure: Structure::Format,
            ..wording
        },
    },
];

impl Dialect for Anthropic {
    type Plan = Wording;
    type Assembly = reply::Assembly;

    const FRAMING: Framing = Framing::ServerSentEvents;

    fn address(base: &str, _model: &str, _stream: bool) -> String {
        format!("{}/v1/messages", base.strip_suffix("/v1").unwrap_or(base))
    }

    fn headers(key: Option<&str>) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        if let Some(key) = key {
            let mut value = HeaderValue::from_str(key).ok()?;
            value.set_sensitive(true);
            headers.insert("x-api-key", value);
        }
        Some(headers)
    }

    fn plan(&self) -> Wording {
        *self.wording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replan(&self, wording: Wording, refusal: &Refusal) -> Option<Wording> {
        let next = detour::around(refusal, wording, DETOURS)?;
        *self.wording.lock().unwrap_or_else(PoisonError::into_inner) = next;
        Some(next)
    }

    fn body(
        &self,
        model: &str,
        request: &ChatRequest,
        wording: Wording,
    ) -> serde_json::Result<Vec<u8>> {
        let schemas = request
            .output
            .as_ref()
            .map(|output| self.schemas.get(&output.schema, request::Schemas::fit));
        request::body(model, request, schemas.as_deref(), wording)
    }

    fn answer(&self, body: &[u8]) -> Result<Answer, Fault> {
        reply::whole(body)
    }

    fn assembly(&self) -> reply::Assembly {
        reply::Assembly::default()
    }

    fn refusal(&self, status: u16, body: &[u8]) -> Refusal {
        reply::refusal(status, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (base, expected) in [
            (
                "https://api.anthropic.com",
                "https://api.anthropic.com/v1/messages",
            ),
            (
                "http://localhost:4000/anthropic",
                "http://localhost:4000/anthropic/v1/messages",
            ),
            (
                "http://localhost:4000/v1",
                "http://localhost:4000/v1/messages",
            ),
        ] {
            assert_eq!(Anthropic::address(base, "m", false), expected);
        }
    }

    #[test]
    fn the_version_is_always_sent_and_a_key_only_when_there_is_one() {
        let headers = Anthropic::headers(None).unwrap();
        assert_eq!(
            (
                headers.get("anthropic-version").is_some(),
                headers.get("x-api-key")
            ),
            (true, None)
        );
        assert_eq!(Anthropic::headers(Some("k")).unwrap()["x-api-key"], "k");
    }

    #[track_caller]
    fn check_replan(message: &str, expected: Option<Wording>) {
        let dialect = Anthropic::default();
        let refusal = Refusal {
            status: 400,
            message: message.to_owned(),
            ..Refusal::default()
        };
        assert_eq!(dialect.replan(Wording::default(), &refusal), expected);
        assert_eq!(dialect.plan(), expected.unwrap_or_default(), "remembered");
    }

    #[test]
    fn what_a_model_refuses_is_worded_otherwise_from_then_on() {
        let format = Wording {
            structure: Structure::Format,
            ..Wording::default()
        };
        check_replan(
            "Thinking may not be enabled when tool_choice forces tool use.",
            Some(format),
        );
        let cold = Wording {
            temperature: false,
            ..Wording::default()
        };
        check_replan("`temperature` is not supported for this model", Some(cold));
        check_replan("messages: at least one message is required", None);
    }
}
