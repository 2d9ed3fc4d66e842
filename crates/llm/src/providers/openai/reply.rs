//! Answers, stream events and errors in the JSON of OpenAI.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::Value;

use crate::answer::{Answer, Body};
use crate::chat::FinishReason;
use crate::providers::{self, Fault, plain_refusal};
use crate::tokens::Reported;
use crate::transport::failure::{Refusal, status_of_type};

/// A whole answer, or one event of a stream: they differ in `message` and `delta` only.
#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Tokens>,
    model: Option<String>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<Message>,
    delta: Option<Message>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Text>,
    refusal: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
}

/// Text, or parts of it, as some servers answer: joined.
struct Text(String);

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct ToolCall {
    #[serde(default)]
    index: u32,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    arguments: Option<String>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are the API\'s")]
struct Tokens {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

impl From<Tokens> for Reported {
    fn from(tokens: Tokens) -> Self {
        Self {
            input_tokens: tokens.prompt_tokens,
            cached_tokens: tokens
                .prompt_tokens_details
                .and_then(|details| details.cached_tokens),
            output_tokens: tokens.completion_tokens,
        }
    }
}

/// By hand: serde would keep a copy of what it reads until it knew which of the two it is.
impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl<'de> Visitor<'de> for Reading {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or its parts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Text, E> {
                Ok(Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Text, A::Error> {
                let mut text = String::new();
                while let Some(part) = parts.next_element::<Part>()? {
                    text.push_str(&part.text);
                }
                Ok(Text(text))
            }
        }

        deserializer.deserialize_any(Reading)
    }
}

/// Reads a whole answer.
pub(super) fn whole(body: &[u8]) -> Result<Answer, Fault> {
    let mut assembly = Assembly::default();
    assembly.take(body, &mut |_| {})?;
    if assembly.finish.is_none() && !assembly.answered {
        return Err(Fault::Malformed("no `choices`".to_owned()));
    }
    // Small servers leave the reason out of whole answers, which are complete all the same.
    assembly.finish.get_or_insert(FinishReason::Stop);
    providers::Assembly::finish(assembly)
}

/// Gathers an answer.
#[derive(Default)]
pub(crate) struct Assembly {
    text: String,
    arguments: String,
    refusal: String,
    /// There was a message, empty or not.
    answered: bool,
    finish: Option<FinishReason>,
    usage: Reported,
    model: Option<String>,
}

impl Assembly {
    fn take(&mut self, data: &[u8], emit: &mut (dyn FnMut(&str) + Send)) -> Result<(), Fault> {
        let completion: Completion = serde_json::from_slice(data)?;
        if let Some(error) = completion.error.filter(|error| !error.is_null()) {
            return Err(Fault::Refused(describe(&error, 500)));
        }
        if let Some(tokens) = completion.usage {
            self.usage = tokens.into();
        }
        self.model = completion
            .model
            .filter(|model| !model.is_empty())
            .or(self.model.take());
        // Only one answer is ever asked for.
        let Some(choice) = completion.choices.into_iter().next() else {
            return Ok(());
        };
        if let Some(message) = choice.message.or(choice.delta) {
            self.answered = true;
            self.refusal
                .push_str(message.refusal.as_deref().unwrap_or_default());
            if let Some(Text(text)) = message.content {
                emit(&text);
                self.text.push_str(&text);
            }
            // Only one tool is ever offered; a second call of it would be a second answer.
            for call in message
                .tool_calls
                .into_iter()
                .flatten()
                .filter(|call| call.index == 0)
                .take(1)
            {
                let arguments = call
                    .function
                    .and_then(|function| function.arguments)
                    .unwrap_or_default();
                emit(&arguments);
                self.arguments.push_str(&arguments);
            }
        }
        if let Some(reason) = choice.finish_reason {
            self.finish = Some(finish_reason(&reason));
        }
        Ok(())
    }
}

impl providers::Assembly for Assembly {
    fn event(&mut self, data: &[u8], emit: &mut (dyn FnMut(&str) + Send)) -> Result<bool, Fault> {
        if data.trim_ascii() == b"[DONE]" {
            return Ok(true);
        }
        self.take(data, emit)?;
        Ok(false)
    }

    fn finish(self) -> Result<Answer, Fault> {
        let finish = self.finish.ok_or(Fault::Truncated)?;
        if self.text.is_empty() && !self.refusal.is_empty() {
            return Err(Fault::Filtered(self.refusal));
        }
        let (text, finish) = if self.arguments.is_empty() {
            (self.text, finish)
        } else {
            // Forced calls end with `stop` on OpenAI itself.
            let called = if finish == FinishReason::Stop {
                FinishReason::ToolCall
            } else {
                finish
            };
            (self.arguments, called)
        };
        Ok(Answer {
            body: Body::Text(text),
            usage: self.usage,
            finish,
            model: self.model,
        })
    }
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "stop" | "eos" | "eos_token" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCall,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

/// Reads an error body: `{"error": {…}}`, or flat as some servers answer.
pub(super) fn refusal(status: u16, body: &[u8]) -> Refusal {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return plain_refusal(status, body);
    };
    let mut refusal = describe(body.get("error").unwrap_or(&body), status);
    refusal.status = status;
    refusal
}

/// Reads an error object. Its code may be a status; `otherwise` is the status when nothing says more.
fn describe(error: &Value, otherwise: u16) -> Refusal {
    if let Some(message) = error.as_str() {
        return Refusal {
            status: otherwise,
            message: message.to_owned(),
            ..Refusal::default()
        };
    }
    let text = |key: &str| error.get(key).and_then(Value::as_str);
    let message = text("message").or(text("detail")).map(str::to_owned);
    let message = message.or_else(|| error.get("detail").map(ToString::to_string));
    let number = error
        .get("code")
        .and_then(Value::as_u64)
        .and_then(|code| u16::try_from(code).ok());
    let named = [text("code"), text("type")]
        .into_iter()
        .flatten()
        .find_map(status_of_type);
    Refusal {
        status: number
            .filter(|code| (400..600).contains(code))
            .or(named)
            .unwrap_or(otherwise),
        codes: [text("type"), text("code"), text("param")]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" "),
        message: message.unwrap_or_default(),
        ..Refusal::default()
    }
}

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    clippy::format_collect,
    reason = "cases are written in place"
)]
mod tests {
    use serde_json::json;

