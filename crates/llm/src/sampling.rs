//! Settings of a request beyond temperature and token limit, and headers of the caller's own.

use std::fmt;
use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// How the model writes its answer. What is not set is not sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling {
    /// Above 0, at most 1: the share of likely tokens to choose from.
    pub top_p: Option<f64>,
    /// For answers that can be repeated, as far as the provider manages.
    pub seed: Option<u32>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// How long the model thinks before it answers.
    pub reasoning_effort: Option<ReasoningEffort>,
    /// Tokens of the context window that is loaded; only Ollama has it.
    pub num_ctx: Option<u32>,
}

/// How long a model thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningEffort {
    /// As short as the model can.
    Minimal,
    /// Briefly.
    Low,
    /// As long as models usually do.
    Medium,
    /// At length.
    High,
}

/// Headers that the caller adds to a request. Their values may be secrets and are never printed.
#[derive(Clone, Default)]
pub struct ExtraHeaders(Option<Arc<HeaderMap>>);

/// Names of headers that belong to the connection or to the provider's protocol.
const RESERVED: &[&str] = &[
    "accept-encoding",
    "api-key",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
    "x-goog-api-key",
];

impl ExtraHeaders {
    /// Takes names and values. The error is a sentence that names a header that cannot be sent or
    /// is not the caller's to set; it never quotes a value.
    pub fn new<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let refuse = |why: &str| format!("the header `{name}` {why}");
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| refuse("has a name that HTTP does not allow"))?;
            if RESERVED.contains(&header.as_str()) {
                return Err(refuse(
                    "is set by flowmill itself; keys go in `api_key_env`",
                ));
            }
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| refuse("has a value with characters that HTTP does not allow"))?;
            value.set_sensitive(true);
            map.append(header, value);
        }
        Ok(Self((!map.is_empty()).then(|| Arc::new(map))))
    }

    /// Adds them to a request's own.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in self.0.iter().flat_map(|map| map.iter()) {
            headers.append(name, value.clone());
        }
    }
}

impl fmt::Debug for ExtraHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().flat_map(|map| map.keys());
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_added_and_their_values_are_not_printed() {
        let extra = ExtraHeaders::new([("X-Team", "otters-7")]).unwrap();
        assert_eq!(format!("{extra:?}"), r#"["x-team"]"#);
        let mut headers = HeaderMap::new();
        extra.add_to(&mut headers);
        assert_eq!(headers["x-team"], "otters-7");
        assert!(headers["x-team"].is_sensitive());
    }

    #[test]
    fn headers_of_the_protocol_are_refused_without_their_values() {
        for (name, value, part) in [
            ("Authorization", "Bearer s3cret", "set by flowmill itself"),
            ("Content-Length", "s3cret", "set by flowmill itself"),
            ("a b", "s3cret", "name that HTTP does not allow"),
            ("x-a", "s3cret\n", "value with characters"),
        ] {
            let error = ExtraHeaders::new([(name, value)]).unwrap_err();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
