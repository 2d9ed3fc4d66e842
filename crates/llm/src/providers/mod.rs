//! The providers' dialects. Each only translates: a [`ChatRequest`] into its JSON, its JSON and its stream
//! events into an [`Answer`]. [`HttpModel`](model::HttpModel) does the rest for all of them.

pub(crate) mod anthropic;
mod base;
mod detour;
pub(crate) mod google;
mod lessons;
pub(crate) mod model;
mod names;
pub(crate) mod ollama;
pub(crate) mod openai;
mod route;
mod schema;
#[cfg(test)]
pub(crate) mod test_request;

use std::fmt::Debug;

use hyper::header::HeaderMap;
use serde_json::Value;

use crate::answer::Answer;
use crate::chat::ChatRequest;
use crate::tokens::LARGEST_ENVELOPE;
use crate::transport::failure::Refusal;
use crate::transport::frames::Framing;
use detour::Detour;

/// One provider's wire format.
pub(crate) trait Dialect: Debug + Send + Sync + 'static {
    /// How a request is to be worded, where there is a choice.
    type Wording: Copy + Send + Sync + 'static;
    /// An answer's schema as it is sent.
    type Schemas: Send + Sync;
    /// Gathers a streamed answer.
    type Assembly: Assembly;

    /// What the provider puts around a prompt at most, in tokens.
    const ENVELOPE_TOKENS: u64 = LARGEST_ENVELOPE;

    /// How the stream is cut into events.
    const FRAMING: Framing;

    /// Ways around refusals, to be tried in this order.
    const DETOURS: &'static [Detour<Self::Wording>];

    /// Where to send a request, below `base` (no trailing slash, no query). A base that names an endpoint is
    /// as good as one that stops before it.
    fn address(base: &str, model: &str, stream: bool) -> String;

    /// The header that carries the key and everything else the provider wants to see;
    /// `None` when the key cannot stand in a header.
    fn headers(&self, key: Option<&str>) -> Option<HeaderMap>;

    /// The best wording, before anything is refused.
    fn wording(&self) -> Self::Wording;

    /// Property names are sent as [`Renamed`](names::Renamed), where the schema has odd ones.
    fn has_plain_names(wording: Self::Wording) -> bool;

    /// What is sent of a schema.
    fn fit(schema: &Value) -> Self::Schemas;

    /// The limit that is sent for an answer's tokens; `None` where none is.
    fn answer_limit(request: &ChatRequest) -> Option<u32> {
        request.max_tokens
    }

    /// The request's JSON. `schemas` is there exactly when the request wants structure.
    fn body(
        model: &str,
        request: &ChatRequest,
        schemas: Option<&Self::Schemas>,
        wording: Self::Wording,
    ) -> serde_json::Result<Vec<u8>>;

    /// An answer that came in one piece.
    fn answer(&self, body: &[u8]) -> Result<Answer, Fault>;

    /// A fresh assembly for a streamed answer.
    fn assembly(&self) -> Self::Assembly;

    /// What the body of an error answer says.
    fn refusal(&self, status: u16, body: &[u8]) -> Refusal;
}

/// Gathers a streamed answer event by event.
pub(crate) trait Assembly: Send {
    /// Takes one event's data; new answer text goes to `emit`. `true`: nothing more will come.
    fn event(&mut self, data: &[u8], emit: &mut (dyn FnMut(&str) + Send)) -> Result<bool, Fault>;

    /// The answer, if the stream said how it ended.
    fn finish(self) -> Result<Answer, Fault>;
}

/// Why an answer with a success status is no answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Fault {
    /// Not the provider's protocol; says what is wrong.
    Malformed(String),
    /// The stream ended without saying that the answer is complete.
    Truncated,
    /// The provider reported an error all the same.
    Refused(Refusal),
    /// A filter left nothing of the answer; the provider's reason.
    Filtered(String),
}

impl From<serde_json::Error> for Fault {
    /// Position only: the text of a parse error may quote the answer.
    fn from(error: serde_json::Error) -> Self {
        let what = match error.classify() {
            serde_json::error::Category::Data => "JSON of an unknown shape",
            _ => "no valid JSON",
        };
        Self::Malformed(format!(
            "{what} at line {}, column {}",
            error.line(),
            error.column()
        ))
    }
}

/// The text of an error body that is not the provider's JSON: short plain text is passed on, pages are not.
fn plain_refusal(status: u16, body: &[u8]) -> Refusal {
    let text = String::from_utf8_lossy(body);
    let message = if text.trim_start().starts_with('<') {
        String::new()
    } else {
        text.into_owned()
    };
    Refusal {
        status,
        message,
        ..Refusal::default()
    }
}
