//! Anthropic's answers, stream events and errors.

use serde::Deserialize;
use serde_json::Value;

use crate::answer::{Answer, Body};
use crate::chat::FinishReason;
use crate::providers::{self, Fault, plain_refusal};
use crate::tokens::Reported;
use crate::transport::failure::{Refusal, status_of_type};

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Vec<Block>,
    stop_reason: Option<String>,
    model: Option<String>,
    #[serde(default)]
    usage: Tokens,
}

/// A block of an answer; what has neither text nor input (thinking, for one) is passed over.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    ToolUse {
        input: Value,
    },
    #[serde(other)]
    Other,
}

/// The counts of `message_delta` replace those of `message_start` where they are given.
#[derive(Deserialize, Default)]
#[expect(clippy::struct_field_names, reason = "the names are the API\'s")]
struct Tokens {
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Tokens {
    fn update(&mut self, later: &Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.cache_read_input_tokens = later
            .cache_read_input_tokens
            .or(self.cache_read_input_tokens);
        self.cache_creation_input_tokens = later
            .cache_creation_input_tokens
            .or(self.cache_creation_input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
    }

    /// Anthropic's `input_tokens` leaves out everything that went through the cache.
    fn usage(&self) -> Reported {
        let cached = [
            self.cache_read_input_tokens,
            self.cache_creation_input_tokens,
        ];
        let cached = cached.into_iter().flatten().fold(0, u64::saturating_add);
        Reported {
            input_tokens: self.input_tokens.map(|fresh| fresh.saturating_add(cached)),
            cached_tokens: self.cache_read_input_tokens,
            output_tokens: self.output_tokens,
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Message,
    },
    ContentBlockDelta {
        delta: BlockDelta,
    },
    MessageDelta {
        delta: Ending,
        #[serde(default)]
        usage: Tokens,
    },
    MessageStop,
    Error {
        error: Value,
    },
    /// `ping`, `content_block_start` (always empty), `content_block_stop` and what may come to be.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum BlockDelta {
    TextDelta {
        text: String,
    },
    InputJsonDelta {
        partial_json: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Ending {
    stop_reason: Option<String>,
}

/// Reads a whole answer.
pub(super) fn whole(body: &[u8]) -> Result<Answer, Fault> {
    if let Ok(Event::Error { error }) = serde_json::from_slice(body) {
        return Err(Fault::Refused(describe(&error, 500)));
    }
    let message: Message = serde_json::from_slice(body)?;
    let Some(reason) = message.stop_reason else {
        return Err(Fault::Malformed("no `stop_reason`".to_owned()));
    };
    let mut text = String::new();
    let mut input = None;
    for block in message.content {
        match block {
            Block::Text { text: more } => text.push_str(&more),
            // Parallel calls are switched off; a second one would be a second answer.
            Block::ToolUse { input: value } => input = input.or(Some(value)),
            Block::Other => {}
        }
    }
    Ok(Answer {
        body: input.map_or(Body::Text(text), Body::Json),
        usage: message.usage.usage(),
        finish: finish_reason(&reason),
        model: message.model,
    })
}

/// Gathers an answer.
#[derive(Default)]
pub(crate) struct Assembly {
    text: String,
    input: String,
    tokens: Tokens,
    model: Option<String>,
    finish: Option<FinishReason>,
}

impl providers::Assembly for Assembly {
    fn event(&mut self, data: &[u8], emit: &mut (dyn FnMut(&str) + Send)) -> Result<bool, Fault> {
        match serde_json::from_slice(data)? {
            Event::MessageStart { message } => {
                self.tokens.update(&message.usage);
                self.model = message.model;
            }
            Event::ContentBlockDelta {
                delta: BlockDelta::TextDelta { text },
            } => {
                emit(&text);
                self.text.push_str(&text);
            }
            Event::ContentBlockDelta {
                delta: BlockDelta::InputJsonDelta { partial_json },
            } => {
                emit(&partial_json);
                self.input.push_str(&partial_json);
            }
            Event::MessageDelta { delta, usage } => {
                self.tokens.update(&usage);
                self.finish = delta
                    .stop_reason
                    .as_deref()
                    .map(finish_reason)
                    .or(self.finish);
            }
            Event::MessageStop => return Ok(true),
            Event::Error { error } => return Err(Fault::Refused(describe(&error, 500))),
            Event::ContentBlockDelta {
                delta: BlockDelta::Other,
            }
            | Event::Other => {}
        }
        Ok(false)
    }

    fn finish(self) -> Result<Answer, Fault> {
        let finish = self.finish.ok_or(Fault::Truncated)?;
        let text = if self.input.is_empty() {
            self.text
        } else {
            self.input
        };
        Ok(Answer {
            body: Body::Text(text),
            usage: self.tokens.usage(),
            finish,
            model: self.model,
        })
    }
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCall,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

/// Reads an error body: `{"type": "error", "error": {"type", "message"}}`.
pub(super) fn refusal(status: u16, body: &[u8]) -> Refusal {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return plain_refusal(status, body);
    };
    Refusal {
        status,
        ..describe(&body["error"], status)
    }
}

fn describe(error: &Value, otherwise: u16) -> Refusal {
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    Refusal {
        status: status_of_type(text("type")).unwrap_or(otherwise),
        codes: text("type").to_owned(),
        message: text("message").to_owned(),
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

    use super::super::Anthropic;
    use super::*;
    use crate::error::ErrorKind;
    use crate::providers::test_request::read_stream;

    const USAGE: Reported = Reported {
        input_tokens: Some(36),
        cached_tokens: Some(20),
        output_tokens: Some(9),
    };

    fn answer(body: Body, finish: FinishReason) -> Answer {
        Answer {
            body,
            usage: USAGE,
            finish,
            model: Some("claude-haiku-4-5-20251001".to_owned()),
        }
    }

    #[track_caller]
    fn check_whole(content: Value, reason: &str, expected: Answer) {
        let body = json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001",
            "content": content, "stop_reason": reason, "stop_sequence": null,
            "usage": {"input_tokens": 12, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 20, "output_tokens": 9},
        });
        assert_eq!(whole(body.to_string().as_bytes()), Ok(expected));
    }

    #[test]
    fn whole_answers() {
        let hello = || Body::Text("Hello".to_owned());
        let blocks = json!([{"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": "Hello"}]);
        check_whole(
            blocks.clone(),
            "end_turn",
            answer(hello(), FinishReason::Stop),
        );
        check_whole(
            blocks.clone(),
            "max_tokens",
            answer(hello(), FinishReason::Length),
        );
        check_whole(
            blocks.clone(),
            "refusal",
            answer(hello(), FinishReason::ContentFilter),
        );
        check_whole(blocks, "pause_turn", answer(hello(), FinishReason::Other));
        check_whole(
            json!([{"type": "text", "text": "Sure."}, {"type": "tool_use", "id": "t", "name": "Output_ask", "input": {"n": 1}}]),
            "tool_use",
            answer(Body::Json(json!({"n": 1})), FinishReason::ToolCall),
        );
    }

    #[test]
    fn foreign_json_is_named_as_such() {
        assert_eq!(
            whole(b"{}"),
            Err(Fault::Malformed("no `stop_reason`".to_owned()))
        );
        assert_eq!(
            whole(b"oops"),
            Err(Fault::Malformed(
                "no valid JSON at line 1, column 1".to_owned()
            ))
        );
    }

    const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"claude-haiku-4-5-20251001","stop_reason":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":4,"cache_read_input_tokens":20,"output_tokens":1}}}"#;
    const STOP: &str = r#"{"type":"message_stop"}"#;

    #[track_caller]
    fn check_stream(events: &[&str], expected: Result<Answer, Fault>, emitted: &str) {
        let body: String = events
            .iter()
            .map(|event| format!("event: x\ndata: {event}\n\n"))
            .collect();
        assert_eq!(
            read_stream(&Anthropic, &body),
            (expected, emitted.to_owned())
        );
    }

    #[test]
    fn streamed_text() {
        check_stream(
            &[
                START,
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                r#"{"type":"ping"}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Grü"}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ße"}}"#,
                r#"{"type":"content_block_stop","index":0}"#,
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":9}}"#,
                STOP,
            ],
            Ok(answer(Body::Text("Grüße".to_owned()), FinishReason::Stop)),
            "Grüße",
        );
    }

    #[test]
    fn streamed_call() {
        check_stream(
            &[
                START,
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"Output_ask","input":{}}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"n\""}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":":1}"}}"#,
                r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#,
                STOP,
            ],
            Ok(answer(
                Body::Text("{\"n\":1}".to_owned()),
                FinishReason::ToolCall,
            )),
            "{\"n\":1}",
        );
    }

    #[test]
    fn a_stream_without_a_reason_is_truncated() {
        let text = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}"#;
        check_stream(&[START, text], Err(Fault::Truncated), "Hel");
        check_stream(&[START, text, STOP], Err(Fault::Truncated), "Hel");
    }

