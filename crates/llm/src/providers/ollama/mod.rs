//! Ollama's own chat API. Structure is asked for as `format`, which only constrains the answer:
//! what the schema says beyond that is told in a message.

mod reply;
mod request;
mod wording;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};

use serde_json::Value;

use super::detour::Detour;
use super::partial::{Emit, PartialAnswer};
use super::tools::{Setting, Tools};
use super::{Dialect, Fault};
use crate::chat::ChatRequest;
use crate::transport::frames::Framing;
use wording::Structure;

/// The dialect.
#[derive(Debug, Default)]
pub(crate) struct Ollama;

impl Dialect for Ollama {
    type Wording = Structure;
    type Schemas = request::Schema;

    const FRAMING: Framing = Framing::Lines;
    const DETOURS: &'static [Detour<Structure>] = wording::DETOURS;
    const WITHOUT_ANSWER: &'static str = "no `done`";

    /// A base that ends in the address of Ollama's OpenAI-compatible API, or of its own, means the
    /// server.
    fn address(base: &str, _model: &str, _stream: bool) -> String {
        let base = base
            .strip_suffix("/v1")
            .or(base.strip_suffix("/api"))
            .or(base.strip_suffix("/api/chat"))
            .or(base.strip_suffix("/api/generate"))
            .or(base.strip_suffix("/v1/chat/completions"))
            .unwrap_or(base);
        format!("{base}/api/chat")
    }

    fn headers(&self, key: Option<&str>) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = key {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Some(headers)
    }

    fn wording(&self) -> Structure {
        Structure::Schema
    }

    /// Grammars take any name.
    fn has_plain_names(_structure: Structure) -> bool {
        false
    }

    fn fit(schema: &Value) -> request::Schema {
        request::Schema::fit(schema)
    }

    fn fit_tool(schema: &Value) -> Value {
        request::fit_tool(schema)
    }

    const MISSING: &'static [Setting] = &[Setting::ToolChoice];

    fn body(
        model: &str,
        request: &ChatRequest,
        schema: Option<&request::Schema>,
        tools: &Tools<'_>,
        structure: Structure,
    ) -> serde_json::Result<Vec<u8>> {
        request::body(model, request, schema, tools, structure)
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
        for base in [
            "http://localhost:11434",
            "http://localhost:11434/v1",
            "http://localhost:11434/api",
            "http://localhost:11434/api/chat",
            "http://localhost:11434/api/generate",
            "http://localhost:11434/v1/chat/completions",
        ] {
            assert_eq!(
                Ollama::address(base, "m", true),
                "http://localhost:11434/api/chat"
            );
        }
    }
}
