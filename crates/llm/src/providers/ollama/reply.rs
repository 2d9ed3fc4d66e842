//! Ollama's answers, stream lines and errors. A stream is a row of answers that each hold a piece.

use serde::Deserialize;
use serde_json::Value;

use crate::answer::{Answer, Body};
use crate::chat::FinishReason;
use crate::providers::{self, Fault, plain_refusal};
use crate::tokens::Reported;
use crate::transport::failure::Refusal;

#[derive(Deserialize)]
struct Response {
    model: Option<String>,
    message: Option<Message>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    /// Left out when the whole prompt was in the cache.
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: String,
}

/// Reads a whole answer.
pub(super) fn whole(body: &[u8]) -> Result<Answer, Fault> {
    let mut assembly = Assembly::default();
    if !providers::Assembly::event(&mut assembly, body, &mut |_| {})? {
        return Err(Fault::Malformed("no `done`".to_owned()));
    }
    providers::Assembly::finish(assembly)
}

/// Gathers an answer.
#[derive(Default)]
pub(crate) struct Assembly {
    text: String,
    finish: Option<FinishReason>,
    usage: Reported,
    model: Option<String>,
}

impl providers::Assembly for Assembly {
    fn event(&mut self, data: &[u8], emit: &mut (dyn FnMut(&str) + Send)) -> Result<bool, Fault> {
        let response: Response = serde_json::from_slice(data)?;
        if let Some(message) = response.error {
            return Err(Fault::Refused(Refusal {
                status: 500,
                message,
                ..Refusal::default()
            }));
        }
        if let Some(message) = response.message {
            emit(&message.content);
            self.text.push_str(&message.content);
        }
        self.model = response.model.or(self.model.take());
        if response.done {
            self.finish = Some(finish_reason(response.done_reason.as_deref()));
            self.usage = Reported {
                input_tokens: response.prompt_eval_count,
                cached_tokens: None,
                output_tokens: response.eval_count,
            };
        }
        Ok(response.done)
    }

    fn finish(self) -> Result<Answer, Fault> {
        let finish = self.finish.ok_or(Fault::Truncated)?;
        Ok(Answer {
            body: Body::Text(self.text),
            usage: self.usage,
            finish,
            model: self.model,
        })
    }
}

/// Older servers give no reason.
fn finish_reason(reason: Option<&str>) -> FinishReason {
    match reason {
        Some("stop") | None => FinishReason::Stop,
        Some("length") => FinishReason::Length,
        Some(_) => FinishReason::Other,
    }
}

/// Reads an error body: `{"error": "…"}`.
pub(super) fn refusal(status: u16, body: &[u8]) -> Refusal {
    let error = serde_json::from_slice::<Value>(body).ok();
    match error.as_ref().and_then(|body| body["error"].as_str()) {
        Some(message) => Refusal {
            status,
            message: message.to_owned(),
            ..Refusal::default()
        },
        None => plain_refusal(status, body),
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
    use crate::error::ErrorKind;
    use crate::providers::test_request::read_stream;

    fn answer(text: &str, finish: FinishReason) -> Answer {
        let usage = Reported {
            input_tokens: Some(26),
            cached_tokens: None,
            output_tokens: Some(7),
        };
        Answer {
            body: Body::Text(text.to_owned()),
            usage,
            finish,
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
