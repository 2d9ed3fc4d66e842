//! Google's Gemini API. Structure is asked for as a response schema, and in the message where a
//! schema is refused: one that is too large for the provider's grammar, for instance.

mod reply;
mod request;
mod tools;
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
pub(crate) struct Google;

impl Dialect for Google {
    type Wording = Wording;
    type Schemas = request::Schema;

    const FRAMING: Framing = Framing::ServerSentEvents;
    const DETOURS: &'static [Detour<Wording>] = wording::DETOURS;
    const WITHOUT_ANSWER: &'static str = "no candidate with a `finishReason`";

    /// A base may name the API's version; it is `v1beta` otherwise.
    fn address(base: &str, model: &str, stream: bool) -> String {
        let base = base
            .rsplit_once("/models/")
            .filter(|(_, call)| call.contains(':'))
            .map_or(base, |(base, _)| base);
        let versioned = base
            .rsplit('/')
            .next()
            .is_some_and(|last| last.starts_with("v1"));
        let version = if versioned { "" } else { "/v1beta" };
        let model = model.strip_prefix("models/").unwrap_or(model);
        let action = if stream {
            "streamGenerateContent?alt=sse"
        } else {
            "generateContent"
        };
        format!("{base}{version}/models/{model}:{action}")
    }

    fn headers(&self, key: Option<&str>) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = key {
            let mut value = HeaderValue::from_str(key).ok()?;
            value.set_sensitive(true);
            headers.insert("x-goog-api-key", value);
        }
        Some(headers)
    }

    fn wording(&self) -> Wording {
        Wording::default()
    }

    fn has_plain_names(wording: Wording) -> bool {
        wording.plain_names
    }

    fn fit(schema: &Value) -> request::Schema {
        request::Schema::fit(schema)
    }

    fn fit_tool(schema: &Value) -> Value {
        tools::fit(schema)
    }

    const MISSING: &'static [Setting] = &[Setting::NumCtx];

    fn body(
        _model: &str,
        request: &ChatRequest,
        schema: Option<&request::Schema>,
        tools: &Tools<'_>,
        wording: Wording,
    ) -> serde_json::Result<Vec<u8>> {
        request::body(request, schema, tools, wording.structure)
    }

    fn read(partial: &mut PartialAnswer, document: &[u8], emit: Emit<'_>) -> Result<bool, Fault> {
        reply::read(partial, document, emit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let base = "https://generativelanguage.googleapis.com";
        for (base, stream, expected) in [
            (
                base,
                false,
                "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent",
            ),
            (
                base,
                true,
                "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse",
            ),
            (
                "http://localhost:1/v1beta/models/other:streamGenerateContent",
                false,
                "http://localhost:1/v1beta/models/m:generateContent",
            ),
            (
                "http://localhost:1/gemini/v1",
                false,
                "http://localhost:1/gemini/v1/models/m:generateContent",
            ),
        ] {
            assert_eq!(Google::address(base, "m", stream), expected);
            assert_eq!(Google::address(base, "models/m", stream), expected);
        }
    }

    #[test]
    fn the_key_goes_into_a_header_not_into_the_address() {
        assert_eq!(Google.headers(Some("k")).unwrap()["x-goog-api-key"], "k");
    }
}
