//! What a provider said, before it is priced and named; and reading structure out of it.

use serde_json::Value;

use crate::chat::{Content, FinishReason};
use crate::tokens::Reported;

/// A complete answer, translated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) body: Body,
    /// As far as the provider reported it.
    pub(crate) usage: Reported,
    pub(crate) finish: FinishReason,
    /// As the provider names it, where it does.
    pub(crate) model: Option<String>,
}

/// The answer's body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Text(String),
    /// The arguments of the forced tool, already parsed.
    Json(Value),
}

/// Braces tried as the start of an object before a text counts as prose.
const MAX_STARTS: usize = 64;

/// The content to hand out. `structured` says that an object was asked for; a text is then read as
/// JSON, leniently when it is not JSON as it stands: local models put fences or prose around it.
pub(crate) fn content(body: Body, structured: bool) -> Content {
    match body {
        Body::Json(value) => Content::Json(value),
        Body::Text(text) if structured => match find_json(&text) {
            Some(value) => Content::Json(value),
            None => Content::Text(text),
        },
        Body::Text(text) => Content::Text(text),
    }
}

fn find_json(text: &str) -> Option<Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    // Reasoning that a model leaves in its answer may hold drafts of the object.
    let text = text
        .rsplit_once("</think>")
        .map_or(text, |(_, answer)| answer);
    for (start, _) in text.match_indices('{').take(MAX_STARTS) {
        match serde_json::Deserializer::from_str(&text[start..])
            .into_iter::<Value>()
            .next()?
        {
            Ok(value) => return Some(value),
            // An object that was cut off; what would be found further on is only a part of it.
            Err(error) if error.is_eof() => return None,
            Err(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(text: &str, expected: Option<Value>) {
        let expected = expected.map_or_else(|| Content::Text(text.to_owned()), Content::Json);
        assert_eq!(content(Body::Text(text.to_owned()), true), expected);
    }

    #[test]
    fn json_as_it_stands() {
        check(r#" {"a": 1} "#, Some(json!({"a": 1})));
        check("5", Some(json!(5)));
    }

    #[test]
    fn fences_and_prose_around_an_object() {
        check("```json\n{\"a\": 1}\n```", Some(json!({"a": 1})));
        check(
            "Sure! Here it is: {\"a\": {\"b\": \"}\"}} Hope this helps {x}.",
            Some(json!({"a": {"b": "}"}})),
        );
        check("Use {braces}: {\"a\": 1}", Some(json!({"a": 1})));
        check(
            "<think>{\"a\": 0}?</think>{\"a\": 1}",
            Some(json!({"a": 1})),
        );
    }

    #[test]
    fn no_object_stays_text() {
        check("I cannot do that.", None);
        check("{\"a\": 1", None);
        check("Here: {\"a\": {\"b\": 1}, \"c\": ", None);
        check(&"{".repeat(100_000), None);
        check(&"{\"a\":".repeat(10_000), None);
    }

    #[test]
    fn free_text_is_never_read_as_json() {
        assert_eq!(
            content(Body::Text("{}".to_owned()), false),
            Content::Text("{}".to_owned())
        );
    }
}
