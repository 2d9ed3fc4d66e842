//! Anthropic's answers and stream events.

use serde_json::{Value, json};

use crate::chat::FinishReason;
use crate::providers::Fault;
use crate::providers::calls::CallPiece;
use crate::providers::lenient::{Count, Document, List, Text, Word, is_something, object, parse};
use crate::providers::partial::{Emit, PartialAnswer};
use crate::providers::reading::check_for_error;
use crate::tokens::Reported;

object! {
    /// A whole message, or one event of a stream.
    Message {
        kind: Word = "type",
        /// Of the events of a block.
        index: Count = "index",
        content: Option<List<Block>> = "content",
        stop_reason: Word = "stop_reason",
        model: Word = "model",
        usage: Tokens = "usage",
        /// Of `message_start`.
        start: Start = "message",
        /// Of `content_block_start`; nearly always empty.
        content_block: Block = "content_block",
        /// Of `content_block_delta` and `message_delta`.
        delta: Delta = "delta",
        error: Value = "error",
    }
}

object! {
    Start {
        content: List<Block> = "content",
        model: Word = "model",
        usage: Tokens = "usage",
    }
}

object! {
    /// A block of an answer; what has neither text nor input is passed over.
    Block or text {
        text: Text = "text",
        thinking: Text = "thinking",
        input: Value = "input",
        kind: Word = "type",
        id: Word = "id",
        name: Word = "name",
        signature: Text = "signature",
        /// Of thoughts that are not shown.
        data: Text = "data",
    }
}

object! {
    Delta {
        text: Text = "text",
        thinking: Text = "thinking",
        partial_json: Text = "partial_json",
        signature: Text = "signature",
        stop_reason: Word = "stop_reason",
    }
}

object! {
    /// The counts of `message_delta` replace those of `message_start` where they are given.
    Tokens {
        input: Count = "input_tokens",
        cache_read: Count = "cache_read_input_tokens",
        cache_creation: Count = "cache_creation_input_tokens",
        output: Count = "output_tokens",
    }
}

impl Tokens {
    /// Anthropic's `input_tokens` leaves out everything that went through the cache.
    fn update(&self, reported: &mut Reported) {
        let read = self.cache_read.0;
        let cached = [read, self.cache_creation.0];
        let cached = cached.into_iter().flatten().fold(0, u64::saturating_add);
        let input = self.input.0;
        let input = input.map(|fresh| fresh.saturating_add(cached));
        reported.input_tokens = input.or(reported.input_tokens);
        reported.cached_tokens = read.or(reported.cached_tokens);
        reported.output_tokens = self.output.0.or(reported.output_tokens);
    }
}

/// Reads a whole answer or one event.
pub(super) fn read(
    partial: &mut PartialAnswer,
    data: &[u8],
    emit: Emit<'_>,
) -> Result<bool, Fault> {
    let Document {
        value: document,
        marker,
    }: Document<Message> = parse(data)?;
    if is_something(&document.error) {
        check_for_error(data)?;
    }
    let kind = document.kind.as_deref();
    if kind.is_none() && document.content.is_none() {
        check_for_error(data)?;
    }
    partial.is_of_protocol |= kind == Some("message");
    document.start.usage.update(&mut partial.usage);
    document.usage.update(&mut partial.usage);
    let (index, is_start) = (document.index.0, kind == Some("content_block_start"));
    let model = document.start.model.0.or(document.model.0);
    partial.model = model.or(partial.model.take());
    if let Some(blocks) = &document.content {
        partial.is_whole |= !blocks.0.is_empty();
    }
    let blocks = document.content.unwrap_or_default().0.into_iter();
    let blocks = blocks
        .chain(document.start.content.0)
        .chain([document.content_block]);
    for block in blocks {
        partial
            .reasoning
            .push(&block.thinking.text, marker, &mut |_| {});
        partial.text.push(&block.text.text, marker, emit);
        if partial.offer.is_some() {
            take_block(partial, block, index.filter(|_| is_start), marker);
            continue;
        }
        match block.input {
            Value::String(text) => partial.arguments.push(&text, marker, emit),
            // Parallel calls are switched off; a second one would be a second answer.
            input if is_something(&input) || (input.is_object() && kind == Some("message")) => {
                partial.input.get_or_insert(input);
            }
            _ => {}
        }
    }
    let delta = document.delta;
    partial
        .reasoning
        .push(&delta.thinking.text, marker, &mut |_| {});
    partial.text.push(&delta.text.text, marker, emit);
    if partial.offer.is_some() {
        take_delta(partial, &delta, index, marker);
    } else {
        partial
            .arguments
            .push(&delta.partial_json.text, marker, emit);
    }
    let reason = delta.stop_reason.0.or(document.stop_reason.0);
    if let Some(reason) = reason {
        let finish = finish_reason(&reason);
        partial.finish = Some(finish);
        partial.reason = (finish == FinishReason::Other).then_some(reason);
    }
    Ok(kind == Some("message_stop"))
}

