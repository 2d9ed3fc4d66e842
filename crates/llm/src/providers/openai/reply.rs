//! Answers and stream events in the JSON of OpenAI.

use serde_json::{Value, json};

use crate::chat::FinishReason;
use crate::providers::calls::CallPiece;
use crate::providers::lenient::{
    Count, Document, List, Maybe, Text, Word, is_something, object, parse,
};
use crate::providers::partial::{Emit, PartialAnswer};
use crate::providers::reading::check_for_error;
use crate::providers::{Fault, refusal};
use crate::tokens::Reported;

object! {
    /// A whole answer, or one event of a stream: they differ in `message` and `delta` only.
    Completion {
        choices: Option<List<Choice>> = "choices",
        usage: Tokens = "usage",
        model: Word = "model",
        error: Value = "error",
    }
}

object! {
    Choice {
        message: Maybe<Message> = "message",
        delta: Maybe<Message> = "delta",
        finish_reason: Word = "finish_reason",
        error: Value = "error",
    }
}

object! {
    Message {
        content: Text = "content",
        reasoning_content: Text = "reasoning_content",
        reasoning: Text = "reasoning" | "thinking",
        refusal: Text = "refusal",
        tool_calls: List<ToolCall> = "tool_calls",
        /// What calls were before there were several.
        function_call: Function = "function_call",
    }
}

object! {
    ToolCall {
        index: Count = "index",
        id: Word = "id",
        function: Function = "function",
        /// What compatible servers add, such as Gemini's signatures.
        extra_content: Value = "extra_content",
    }
}

object! {
    Function {
        name: Text = "name",
        /// As a text of JSON, or as the object itself.
        arguments: Text = "arguments",
    }
}

object! {
    Tokens {
        prompt: Count = "prompt_tokens" | "input_tokens",
        completion: Count = "completion_tokens" | "output_tokens",
        details: Details = "prompt_tokens_details" | "input_tokens_details",
    }
}

object! {
    Details {
        cached: Count = "cached_tokens",
    }
}

impl Tokens {
    fn reported(&self) -> Reported {
        Reported {
            input_tokens: self.prompt.0,
            cached_tokens: self.details.cached.0,
            output_tokens: self.completion.0,
        }
    }
}

/// Reads a whole answer or one event.
pub(super) fn read(
    partial: &mut PartialAnswer,
    data: &[u8],
    emit: Emit<'_>,
) -> Result<bool, Fault> {
    let Document {
        value: completion,
        marker,
    }: Document<Completion> = parse(data)?;
    if is_something(&completion.error) {
        check_for_error(data)?;
    }
    let reported = completion.usage.reported();
    if reported != Reported::default() {
        partial.usage = reported;
    }
    partial.model = completion.model.0.or(partial.model.take());
    let Some(List(choices)) = completion.choices else {
        if partial.finish.is_none() {
            check_for_error(data)?;
        }
        partial.is_of_protocol |= has_choices(data);
        return Ok(false);
    };
    partial.is_of_protocol = true;
    // Only one answer is ever asked for.
    let Some(choice) = choices.into_iter().next() else {
        return Ok(false);
    };
    if is_something(&choice.error)
        && let Some(refusal) = refusal::in_answer(&serde_json::json!({ "error": choice.error }))
    {
        return Err(Fault::Refused(refusal));
    }
    let is_whole = choice.message.0.is_some();
    if let Some(message) = choice.message.0.or(choice.delta.0) {
        let Message {
            content,
            reasoning_content,
            reasoning,
            refusal,
            tool_calls,
            function_call,
        } = message;
        let mut hide = |_: &str| {};
        partial.refusal.push(&refusal.text, marker, &mut hide);
        // Some send the same under both names.
        let reasoning = if reasoning_content.text.is_empty() {
            reasoning
        } else {
            partial.returned_reasoning = Some("reasoning_content");
            reasoning_content
        };
        partial.reasoning.push(&reasoning.text, marker, &mut hide);
        partial
            .reasoning
            .push(&content.reasoning, marker, &mut hide);
        partial.text.push(&content.text, marker, emit);
        if partial.offer.is_some() {
            let calls = tool_calls.0.into_iter();
            calls.for_each(|call| add_call(partial, &call, marker));
            // Nothing is said of calls in a message without any.
            if !function_call.name.text.is_empty() || !function_call.arguments.text.is_empty() {
                let call = ToolCall {
                    function: function_call,
                    ..ToolCall::default()
                };
                add_call(partial, &call, marker);
            }
        } else {
            // Only one tool is ever forced; a second call of it would be a second answer.
            let call = tool_calls
                .0
                .into_iter()
                .find(|call| call.index.0.unwrap_or(0) == 0);
            let function = call.map_or(function_call, |call| call.function);
            partial
                .arguments
                .push(&function.arguments.text, marker, emit);
        }
    }
    if let Some(reason) = choice.finish_reason.as_deref() {
        let finish = finish_reason(reason);
        partial.finish = Some(finish);
        partial.reason = (finish == FinishReason::Other).then(|| reason.to_owned());
    } else if is_whole {
        // Small servers leave the reason out of whole answers, which are complete all the same.
        partial.finish.get_or_insert(FinishReason::Stop);
    }
    Ok(false)
}

fn add_call(partial: &mut PartialAnswer, call: &ToolCall, marker: Option<char>) {
    partial.calls.add(&CallPiece {
        index: call.index.0,
        id: call.id.0.as_deref().unwrap_or_default(),
        name: &call.function.name.text,
        arguments: &call.function.arguments.text,
        marker,
    });
    if is_something(&call.extra_content) {
        let extra = json!({ "extra_content": call.extra_content });
        partial.calls.keep(extra, true);
    }
}

/// Whether there are choices, although none can be read.
fn has_choices(data: &[u8]) -> bool {
    let document: Result<Document<Value>, _> = parse(data);
    document.is_ok_and(|document| document.value.get("choices").is_some())
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason.to_ascii_lowercase().as_str() {
        "stop" | "eos" | "eos_token" | "end_turn" | "stop_sequence" | "complete" => {
            FinishReason::Stop
        }
        "length" | "max_tokens" | "model_length" => FinishReason::Length,
        "model_context_window_exceeded" => FinishReason::ContextWindow,
        "tool_calls" | "tool_call" | "function_call" | "tool_use" => FinishReason::ToolCall,
        "content_filter" | "safety" => FinishReason::ContentFilter,
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
    use super::super::OpenAi;
    use super::*;
    use crate::answer::{Answer, Body, FallbackText};
    use crate::error::ErrorKind;
    use crate::providers::refusal::of_body as refusal;
    use crate::providers::test_request::{read_stream, read_whole};
    use crate::transport::failure::Refusal;

    fn whole(body: &[u8]) -> Result<Answer, Fault> {
        read_whole::<OpenAi>(body)
    }

    fn answer(text: &str, finish: FinishReason, usage: Reported) -> Answer {
        Answer {
            body: Body::Text(text.to_owned()),
            aside: FallbackText::Nothing,
            usage,
            finish,
            reason: None,
            model: Some("gpt-4o-mini-2024-07-18".to_owned()),
            calls: Vec::new(),
            opaque: Vec::new(),
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
