//! Gemini's answers and stream events. A stream is a row of answers that each hold a piece.

use serde_json::{Value, json};

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
        candidates: Option<List<Candidate>> = "candidates",
        prompt_feedback: Feedback = "promptFeedback",
        usage: Tokens = "usageMetadata",
        model: Word = "modelVersion",
        error: Value = "error",
    }
}

object! {
    Candidate {
        content: Maybe<Content> = "content",
        finish_reason: Word = "finishReason",
    }
}

object! {
    Content {
        parts: List<Part> = "parts",
    }
}

object! {
    Part or text {
        text: Text = "text",
        /// The text is the model's reasoning.
        thought: Flag = "thought",
        call: Maybe<Call> = "functionCall",
        signature: Word = "thoughtSignature" | "thought_signature",
    }
}

object! {
    Call {
        id: Word = "id",
        name: Word = "name",
        args: Value = "args",
    }
}

object! {
    Feedback {
        block_reason: Word = "blockReason",
    }
}

object! {
    Tokens {
        prompt: Count = "promptTokenCount",
        cached: Count = "cachedContentTokenCount",
        candidates: Count = "candidatesTokenCount",
        thoughts: Count = "thoughtsTokenCount",
    }
}

impl Tokens {
    fn update(&self, reported: &mut Reported) {
        let thoughts = self.thoughts.0.unwrap_or(0);
        let output = self.candidates.0;
        let output = output.map(|answer| answer.saturating_add(thoughts));
        reported.input_tokens = self.prompt.0.or(reported.input_tokens);
        reported.cached_tokens = self.cached.0.or(reported.cached_tokens);
        reported.output_tokens = output.or(reported.output_tokens);
    }
}

