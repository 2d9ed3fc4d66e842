//! The chat completions of OpenAI, and everything that is compatible with them.
//!
//! Structure is asked for as `response_format: json_schema`, strict where the schema allows it.
//! Servers that refuse are asked with a forced tool, then for any JSON object, then in the message
//! alone.

mod azure;
#[cfg(test)]
mod calls_read;
mod quirks;
mod reply;
mod request;
mod turns;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use serde_json::Value;
use url::Url;

use super::detour::Detour;
use super::partial::{Emit, PartialAnswer};
use super::tools::{Setting, Tools};
use super::{Dialect, Fault};
use crate::chat::ChatRequest;
use crate::transport::frames::Framing;

use quirks::Wording;

pub(crate) use azure::complete;

/// The dialect as one server speaks it.
#[derive(Debug)]
pub(crate) struct OpenAi {
    wording: Wording,
    /// The key is sent as `api-key`, as Azure wants it.
    has_key_header: bool,
}

impl OpenAi {
    /// As the server at this base address is known to speak it.
    pub(crate) fn at(base: Option<&Url>) -> Self {
        Self {
            wording: Wording::at(base.and_then(Url::host_str)),
            has_key_header: base.is_some_and(azure::wants_api_key),
        }
    }
}

impl Dialect for OpenAi {
    type Wording = Wording;
    type Schemas = request::Schemas;

    const FRAMING: Framing = Framing::ServerSentEvents;
    const DETOURS: &'static [Detour<Wording>] = quirks::DETOURS;
    const WITHOUT_ANSWER: &'static str = "no `choices`";

    /// A base without a path is a server's root; the API begins at `/v1` there.
    fn address(base: &str, _model: &str, _stream: bool) -> String {
        if base.ends_with("/chat/completions") {
            return base.to_owned();
        }
        let base = base
            .strip_suffix("/completions")
            .or(base.strip_suffix("/responses"))
            .unwrap_or(base);
        let rooted = base
            .split_once("://")
            .is_some_and(|(_, rest)| !rest.contains('/'));
        format!("{base}{}/chat/completions", if rooted { "/v1" } else { "" })
    }

    fn headers(&self, key: Option<&str>) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = key {
            // A token of Azure's directory is a JWT and is sent as everywhere.
            let is_token = key.starts_with("eyJ") && key.matches('.').count() == 2;
            let (name, value) = if self.has_key_header && !is_token {
                (HeaderName::from_static("api-key"), key.to_owned())
            } else {
                (AUTHORIZATION, format!("Bearer {key}"))
            };
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Some(headers)
    }

    fn wording(&self) -> Wording {
        self.wording
    }

    fn has_plain_names(wording: Wording) -> bool {
        wording.plain_names
    }

    fn fit(schema: &Value) -> request::Schemas {
        request::Schemas::fit(schema)
    }

    fn fit_tool(schema: &Value) -> Value {
        request::fit_tool(schema)
    }

    const MISSING: &'static [Setting] = &[Setting::NumCtx];

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
    use super::*;

    #[test]
    fn addresses() {
        for (base, expected) in [
            (
                "https://api.openai.com/v1",
                "https://api.openai.com/v1/chat/completions",
            ),
            (
                "http://localhost:8080",
                "http://localhost:8080/v1/chat/completions",
            ),
            (
                "http://localhost:8080/v1/chat/completions",
                "http://localhost:8080/v1/chat/completions",
            ),
            (
                "http://localhost:8080/chat/completions",
                "http://localhost:8080/chat/completions",
            ),
            (
                "http://localhost:8080/v1/responses",
                "http://localhost:8080/v1/chat/completions",
            ),
            (
                "http://localhost:8080/openai/v1",
                "http://localhost:8080/openai/v1/chat/completions",
            ),
        ] {
            assert_eq!(OpenAi::address(base, "m", true), expected);
        }
    }

    #[test]
    fn azure_wants_its_key_in_a_header_of_its_own() {
        let base = Url::parse("https://a.openai.azure.com/openai/v1").unwrap();
        let headers = OpenAi::at(Some(&base)).headers(Some("k")).unwrap();
        assert_eq!(
            (headers.get("api-key").unwrap(), headers.get(AUTHORIZATION)),
            (&HeaderValue::from_static("k"), None)
        );
        assert!(headers["api-key"].is_sensitive());
        let headers = OpenAi::at(Some(&base))
            .headers(Some("eyJh.eyJi.c"))
            .unwrap();
        assert_eq!(headers[AUTHORIZATION], "Bearer eyJh.eyJi.c");
    }

    #[test]
    fn without_a_key_nothing_is_authorised() {
        assert!(
            OpenAi::at(None)
                .headers(None)
                .unwrap()
                .get(AUTHORIZATION)
                .is_none()
        );
        assert_eq!(
            OpenAi::at(None).headers(Some("k")).unwrap()[AUTHORIZATION],
            "Bearer k"
        );
        assert!(OpenAi::at(None).headers(Some("a\nb")).is_none());
    }
}
