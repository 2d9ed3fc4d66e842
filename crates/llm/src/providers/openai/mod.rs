//! The chat completions of OpenAI, and everything that is compatible with them.
//!
//! Structure is asked for as `response_format: json_schema`, strict where the schema allows it. Servers that
//! refuse are asked with a forced tool, then for any JSON object; what an address refused is remembered for it.

mod quirks;
mod reply;
mod request;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::schema::Fitted;
use super::{Dialect, Fault};
use crate::answer::Answer;
use crate::chat::ChatRequest;
use crate::transport::failure::Refusal;
use crate::transport::frames::Framing;

pub(crate) use quirks::Server;
use quirks::{MaxTokens, Wording};

/// The dialect as one server speaks it.
#[derive(Debug)]
pub(crate) struct OpenAi {
    server: Arc<Server>,
    /// The model takes no temperature.
    no_temperature: AtomicBool,
    /// The model wants its token limit under the newer key.
    completion_limit: AtomicBool,
    schemas: Fitted<request::Schemas>,
}

impl OpenAi {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        Self {
            server,
            no_temperature: AtomicBool::default(),
            completion_limit: AtomicBool::default(),
            schemas: Fitted::default(),
        }
    }
}

impl Dialect for OpenAi {
    type Plan = Wording;
    type Assembly = reply::Assembly;

    const FRAMING: Framing = Framing::ServerSentEvents;

    /// A base without a path is a server's root; the API begins at `/v1` there.
    fn address(base: &str, _model: &str, _stream: bool) -> String {
        let rooted = base
            .split_once("://")
            .is_some_and(|(_, rest)| !rest.contains('/'));
        format!("{base}{}/chat/completions", if rooted { "/v1" } else { "" })
    }

    fn headers(key: Option<&str>) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = key {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Some(headers)
    }

    /// Relaxed: an outdated answer only costs another refusal.
    fn plan(&self) -> Wording {
        let mut wording = self.server.wording();
        wording.temperature &= !self.no_temperature.load(Ordering::Relaxed);
        if self.completion_limit.load(Ordering::Relaxed) {
            wording.max_tokens = MaxTokens::Completion;
        }
        wording
    }

    fn replan(&self, wording: Wording, refusal: &Refusal) -> Option<Wording> {
        let next = self.server.reword(wording, refusal)?;
        if !next.temperature {
            self.no_temperature.store(true, Ordering::Relaxed);
        }
        if next.max_tokens == MaxTokens::Completion {
            self.completion_limit.store(true, Ordering::Relaxed);
        }
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
                "https://api.openai.com/v1",
                "https://api.openai.com/v1/chat/completions",
            ),
            (
                "http://localhost:8080",
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
    fn without_a_key_nothing_is_authorised() {
        assert!(OpenAi::headers(None).unwrap().get(AUTHORIZATION).is_none());
        assert_eq!(
            OpenAi::headers(Some("k")).unwrap()[AUTHORIZATION],
            "Bearer k"
        );
        assert!(OpenAi::headers(Some("a\nb")).is_none());
    }
}