/// Keeps the call or the thoughts that a block is or begins.
fn take_block(partial: &mut PartialAnswer, block: Block, index: Option<u64>, marker: Option<char>) {
    match block.kind.as_deref() {
        Some("tool_use") => {
            let (id, name) = (
                block.id.0.unwrap_or_default(),
                block.name.0.unwrap_or_default(),
            );
            let input = match &block.input {
                Value::String(text) => text.clone(),
                // Of a block that begins: the input follows in pieces.
                input if !is_something(input) => String::new(),
                input => input.to_string(),
            };
            partial.calls.begin(&CallPiece {
                index,
                id: &id,
                name: &name,
                arguments: &input,
                marker,
            });
        }
        Some("thinking") => {
            let (thinking, signature) = (block.thinking.text, block.signature.text);
            let thoughts = json!({
                "type": "thinking", "thinking": thinking, "signature": signature,
            });
            partial.calls.keep(thoughts, false);
        }
        Some("redacted_thinking") => {
            let thoughts = json!({"type": "redacted_thinking", "data": block.data.text});
            partial.calls.keep(thoughts, false);
        }
        _ => {}
    }
}

/// Adds a piece to the block that it belongs to.
fn take_delta(
    partial: &mut PartialAnswer,
    delta: &Delta,
    index: Option<u64>,
    marker: Option<char>,
) {
    if !delta.partial_json.text.is_empty() {
        partial.calls.add(&CallPiece {
            index,
            arguments: &delta.partial_json.text,
            marker,
            ..CallPiece::default()
        });
    }
    let pieces = [
        ("thinking", &delta.thinking.text),
        ("signature", &delta.signature.text),
    ];
    for (key, piece) in pieces {
        if !piece.is_empty()
            && let Some(Value::String(text)) = partial
                .calls
                .latest_kept()
                .and_then(|thoughts| thoughts.get_mut(key))
        {
            text.push_str(piece);
        }
    }
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "end_turn" | "stop_sequence" | "stop" => FinishReason::Stop,
        "max_tokens" | "length" => FinishReason::Length,
        "model_context_window_exceeded" => FinishReason::ContextWindow,
        "tool_use" => FinishReason::ToolCall,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    clippy::format_collect,
    reason = "cases are written in place"
)]
mod tests {
    use super::super::Anthropic;
    use super::*;
    use crate::answer::{Answer, Body, FallbackText};
    use crate::error::ErrorKind;
    use crate::providers::refusal::of_body as refusal;
    use crate::providers::test_request::{
        calls_of, read_calls, read_stream, read_whole, stream_calls,
    };
    use crate::transport::failure::Refusal;

    fn whole(body: &[u8]) -> Result<Answer, Fault> {
        read_whole::<Anthropic>(body)
    }

    const USAGE: Reported = Reported {
        input_tokens: Some(36),
        cached_tokens: Some(20),
        output_tokens: Some(9),
    };

    fn answer(body: Body, finish: FinishReason) -> Answer {
        Answer {
            body,
            aside: FallbackText::Nothing,
            usage: USAGE,
            finish,
            reason: (finish == FinishReason::Other).then(|| "pause_turn".to_owned()),
            model: Some("claude-haiku-4-5-20251001".to_owned()),
            calls: Vec::new(),
            opaque: Vec::new(),
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

    /// T26
    #[test]
    fn offered_tools_are_called_and_thoughts_are_kept() {
        let thought = json!({"type": "thinking", "thinking": "why", "signature": "s=="});
        let body = json!({
            "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
            "content": [
                thought, {"type": "text", "text": "Hm."},
                {"type": "tool_use", "id": "a", "name": "get", "input": {"n": 1}},
                {"type": "tool_use", "id": "b", "name": "put", "input": {}},
            ],
        });
        let answer = read_calls::<Anthropic>("anthropic", &body.to_string());
        assert_eq!(calls_of(&answer), [r#"a get {"n":1}"#, "b put {}"]);
        assert_eq!(answer.opaque[0].value, thought);
        assert_eq!(answer.body, Body::Text("Hm.".to_owned()));
    }

    #[test]
    fn streamed_calls_and_thoughts_are_put_together() {
        let events = [
            START,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"wh"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"y"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s=="}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"a","name":"get","input":{}}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"n\""}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":":1}"}}"#,
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"b","name":"put","input":{}}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#,
            STOP,
        ];
        let body: String = events
            .iter()
            .map(|event| format!("data: {event}\n\n"))
            .collect();
        let (answer, emitted) = stream_calls::<Anthropic>("anthropic", &body);
        assert_eq!(calls_of(&answer), [r#"a get {"n":1}"#, "b put {}"]);
        assert_eq!(
            answer.opaque[0].value,
            json!({"type": "thinking", "thinking": "why", "signature": "s=="})
        );
        assert_eq!(emitted, "");
    }
}
