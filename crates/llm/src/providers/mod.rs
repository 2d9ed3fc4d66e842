//! The providers' dialects. Each only translates: a [`ChatRequest`] into its JSON, its JSON and its
//! stream events into an [`Answer`](crate::answer::Answer). [`HttpModel`](model::HttpModel) does
//! the rest for all of them.

pub(crate) mod anthropic;
mod base;
mod detour;
mod fault;
pub(crate) mod google;
mod learned;
mod lenient;
pub(crate) mod model;
mod names;
pub(crate) mod ollama;
pub(crate) mod openai;
pub(crate) mod partial;
pub(crate) mod reading;
pub(crate) mod refusal;
mod schema;
#[cfg(test)]
pub(crate) mod test_request;
mod wording_search;

use std::fmt::Debug;

use hyper::header::HeaderMap;
use serde_json::Value;

use crate::chat::ChatRequest;
use crate::tokens::LARGEST_ENVELOPE;
use crate::transport::frames::Framing;
use detour::Detour;
pub(crate) use fault::Fault;
use partial::{Emit, PartialAnswer};

/// One provider's wire format.
pub(crate) trait Dialect: Debug + Send + Sync + 'static {
    /// How a request is to be worded, where there is a choice.
    type Wording: Copy + Send + Sync + 'static;
    /// An answer's schema as it is sent.
    type Schemas: Send + Sync;

    /// What the provider puts around a prompt at most, in tokens.
    const ENVELOPE_TOKENS: u64 = LARGEST_ENVELOPE;

    /// How the stream is cut into events.
    const FRAMING: Framing;

    /// Ways around refusals, to be tried in this order.
    const DETOURS: &'static [Detour<Self::Wording>];

    /// What is missing in a document that has nothing to do with the dialect.
    const WITHOUT_ANSWER: &'static str;

    /// Where to send a request, below `base` (no trailing slash, no query). A base that names an
    /// endpoint is as good as one that stops before it.
    fn address(base: &str, model: &str, stream: bool) -> String;

    /// The header that carries the key and everything else the provider wants to see;
    /// `None` when the key cannot stand in a header.
    fn headers(&self, key: Option<&str>) -> Option<HeaderMap>;

    /// The best wording, before anything is refused.
    fn wording(&self) -> Self::Wording;

    /// Property names are sent as [`PlainNames`](names::PlainNames), where the schema has odd ones.
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

    /// Reads one document: a whole answer, or one event of a stream. New text of the answer goes to
    /// `emit`. `true`: nothing more will come.
    fn read(partial: &mut PartialAnswer, document: &[u8], emit: Emit<'_>) -> Result<bool, Fault>;
}
