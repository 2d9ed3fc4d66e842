//! What arrived at a fake model server.

use axum::http::HeaderMap;
use serde_json::Value;

/// One call to the chat endpoint.
#[derive(Debug, Clone)]
pub struct Request {
    /// The headers, as they came.
    pub headers: HeaderMap,
    /// The body; `null` when it was not JSON.
    pub body: Value,
}

impl Request {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The model that was asked for.
    pub fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_default()
    }

    /// The text of the last user message: the prompt.
    pub fn prompt(&self) -> &str {
        self.messages()
            .rfind(|(role, _)| *role == "user")
            .map_or("", |(_, text)| text)
    }

    /// Role and text of every message, in order.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        let messages = self.body["messages"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        messages.iter().map(|message| {
            let part = |name: &str| message[name].as_str().unwrap_or_default();
            (part("role"), part("content"))
        })
    }

    /// The JSON schema the answer must conform to, when one was sent.
    pub fn schema(&self) -> Option<&Value> {
        self.body.pointer("/response_format/json_schema/schema")
    }

    /// Whether a stream of events was asked for.
    pub fn wants_stream(&self) -> bool {
        self.body["stream"] == true
    }

    /// Whether a last event with the usage was asked for.
    pub fn wants_stream_usage(&self) -> bool {
        self.body.pointer("/stream_options/include_usage") == Some(&Value::Bool(true))
    }
}
