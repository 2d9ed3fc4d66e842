//! Ollama's answers and stream lines. A stream is a row of answers that each hold a piece.

use serde_json::Value;

use crate::chat::FinishReason;
use crate::providers::Fault;
use crate::providers::lenient::{
    Count, Document, Flag, List, Maybe, Text, Word, is_something, object, parse,
};
use crate::providers::partial::{Emit, PartialAnswer};
use crate::providers::reading::check_for_error;
use crate::tokens::Reported;

object! {
    Response {
        model: Word = "model",
        message: Maybe<Message> = "message",
        done: Flag = "done",
        done_reason: Word = "done_reason",
        /// Left out when the whole prompt was in the cache.
        prompt_eval_count: Count = "prompt_eval_count",
        eval_count: Count = "eval_count",
        error: Value = "error",
    }
}

object! {
    Message {
        content: Text = "content",
        thinking: Text = "thinking",
        tool_calls: List<ToolCall> = "tool_calls",
    }
}

object! {
    ToolCall {
        id: Word = "id",
        function: Function = "function",
    }
}

object! {
    Function {
        name: Word = "name",
        arguments: Value = "arguments",
    }
}

/// Reads a whole answer or one line.
pub(super) fn read(
    partial: &mut PartialAnswer,
    data: &[u8],
    emit: Emit<'_>,
) -> Result<bool, Fault> {
    let Document {
        value: response,
        marker,
    }: Document<Response> = parse(data)?;
    if is_something(&response.error) {
        check_for_error(data)?;
    }
    let is_done = response.done.0.unwrap_or(false);
    if response.message.0.is_none() && !is_done {
        check_for_error(data)?;
    }
    if let Some(message) = response.message.0 {
        partial.is_of_protocol = true;
        partial.is_whole |= response.done.0.is_none();
        partial
            .reasoning
            .push(&message.thinking.text, marker, &mut |_| {});
        partial.text.push(&message.content.text, marker, emit);
        if partial.offer.is_some() {
            if !message.thinking.text.is_empty() {
                partial.returned_reasoning = Some("thinking");
            }
            // Every call comes in one piece, whatever its index says.
            for call in message.tool_calls.0 {
                let id = call.id.0.unwrap_or_default();
                let name = call.function.name.0.unwrap_or_default();
                partial.calls.add_whole(&id, &name, call.function.arguments);
            }
        } else if let Some(call) = message.tool_calls.0.into_iter().next()
            && partial.arguments.is_empty()
        {
            let arguments = match call.function.arguments {
                Value::String(text) => text,
                Value::Null => String::new(),
                arguments => arguments.to_string(),
            };
            partial.arguments.push(&arguments, marker, emit);
        }
    }
    partial.model = response.model.0.or(partial.model.take());
    if is_done {
        let finish = finish_reason(response.done_reason.as_deref());
        partial.finish = Some(finish);
        partial.reason = response
            .done_reason
            .0
            .filter(|_| finish == FinishReason::Other);
        partial.usage = Reported {
            input_tokens: response.prompt_eval_count.0,
            cached_tokens: None,
            output_tokens: response.eval_count.0,
        };
    }
    Ok(is_done)
}

/// Older servers give no reason.
fn finish_reason(reason: Option<&str>) -> FinishReason {
    match reason {
        Some("stop") | None => FinishReason::Stop,
        Some("length") => FinishReason::Length,
        Some(_) => FinishReason::Other,
    }
}

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    clippy::format_collect,
    reason = "cases are written in place"
)]
mod tests {
    use super::super::Ollama;
    use super::*;
    use crate::answer::{Answer, Body, FallbackText};
    use crate::error::ErrorKind;
    use crate::providers::refusal::of_body as refusal;
    use crate::providers::test_request::{calls_of, read_stream, read_whole, stream_calls};
    use crate::transport::failure::Refusal;

    fn whole(body: &[u8]) -> Result<Answer, Fault> {
        read_whole::<Ollama>(body)
    }

