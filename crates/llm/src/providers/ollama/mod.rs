//! Ollama's own chat API. Structure is asked for as `format`.

mod reply;
mod request;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::schema::{self, Fitted};
use super::{Dialect, Fault};
use crate::answer::Answer;
use crate::chat::ChatRequest;
use crate::transport::failure::Refusal;
use crate::transport::frames::Framing;

/// The dialect.
#[derive(Debug, Default)]
pub(crate) struct Ollama {
    schemas: Fitted<serde_json::Value>,
}

impl Dialect for Ollama {
    type Plan = ();
    type Assembly = reply::Assembly;

    const FRAMING: Framing = Framing::Lines;

    /// A base that ends in the address of Ollama's OpenAI-compatible API, or of its own, means the server.
    fn address(base: &str, _model: &str, _stream: bool) -> String {
        let base = base
            .strip_suffix("/v1")
            .or(base.strip_suffix("/api"))
            .unwrap_or(base);
        format!("{base}/api/chat")
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

    fn plan(&self) {}

    fn body(&self, model: &str, request: &ChatRequest, (): ()) -> serde_json::Result<Vec<u8>> {
        let schema = request.output.as_ref().map(|output| {
            self.schemas.get(&output.schema, |schema| {
                schema::restrict(schema, &request::RULES)
            })
        });
        request::body(model, request, schema.as_deref())
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
        for base in [
            "http://localhost:11434",
            "http://localhost:11434/v1",
            "http://localhost:11434/api",
        ] {
            assert_eq!(
                Ollama::address(base, "m", true),
                "http://localhost:11434/api/chat"
            );
        }
    }
}