/// Reads a whole answer or one event.
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
    if let Some(reason) = response.prompt_feedback.block_reason.as_deref() {
        return Err(Fault::Filtered(format!(
            "the prompt was blocked ({reason})"
        )));
    }
    response.usage.update(&mut partial.usage);
    partial.model = response.model.0.or(partial.model.take());
    let Some(List(candidates)) = response.candidates else {
        if partial.finish.is_none() {
            check_for_error(data)?;
        }
        return Ok(false);
    };
    partial.is_of_protocol = true;
    // Only one answer is ever asked for.
    let Some(candidate) = candidates.into_iter().next() else {
        return Ok(false);
    };
    partial.is_whole |= candidate.content.0.is_some();
    for part in candidate.content.0.unwrap_or_default().parts.0 {
        if part.thought.0 == Some(true) {
            partial.reasoning.push(&part.text.text, marker, &mut |_| {});
        } else {
            partial.text.push(&part.text.text, marker, emit);
        }
        let is_call = part.call.0.is_some();
        if let Some(call) = part.call.0 {
            if partial.offer.is_some() {
                let id = call.id.0.unwrap_or_default();
                let name = call.name.0.unwrap_or_default();
                partial.calls.add_whole(&id, &name, call.args);
            } else if is_something(&call.args) {
                partial.input.get_or_insert(call.args);
            }
        }
        if partial.offer.is_some()
            && let Some(signature) = part.signature.0
        {
            let signature = json!({ "thoughtSignature": signature });
            partial.calls.keep(signature, is_call);
        }
    }
    if let Some(reason) = candidate.finish_reason.0 {
        let finish = finish_reason(&reason);
        partial.finish = Some(finish);
        partial.reason = (finish == FinishReason::Other).then_some(reason);
    }
    // Nothing marks the end but the end: the last piece may follow the reason.
    Ok(false)
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "LANGUAGE"
        | "IMAGE_SAFETY" => FinishReason::ContentFilter,
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
    use std::time::Duration;

    use super::super::Google;
    use super::*;
    use crate::answer::{Answer, Body, FallbackText};
    use crate::error::ErrorKind;
    use crate::providers::refusal::of_body as refusal;
    use crate::providers::test_request::{
        calls_of, read_calls, read_stream, read_whole, stream_calls,
    };
    use crate::transport::failure::Refusal;

    fn whole(body: &[u8]) -> Result<Answer, Fault> {
        read_whole::<Google>(body)
    }

    const USAGE: Reported = Reported {
        input_tokens: Some(30),
        cached_tokens: Some(20),
        output_tokens: Some(9),
    };

    fn answer(text: &str, finish: FinishReason) -> Answer {
        Answer {
            body: Body::Text(text.to_owned()),
            aside: FallbackText::Nothing,
            usage: USAGE,
            finish,
            reason: (finish == FinishReason::Other).then(|| "MALFORMED_FUNCTION_CALL".to_owned()),
            model: Some("gemini-2.5-flash-lite".to_owned()),
            calls: Vec::new(),
            opaque: Vec::new(),
        }
    }

    #[track_caller]
    fn check_whole(parts: Value, reason: &str, expected: Answer) {
        let body = json!({
            "candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": reason, "index": 0}],
            "usageMetadata": {"promptTokenCount": 30, "cachedContentTokenCount": 20, "candidatesTokenCount": 5,
                              "thoughtsTokenCount": 4, "totalTokenCount": 39},
            "modelVersion": "gemini-2.5-flash-lite",
        });
        assert_eq!(whole(body.to_string().as_bytes()), Ok(expected));
    }

    #[test]
    fn whole_answers() {
        let parts = json!([{"text": "hm", "thought": true}, {"text": "Hel"}, {"text": "lo"}]);
        check_whole(parts.clone(), "STOP", answer("Hello", FinishReason::Stop));
        check_whole(
            parts.clone(),
            "MAX_TOKENS",
            answer("Hello", FinishReason::Length),
        );
        check_whole(
            parts.clone(),
            "SAFETY",
            answer("Hello", FinishReason::ContentFilter),
        );
        check_whole(
            parts,
            "MALFORMED_FUNCTION_CALL",
            answer("Hello", FinishReason::Other),
        );
        check_whole(json!([]), "SAFETY", answer("", FinishReason::ContentFilter));
    }

    #[test]
    fn a_blocked_prompt_has_no_candidates() {
        let body = json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}});
        let expected = Fault::Filtered("the prompt was blocked (SAFETY)".to_owned());
        assert_eq!(whole(body.to_string().as_bytes()), Err(expected));
    }

    #[test]
    fn foreign_json_is_named_as_such() {
        let expected = Fault::Malformed("no candidate with a `finishReason`".to_owned());
        assert_eq!(whole(b"{}"), Err(expected));
    }

    #[track_caller]
    fn check_stream(events: &[Value], expected: Result<Answer, Fault>, emitted: &str) {
        let body: String = events
            .iter()
            .map(|event| format!("data: {event}\r\n\r\n"))
            .collect();
        assert_eq!(read_stream(&Google, &body), (expected, emitted.to_owned()));
    }

    fn piece(text: &str, finish: Option<&str>) -> Value {
        json!({
            "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": finish, "index": 0}],
            "usageMetadata": {"promptTokenCount": 30, "cachedContentTokenCount": 20, "candidatesTokenCount": 9},
            "modelVersion": "gemini-2.5-flash-lite",
        })
    }

    #[test]
    fn streamed_text() {
        check_stream(
            &[
                piece("{\"a\":", None),
                piece("\"Grüße\"", None),
                piece("}", Some("STOP")),
            ],
            Ok(answer("{\"a\":\"Grüße\"}", FinishReason::Stop)),
            "{\"a\":\"Grüße\"}",
        );
    }

    #[test]
    fn a_stream_without_a_reason_is_truncated() {
        check_stream(&[piece("Hel", None)], Err(Fault::Truncated), "Hel");
    }

    #[test]
    fn an_error_inside_a_stream() {
        let error = json!({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}});
        let refusal = Refusal {
            status: 503,
            codes: "UNAVAILABLE".to_owned(),
            message: "The model is overloaded.".to_owned(),
            ..Refusal::default()
        };
        check_stream(
            &[piece("Hel", None), error],
            Err(Fault::Refused(refusal)),
            "Hel",
        );
    }

    #[track_caller]
    fn check_refusal(status: u16, error: Value, kind: ErrorKind, retry_after_ms: Option<u64>) {
        let got = refusal(status, json!({"error": error}).to_string().as_bytes());
        assert_eq!(
            (got.kind(), got.retry_after),
            (kind, retry_after_ms.map(Duration::from_millis))
        );
    }

    #[test]
    fn error_bodies() {
        let quota = |id: &str| {
            json!({"code": 429, "message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED", "details": [
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": id}]},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"},
            ]})
        };
        check_refusal(
            429,
            quota("GenerateRequestsPerMinutePerProject"),
            ErrorKind::RateLimit,
            Some(34_500),
        );
        check_refusal(
            429,
            quota("GenerateRequestsPerDayPerProject"),
            ErrorKind::QuotaExhausted,
            Some(34_500),
        );
        let key = json!({"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT",
                         "details": [{"reason": "API_KEY_INVALID"}]});
        check_refusal(400, key, ErrorKind::Auth, None);
        let long = json!({"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens allowed (1).", "status": "INVALID_ARGUMENT"});
        check_refusal(400, long, ErrorKind::ContextTooLong, None);
        let missing =
            json!({"code": 404, "message": "models/x is not found", "status": "NOT_FOUND"});
        check_refusal(404, missing, ErrorKind::BadRequest, None);
    }

    #[test]
    fn an_error_may_come_as_a_list() {
        let body = json!([{"error": {"code": 503, "message": "Busy", "status": "UNAVAILABLE"}}])
            .to_string();
        assert_eq!(refusal(503, body.as_bytes()).message, "Busy");
    }

    /// T26: calls without ids and arguments are calls, and signatures are kept with them.
    #[test]
    fn offered_tools_are_called() {
        let body = json!({"candidates": [{"finishReason": "STOP", "content": {"role": "model", "parts": [
            {"text": "why", "thought": true},
            {"functionCall": {"name": "get", "args": {"n": 1}}, "thoughtSignature": "s=="},
            {"functionCall": {"name": "put"}},
            {"text": "", "thoughtSignature": "t=="},
        ]}}]});
        let answer = read_calls::<Google>("google", &body.to_string());
        assert_eq!(
            calls_of(&answer),
            [r#"call_1 get {"n":1}"#, "call_2 put {}"]
        );
        assert_eq!(answer.finish, FinishReason::ToolCall);
        let opaque: Vec<_> = answer
            .opaque
            .iter()
            .map(|opaque| (opaque.of_call.as_deref(), &opaque.value["thoughtSignature"]))
            .collect();
        assert_eq!(
            opaque,
            [(Some("call_1"), &json!("s==")), (None, &json!("t=="))]
        );
        let (streamed, _) = stream_calls::<Google>("google", &format!("data: {body}\n\n"));
        assert_eq!(streamed, answer);
    }
}
