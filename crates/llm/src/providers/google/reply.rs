//! Gemini's answers, stream events and errors. A stream is a row of answers that each hold a piece.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::answer::{Answer, Body};
use crate::chat::FinishReason;
use crate::error::ErrorKind;
use crate::providers::{self, Fault, plain_refusal};
use crate::tokens::Reported;
use crate::transport::failure::Refusal;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    candidates: Vec<Candidate>,
    prompt_feedback: Option<Feedback>,
    usage_metadata: Option<Tokens>,
    model_version: Option<String>,
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Option<Content>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
    /// The text is the model's reasoning.
    #[serde(default)]
    thought: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    block_reason: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
struct Tokens {
    prompt_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
}

impl From<Tokens> for Reported {
    fn from(tokens: Tokens) -> Self {
        let thoughts = tokens.thoughts_token_count.unwrap_or(0);
        let answer = tokens.candidates_token_count;
        Self {
            input_tokens: tokens.prompt_token_count,
            cached_tokens: tokens.cached_content_token_count,
            output_tokens: answer.map(|answer| answer.saturating_add(thoughts)),
        }
    }
}

/// Reads a whole answer.
pub(super) fn whole(body: &[u8]) -> Result<Answer, Fault> {
    let mut assembly = Assembly::default();
    assembly.take(body, &mut |_| {})?;
    let finish = assembly
        .finish
        .ok_or_else(|| Fault::Malformed("no candidate with a `finishReason`".to_owned()))?;
    Ok(assembly.answer(finish))
}

/// Gathers an answer.
#[derive(Default)]
pub(crate) struct Assembly {
    text: String,
    finish: Option<FinishReason>,
    usage: Reported,
    model: Option<String>,
}

impl Assembly {
    fn take(&mut self, data: &[u8], emit: &mut (dyn FnMut(&str) + Send)) -> Result<(), Fault> {
        let response: Response = serde_json::from_slice(data)?;
        if let Some(error) = response.error {
            return Err(Fault::Refused(describe(&error, 500)));
        }
        if let Some(reason) = response
            .prompt_feedback
            .and_then(|feedback| feedback.block_reason)
        {
            return Err(Fault::Filtered(format!(
                "the prompt was blocked ({reason})"
            )));
        }
        if let Some(tokens) = response.usage_metadata {
            self.usage = tokens.into();
        }
        self.model = response.model_version.or(self.model.take());
        // Only one answer is ever asked for.
        let Some(candidate) = response.candidates.into_iter().next() else {
            return Ok(());
        };
        for part in candidate
            .content
            .into_iter()
            .flat_map(|content| content.parts)
            .filter(|part| !part.thought)
        {
            emit(&part.text);
            self.text.push_str(&part.text);
        }
        if let Some(reason) = candidate.finish_reason {
            self.finish = Some(finish_reason(&reason));
        }
        Ok(())
    }

    fn answer(self, finish: FinishReason) -> Answer {
        Answer {
            body: Body::Text(self.text),
            usage: self.usage,
            finish,
            model: self.model,
        }
    }
}

impl providers::Assembly for Assembly {
    fn event(&mut self, data: &[u8], emit: &mut (dyn FnMut(&str) + Send)) -> Result<bool, Fault> {
        self.take(data, emit)?;
        // Nothing marks the end but the end: the last piece may follow the reason.
        Ok(false)
    }

    fn finish(self) -> Result<Answer, Fault> {
        let finish = self.finish.ok_or(Fault::Truncated)?;
        Ok(self.answer(finish))
    }
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

/// Reads an error body: `{"error": {"code", "message", "status", "details"}}`, or a list of one.
pub(super) fn refusal(status: u16, body: &[u8]) -> Refusal {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return plain_refusal(status, body);
    };
    let error = body
        .get(0)
        .unwrap_or(&body)
        .get("error")
        .unwrap_or(&Value::Null);
    let mut refusal = describe(error, status);
    refusal.status = status;
    refusal
}

fn describe(error: &Value, otherwise: u16) -> Refusal {
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    let details = || error["details"].as_array().into_iter().flatten();
    let reasons = details().filter_map(|detail| detail["reason"].as_str());
    let codes: Vec<&str> = std::iter::once(text("status"))
        .chain(reasons)
        .filter(|code| !code.is_empty())
        .collect();
    let code = error["code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok());
    let status = code
        .filter(|code| (400..600).contains(code))
        .unwrap_or(otherwise);
    // "You exceeded your current quota" is said of every limit here, those per minute included;
    // only what is counted by the day is not worth waiting for.
    let kind = match status {
        429 if details().any(is_daily_quota) => Some(ErrorKind::QuotaExhausted),
        429 => Some(ErrorKind::RateLimit),
        400 if codes.contains(&"API_KEY_INVALID")
            || text("message").contains("API key not valid") =>
        {
            Some(ErrorKind::Auth)
        }
        _ => None,
    };
    Refusal {
        status,
        codes: codes.join(" "),
        message: text("message").to_owned(),
        retry_after: details().find_map(|detail| delay(detail["retryDelay"].as_str()?)),
        kind,
    }
}

fn is_daily_quota(detail: &Value) -> bool {
    let violations = detail["violations"].as_array().into_iter().flatten();
    violations
        .filter_map(|violation| violation["quotaId"].as_str())
        .any(|id| id.contains("PerDay"))
}

/// Such as `34.07s`.
fn delay(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    clippy::format_collect,
    reason = "cases are written in place"
)]
mod tests {
    use serde_json::json;

    use super::super::Google;
    use super::*;
    use crate::providers::test_request::read_stream;

    const USAGE: Reported = Reported {
        input_tokens: Some(30),
        cached_tokens: Some(20),
        output_tokens: Some(9),
    };

    fn answer(text: &str, finish: FinishReason) -> Answer {
        Answer {
            body: Body::Text(text.to_owned()),
            usage: USAGE,
            finish,
            model: Some("gemini-2.5-flash-lite".to_owned()),
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
}
