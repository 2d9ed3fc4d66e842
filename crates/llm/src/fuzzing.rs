//! Everything in this crate that reads what a provider sent, given any bytes.

use std::sync::Arc;

use hyper::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};

use serde_json::{Value, json};

use crate::answer::why_no_object;
use crate::chat::{AnswerFilter, Content, OutputFormat};
use crate::providers::anthropic::Anthropic;
use crate::providers::google::Google;
use crate::providers::ollama::Ollama;
use crate::providers::openai::OpenAi;
use crate::providers::reading::{self, ParsedReply, ReplyStream};
use crate::providers::{Dialect, Fault, refusal};
use crate::secret::Secret;
use crate::transport::failure::Subject;
use crate::transport::fuzzing as packed;

const KEY: &str = "sk-letmein-0123456789";

/// Longest message of an error: the quotation, and the words around it.
const LONGEST_MESSAGE: usize = 4 * 300 + 500;

/// The first byte says whose reply it is, the second where the stream is cut; the rest is the
/// reply. It is an answer or a fault, whole, as a stream however it is cut, and as a refusal.
pub fn provider_reply(data: &[u8]) {
    let [whose, cut, reply @ ..] = data else {
        return;
    };
    match whose % 4 {
        0 => of(&OpenAi::at(None), *cut, reply),
        1 => of(&Anthropic, *cut, reply),
        2 => of(&Google, *cut, reply),
        _ => of(&Ollama, *cut, reply),
    }
}

fn of<D: Dialect>(_: &D, cut: u8, reply: &[u8]) {
    if let Ok(ending) = reading::whole::<D>(reply, None) {
        read_content(&ending);
    }
    let whole = streamed::<D>([reply].into_iter());
    let cut = streamed::<D>(reply.chunks(usize::from(cut) + 1));
    assert_eq!(whole, cut);
    if let Ok(ending) = &whole.0 {
        read_content(ending);
    }
    for status in [200, 400, 401, 429, 500] {
        let refusal = refusal::of_body(status, reply);
        let subject = Subject {
            name: "fuzz/model",
            secrets: &[Secret::from(KEY)],
            key_variable: Some("FUZZ_API_KEY"),
            messages: &[],
        };
        let error = refusal.into_error(subject, None);
        assert!(!error.message.contains(KEY), "{error:?}");
        assert!(error.message.len() <= LONGEST_MESSAGE, "{error:?}");
    }
}

fn read_content(ending: &ParsedReply) {
    let output = OutputFormat {
        name: "Output_fuzz".into(),
        description: None,
        schema: Arc::new(json!({"properties": {"result": {}}})),
        filter: AnswerFilter::new(|answer| answer.get("result").is_some_and(Value::is_string)),
    };
    for output in [Some(&output), None] {
        let mut answer = ending.answer.clone();
        match answer.content(output) {
            Content::Json(value) => assert!(!value.to_string().is_empty()),
            Content::Text(text) => assert!(!why_no_object(&text).is_empty()),
        }
    }
}

/// The end of a stream, and what was shown of it on the way.
fn streamed<'a, D: Dialect>(
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Result<ParsedReply, Fault>, String) {
    let mut stream = ReplyStream::<D>::new(None);
    let mut shown = String::new();
    let mut emit = |text: &str| shown.push_str(text);
    for piece in pieces {
        match stream.push(piece, &mut emit) {
            Ok(false) => {}
            Ok(true) => return (stream.finish(), shown),
            Err(fault) => return (Err(fault), shown),
        }
    }
    (stream.end(&mut emit), shown)
}

/// A packed body, and when to come back: the first byte says how it is cut. It is unpacked the same
/// however that is, and never to more than is allowed.
pub fn packed_reply(data: &[u8]) {
    let Some((cut, body)) = data.split_first() else {
        return;
    };
    packed::unpack(usize::from(*cut) + 1, body);
    let mut headers = HeaderMap::new();
    let (features, now) = body.split_at(body.len() / 2);
    for (name, value) in [(RETRY_AFTER, features), (DATE, now)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    packed::retry_after(&headers);
    if let Ok(value) = HeaderValue::from_bytes(body) {
        headers.insert("retry-after-ms", value);
        packed::retry_after(&headers);
    }
}

#[cfg(test)]
mod tests {
    use testing::corpus::replay;
    use testing::work::grows_linearly;

    /// Replies of a beginning, a middle that is repeated, and an end, whole and in small pieces.
    #[test]
    fn replies_and_refusals_take_linear_work() {
        let openai = r#"data: {"choices": [{"delta": {"content": "x"}}]}

"#;
        let tools = r#"data: {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "x"}}]}}]}

"#;
        let ollama = "{\"message\": {\"content\": \"x\"}, \"done\": false}\n";
        for whose in 0..4_u8 {
            for (begin, middle, end) in [
                ("", openai, "data: [DONE]\n\n"),
                ("", tools, "data: [DONE]\n\n"),
                ("", ollama, ""),
                ("", "data: x\n", "\n"),
                ("", "data:", "\n\n"),
                ("", "\r", ""),
                ("", ": x\n", ""),
                (r#"{"error": {"message": ""#, "x ", r#""}}"#),
                (r#"{"error": "#, "[", ""),
                (r#"{"choices": [{"message": {"content": ""#, "{", r#""}}]}"#),
                (
                    r#"{"choices": [{"message": {"content": ""#,
                    r#"{\"a\":"#,
                    r#""}}]}"#,
                ),
                (
                    r#"{"message": {"content": ""#,
                    r"```{",
                    r#""}, "done": true}"#,
                ),
            ] {
                grows_linearly(
                    &format!("a reply to {whose} of {begin:?}, {middle:?}, {end:?}"),
                    |times| format!("{begin}{}{end}", middle.repeat(times)),
                    |reply| {
                        super::provider_reply(&[&[whose, 15], reply.as_bytes()].concat());
                        reply.len()
                    },
                );
            }
        }
    }

    #[test]
    fn packed_replies_and_cassettes_take_linear_work() {
        for middle in ["x", "\u{0}", "1, "] {
            grows_linearly(
                &format!("packed_reply of {middle:?}"),
                |times| middle.repeat(times),
                |body| {
                    super::packed_reply(&[&[3], body.as_bytes()].concat());
                    body.len()
                },
            );
        }
        let header = "{\"flowmill_cassette\": 1}\n";
        for middle in ["{}\n", "\n", "[", "{\"flowmill_cassette\": 1}\n"] {
            grows_linearly(
                &format!("a cassette of {middle:?}"),
                |times| format!("{header}{}", middle.repeat(times)),
                |text| match crate::cassette::Player::parse(&text) {
                    Ok(_) => text.len(),
                    Err(error) => text.len() + error.message.len(),
                },
            );
        }
    }

    #[test]
    fn kept_inputs_still_pass() {
        replay("provider_reply", super::provider_reply);
        replay("packed_reply", super::packed_reply);
    }
}