    #[test]
    fn an_error_inside_a_stream() {
        let error =
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        let refusal = Refusal {
            status: 529,
            codes: "overloaded_error".to_owned(),
            message: "Overloaded".to_owned(),
            ..Refusal::default()
        };
        check_stream(&[START, error], Err(Fault::Refused(refusal)), "");
    }

    #[track_caller]
    fn check_refusal(status: u16, kind: &str, message: &str, expected: ErrorKind) {
        let body =
            json!({"type": "error", "error": {"type": kind, "message": message}}).to_string();
        let got = refusal(status, body.as_bytes());
        assert_eq!(
            (got.status, got.message.as_str(), got.kind()),
            (status, message, expected)
        );
    }

    #[test]
    fn error_bodies() {
        check_refusal(
            401,
            "authentication_error",
            "invalid x-api-key",
            ErrorKind::Auth,
        );
        check_refusal(429, "rate_limit_error", "slow down", ErrorKind::RateLimit);
        check_refusal(529, "overloaded_error", "Overloaded", ErrorKind::Overloaded);
        check_refusal(
            400,
            "invalid_request_error",
            "prompt is too long: 2 tokens > 1 maximum",
            ErrorKind::ContextTooLong,
        );
        check_refusal(
            400,
            "invalid_request_error",
            "Your credit balance is too low",
            ErrorKind::QuotaExhausted,
        );
        check_refusal(
            400,
            "invalid_request_error",
            "messages: empty",
            ErrorKind::BadRequest,
        );
    }
}