    use super::super::OpenAi;
    use super::*;
    use crate::error::ErrorKind;
    use crate::providers::test_request::read_stream;

    fn answer(text: &str, finish: FinishReason, usage: Reported) -> Answer {
        Answer {
            body: Body::Text(text.to_owned()),
            usage,
            finish,
            model: Some("gpt-4o-mini-2024-07-18".to_owned()),
        }
    }

    const USAGE: Reported = Reported {
        input_tokens: Some(30),
        cached_tokens: Some(20),
        output_tokens: Some(5),
    };

    fn completion(message: Value, finish: &str) -> Value {
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish}],
            "usage": {"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35,
                      "prompt_tokens_details": {"cached_tokens": 20, "audio_tokens": 0}},
        })
    }

    #[track_caller]
    fn check_whole(body: &Value, expected: Result<Answer, Fault>) {
        assert_eq!(whole(body.to_string().as_bytes()), expected);
    }

    #[test]
    fn whole_answers() {
        let text = json!({"role": "assistant", "content": "Hello", "refusal": null});
        check_whole(
            &completion(text.clone(), "stop"),
            Ok(answer("Hello", FinishReason::Stop, USAGE)),
        );
        check_whole(
            &completion(text.clone(), "length"),
            Ok(answer("Hello", FinishReason::Length, USAGE)),
        );
        check_whole(
            &completion(text, "content_filter"),
            Ok(answer("Hello", FinishReason::ContentFilter, USAGE)),
        );
        let parts = json!({"role": "assistant", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]});
        check_whole(
            &completion(parts, "stop"),
            Ok(answer("Hello", FinishReason::Stop, USAGE)),
        );
    }

    #[test]
    fn a_forced_call_carries_the_answer() {
        let message = json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "Output_ask", "arguments": "{\"n\":1}"}},
            {"id": "call_2", "type": "function", "function": {"name": "Output_ask", "arguments": "{\"n\":2}"}},
        ]});
        check_whole(
            &completion(message, "stop"),
            Ok(answer("{\"n\":1}", FinishReason::ToolCall, USAGE)),
        );
    }

    #[test]
    fn refusals_are_no_answers() {
        let message = json!({"role": "assistant", "content": null, "refusal": "I can't help."});
        check_whole(
            &completion(message, "stop"),
            Err(Fault::Filtered("I can't help.".to_owned())),
        );
    }

    #[test]
    fn foreign_json_is_named_as_such() {
        check_whole(
            &json!({"status": "ok"}),
            Err(Fault::Malformed("no `choices`".to_owned())),
        );
        assert_eq!(
            whole(b"<html>"),
            Err(Fault::Malformed(
                "no valid JSON at line 1, column 1".to_owned()
            ))
        );
    }

    const OPENING: &str = r#"data: {"id":"1","object":"chat.completion.chunk","model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}

