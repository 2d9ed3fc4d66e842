//! The providers' dialects. Each only translates: a [`ChatRequest`] into its JSON, its JSON and its
//! stream events into an [`Answer`](crate::answer::Answer). [`HttpModel`](model::HttpModel) does
//! the rest for all of them.

pub(crate) mod anthropic;
mod base;
mod calls;
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
mod references;
pub(crate) mod refusal;
mod schema;
mod streamed_text;
#[cfg(test)]
pub(crate) mod test_request;
pub(crate) mod tools;
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
use tools::{Setting, Tools};

/// One provider's wire format.
pub(crate) trait Dialect: Debug + Send + Sync + 'static {
    /// The form of a request, where there is a choice.
    type Wording: Copy + Send + Sync + 'static;
    /// An answer's schema as it is sent.
    type Schemas: Send + Sync;

    /// Most tokens that the provider adds to a prompt.
    const ENVELOPE_TOKENS: u64 = LARGEST_ENVELOPE;

    /// How the stream is cut into events.
    const FRAMING: Framing;

    /// Detours around refusals, in the order in which they are tried.
    const DETOURS: &'static [Detour<Self::Wording>];

    /// What a document lacks that does not follow the dialect, for the error sentence.
    const WITHOUT_ANSWER: &'static str;

    /// The address of requests below `base`, which has no trailing slash and no query. A base that
    /// already names an endpoint works as well.
    fn address(base: &str, model: &str, stream: bool) -> String;

    /// The header with the key and all others that the provider requires; `None` if the key cannot
    /// be a header's value.
    fn headers(&self, key: Option<&str>) -> Option<HeaderMap>;

    /// The preferred form of a request.
    fn wording(&self) -> Self::Wording;

    /// Whether unusual property names are sent as [`PlainNames`](names::PlainNames).
    fn has_plain_names(wording: Self::Wording) -> bool;

    /// The schema as it is sent.
    fn fit(schema: &Value) -> Self::Schemas;

    /// The schema of a tool's arguments as it is sent.
    fn fit_tool(schema: &Value) -> Value;

    /// Settings that the provider does not have.
    const MISSING: &'static [Setting];

    /// The limit of answer tokens that is sent; `None` if none is.
    fn answer_limit(request: &ChatRequest) -> Option<u32> {
        request.max_tokens
    }

    /// The request's JSON. `schemas` is present exactly if the request asks for structure.
    fn body(
        model: &str,
        request: &ChatRequest,
        schemas: Option<&Self::Schemas>,
        tools: &Tools<'_>,
        wording: Self::Wording,
    ) -> serde_json::Result<Vec<u8>>;

    /// Reads one document: a whole answer or one event of a stream. New text of the answer goes to
    /// `emit`. Returns true if nothing more will come.
    fn read(partial: &mut PartialAnswer, document: &[u8], emit: Emit<'_>) -> Result<bool, Fault>;
}