    fn answer(text: &str, finish: FinishReason) -> Answer {
        let usage = Reported {
            input_tokens: Some(26),
            cached_tokens: None,
            output_tokens: Some(7),
        };
        Answer {
            body: Body::Text(text.to_owned()),
            aside: FallbackText::Nothing,
            usage,
            finish,
            reason: None,
            model: Some("llama3.2".to_owned()),
            calls: Vec::new(),
            opaque: Vec::new(),
        }
    }

    #[track_caller]
    fn check_whole(body: &str, expected: Result<Answer, Fault>) {
        assert_eq!(whole(body.as_bytes()), expected);
    }

    #[test]
    fn whole_answers() {
        check_whole(
            r#"{"model":"llama3.2","created_at":"2024-07-22T20:33:28Z","message":{"role":"assistant","content":"Hello","thinking":"hm"},"done":true,"done_reason":"stop","total_duration":5,"prompt_eval_count":26,"eval_count":7}"#,
            Ok(answer("Hello", FinishReason::Stop)),
        );
        check_whole(
            r#"{"model":"llama3.2","message":{"role":"assistant","content":"Hel"},"done":true,"done_reason":"length","prompt_eval_count":26,"eval_count":7}"#,
            Ok(answer("Hel", FinishReason::Length)),
        );
        check_whole("{}", Err(Fault::Malformed("no `done`".to_owned())));
    }

    fn line(text: &str) -> String {
        format!(
            r#"{{"model":"llama3.2","message":{{"role":"assistant","content":"{text}"}},"done":false}}"#
        )
    }

    const DONE: &str = r#"{"model":"llama3.2","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":26,"eval_count":7}"#;

    #[track_caller]
    fn check_stream(lines: &[String], expected: Result<Answer, Fault>, emitted: &str) {
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        assert_eq!(read_stream(&Ollama, &body), (expected, emitted.to_owned()));
    }

    #[test]
    fn streamed_text() {
        check_stream(
            &[line("Grü"), line("ße"), DONE.to_owned()],
            Ok(answer("Grüße", FinishReason::Stop)),
            "Grüße",
        );
    }

    #[test]
    fn a_stream_without_an_end_is_truncated() {
        check_stream(&[line("Hel")], Err(Fault::Truncated), "Hel");
    }

    #[test]
    fn an_error_inside_a_stream() {
        let refusal = Refusal {
            status: 500,
            message: "out of memory".to_owned(),
            ..Refusal::default()
        };
        check_stream(
            &[line("Hel"), r#"{"error":"out of memory"}"#.to_owned()],
            Err(Fault::Refused(refusal)),
            "Hel",
        );
    }

    #[test]
    fn error_bodies() {
        let got = refusal(
            404,
            br#"{"error":"model \"x\" not found, try pulling it first"}"#,
        );
        assert_eq!(
            (got.kind(), got.message.as_str()),
            (
                ErrorKind::BadRequest,
                "model \"x\" not found, try pulling it first"
            )
        );
        assert_eq!(refusal(502, b"<html>").message, "");
    }

    /// T17: Ollama gives every call the same index, and no id.
    #[test]
    fn offered_tools_are_called() {
        let calls = r#"{"model":"m","message":{"role":"assistant","content":"","thinking":"why","tool_calls":[
            {"function":{"index":0,"name":"get","arguments":{"type":"text","text":"x"}}},
            {"function":{"index":0,"name":"get"}}]},"done":false}"#
            .replace('\n', "");
        let body = format!("{calls}\n{DONE}\n");
        let (answer, emitted) = stream_calls::<Ollama>("ollama", &body);
        assert_eq!(
            calls_of(&answer),
            [r#"call_1 get {"type":"text","text":"x"}"#, "call_2 get {}"]
        );
        assert_eq!(answer.finish, FinishReason::ToolCall);
        assert_eq!(emitted, "");
        assert_eq!(
            answer.opaque[0].value,
            serde_json::json!({"thinking": "why"})
        );
    }
}