"#;

    #[track_caller]
    fn check_stream(events: &[&str], expected: Result<Answer, Fault>, emitted: &str) {
        let body: String = events
            .iter()
            .map(|event| format!("data: {event}\n\n"))
            .collect();
        let dialect = OpenAi::at(None);
        let got = read_stream(&dialect, &format!("{OPENING}{body}"));
        assert_eq!(got, (expected, emitted.to_owned()));
    }

    const USAGE_EVENT: &str = r#"{"choices":[],"usage":{"prompt_tokens":30,"completion_tokens":5,"total_tokens":35,"prompt_tokens_details":{"cached_tokens":20}}}"#;

    #[test]
    fn streamed_text() {
        check_stream(
            &[
                r#"{"choices":[{"index":0,"delta":{"content":"Grüße"},"finish_reason":null}]}"#,
                r#"{"choices":[{"index":0,"delta":{"content":" 🎉"},"finish_reason":null}]}"#,
                r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
                USAGE_EVENT,
                "[DONE]",
            ],
            Ok(answer("Grüße 🎉", FinishReason::Stop, USAGE)),
            "Grüße 🎉",
        );
    }

    #[test]
    fn streamed_call() {
        check_stream(
            &[
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"Output_ask","arguments":""}}]}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"n\""}}]}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}"#,
                r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
                USAGE_EVENT,
                "[DONE]",
            ],
            Ok(answer("{\"n\":1}", FinishReason::ToolCall, USAGE)),
            "{\"n\":1}",
        );
    }

    #[test]
    fn a_stream_without_a_reason_is_truncated() {
        let hello = r#"{"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}"#;
        check_stream(&[hello], Err(Fault::Truncated), "Hel");
        check_stream(&[hello, "[DONE]"], Err(Fault::Truncated), "Hel");
    }

    #[test]
    fn an_error_inside_a_stream() {
        let error = r#"{"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}"#;
        let refusal = Refusal {
            status: 500,
            codes: "server_error".to_owned(),
            message: "The server had an error".to_owned(),
            ..Refusal::default()
        };
        check_stream(&[error], Err(Fault::Refused(refusal)), "");
        let error = r#"{"error":{"message":"Busy","code":429}}"#;
        let refusal = Refusal {
            status: 429,
            message: "Busy".to_owned(),
            ..Refusal::default()
        };
        check_stream(&[error], Err(Fault::Refused(refusal)), "");
    }

    #[test]
    fn a_broken_event() {
        check_stream(
            &["{oops"],
            Err(Fault::Malformed(
                "no valid JSON at line 1, column 2".to_owned(),
            )),
            "",
        );
    }

    #[track_caller]
    fn check_refusal(status: u16, body: &str, kind: ErrorKind, message: &str) {
        let got = refusal(status, body.as_bytes());
        assert_eq!(
            (got.status, got.kind(), got.message.as_str()),
            (status, kind, message)
        );
    }

    #[test]
    fn error_bodies() {
        check_refusal(
            429,
            r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
            ErrorKind::QuotaExhausted,
            "You exceeded your current quota",
        );
        check_refusal(
            400,
            r#"{"error":{"message":"Too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
            ErrorKind::ContextTooLong,
            "Too long",
        );
        check_refusal(
            400,
            r#"{"error":{"code":400,"message":"request exceeds","type":"exceed_context_size_error","n_ctx":64}}"#,
            ErrorKind::ContextTooLong,
            "request exceeds",
        );
        check_refusal(
            400,
            r#"{"object":"error","message":"bad","type":"BadRequestError"}"#,
            ErrorKind::BadRequest,
            "bad",
        );
        check_refusal(
            404,
            r#"{"detail":"Not Found"}"#,
            ErrorKind::BadRequest,
            "Not Found",
        );
        check_refusal(500, r#"{"error":"boom"}"#, ErrorKind::Overloaded, "boom");
        check_refusal(502, "<html>Bad Gateway</html>", ErrorKind::Overloaded, "");
        check_refusal(
            503,
            "upstream is down",
            ErrorKind::Overloaded,
            "upstream is down",
        );
    }
}
