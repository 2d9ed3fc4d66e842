//! Anthropic's messages. Structure is asked for as a forced tool call, and as an output format
//! where a model refuses to be forced: the newest ones always think, and thinking excludes force.

mod reply;
mod request;
mod turns;
mod wording;

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use serde_json::Value;

use super::detour::Detour;
use super::partial::{Emit, PartialAnswer};
use super::tools::{Setting, Tools};
use super::{Dialect, Fault};
use crate::chat::ChatRequest;
use crate::transport::frames::Framing;
use wording::Wording;

/// The dialect.
#[derive(Debug, Default)]
pub(crate) struct Anthropic;

impl Dialect for Anthropic {
    type Wording = Wording;
    type Schemas = request::Schemas;

    const FRAMING: Framing = Framing::ServerSentEvents;
    const DETOURS: &'static [Detour<Wording>] = wording::DETOURS;
    const WITHOUT_ANSWER: &'static str = "no `stop_reason`";

    /// With a tool come instructions of some 300 to 800 tokens.
    const ENVELOPE_TOKENS: u64 = 1_024;

    fn address(base: &str, _model: &str, _stream: bool) -> String {
        let base = base.strip_suffix("/messages").unwrap_or(base);
        format!("{}/v1/messages", base.strip_suffix("/v1").unwrap_or(base))
    }

    fn answer_limit(request: &ChatRequest) -> Option<u32> {
        Some(request::answer_limit(request))
    }

    fn headers(&self, key: Option<&str>) -> Option<HeaderMap> {
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

    fn wording(&self) -> Wording {
        Wording::default()
    }

    /// The API takes no others.
    fn has_plain_names(_wording: Wording) -> bool {
        true
    }

    fn fit(schema: &Value) -> request::Schemas {
        request::Schemas::fit(schema)
    }

    fn fit_tool(schema: &Value) -> Value {
        request::fit_tool(schema)
    }

    const MISSING: &'static [Setting] = &[Setting::Seed, Setting::NumCtx];

    fn body(
        model: &str,
        request: &ChatRequest,
        schemas: Option<&request::Schemas>,
        tools: &Tools<'_>,
        wording: Wording,
    ) -> serde_json::Result<Vec<u8>> {
        request::body(model, request, schemas, tools, wording)
    }

    fn read(partial: &mut PartialAnswer, document: &[u8], emit: Emit<'_>) -> Result<bool, Fault> {
        reply::read(partial, document, emit)
    }
}

#[cfg(test)]
mod tests {
    use super::wording::{DETOURS, Structure};
    use super::*;
    use crate::providers::detour::{self, RequestFeatures, Temperature};
    use crate::transport::failure::Refusal;

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
            (
                "http://localhost:4000/v1/messages",
                "http://localhost:4000/v1/messages",
            ),
        ] {
            assert_eq!(Anthropic::address(base, "m", false), expected);
        }
    }

    #[test]
    fn the_version_is_always_sent_and_a_key_only_when_there_is_one() {
        let headers = Anthropic.headers(None).unwrap();
        assert_eq!(
            (
                headers.get("anthropic-version").is_some(),
                headers.get("x-api-key")
            ),
            (true, None)
        );
        assert_eq!(Anthropic.headers(Some("k")).unwrap()["x-api-key"], "k");
    }

    #[track_caller]
    fn check_reworded(message: &str, expected: Option<Wording>) {
        let features = RequestFeatures {
            has_schema: true,
            has_odd_names: false,
            temperature: Some(0.5),
            has_token_limit: false,
            stream: false,
        };
        let refusal = Refusal {
            status: 400,
            message: message.to_owned(),
            ..Refusal::default()
        };
        let usual = Wording::default();
        let index = detour::around(&refusal, &usual, &features, DETOURS);
        assert_eq!(index.map(|index| (DETOURS[index].next)(usual)), expected);
    }

    #[test]
    fn what_a_model_refuses_is_worded_otherwise() {
        let format = Wording {
            structure: Structure::Format,
            ..Wording::default()
        };
        check_reworded(
            "Thinking may not be enabled when tool_choice forces tool use.",
            Some(format),
        );
        let cold = Wording {
            temperature: Temperature::Omitted,
            ..Wording::default()
        };
        check_reworded("`temperature` is not supported for this model", Some(cold));
        check_reworded("messages: at least one message is required", None);
    }
}
