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
        function: Function = "function",
    }
}

object! {
    Function {
        arguments: Text = "arguments",
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
        if let Some(call) = message.tool_calls.0.into_iter().next()
            && partial.arguments.is_empty()
        {
            let arguments = &call.function.arguments.text;
            partial.arguments.push(arguments, marker, emit);
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
    use crate::providers::test_request::{read_stream, read_whole};
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
}
