//! What a provider's refusal means, and the one sentence about it, without keys, prompts or walls
//! of text.

use std::time::Duration;

use crate::Error;
use crate::chat::{Message, Part};
use crate::error::{ErrorKind, Spent};
use crate::secret::Secret;
use crate::transport::echo;

/// Longest piece of a provider's own message that is passed on, in characters.
const MAX_QUOTED: usize = 300;

/// A refusal as the provider worded it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Refusal {
    /// The HTTP status, or the one its error type stands for when it came inside a stream.
    pub(crate) status: u16,
    /// Machine-readable words: type, code, reason.
    pub(crate) codes: String,
    /// For people; may be empty.
    pub(crate) message: String,
    /// From the body, where a provider puts it there.
    pub(crate) retry_after: Option<Duration>,
    /// The provider's dialect knows better than the general rules.
    pub(crate) kind: Option<ErrorKind>,
    /// What the model had written, where that is what the provider refused.
    pub(crate) answer: Option<String>,
}

/// What a refusal concerns, for its sentence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// `provider/model`
    pub(crate) name: &'a str,
    /// Hidden in the sentence.
    pub(crate) secrets: &'a [Secret],
    /// Where the key came from.
    pub(crate) key_variable: Option<&'a str>,
    /// Hidden in the sentence.
    pub(crate) messages: &'a [Message],
}

impl Refusal {
    /// Whether codes or message hold one of the words, whatever their case.
    pub(crate) fn mentions(&self, words: &[&str]) -> bool {
        let (codes, message) = (self.codes.to_lowercase(), self.message.to_lowercase());
        words
            .iter()
            .any(|word| codes.contains(word) || message.contains(word))
    }

    /// The kind of error, from status and wording.
    pub(crate) fn kind(&self) -> ErrorKind {
        if let Some(kind) = self.kind {
            return kind;
        }
        match self.status {
            401 | 403 => ErrorKind::Auth,
            402 => ErrorKind::QuotaExhausted,
            408 => ErrorKind::Timeout,
            413 => ErrorKind::ContextTooLong,
            429 if self.mentions(OUT_OF_CREDIT) => ErrorKind::QuotaExhausted,
            429 => ErrorKind::RateLimit,
            501 | 505 => ErrorKind::BadRequest,
            500..=599 => ErrorKind::Overloaded,
            _ if self.mentions(OUT_OF_CREDIT) => ErrorKind::QuotaExhausted,
            _ if self.mentions(TOO_LONG) => ErrorKind::ContextTooLong,
            _ if self.mentions(FILTERED) => ErrorKind::ContentFilter,
            _ => ErrorKind::BadRequest,
        }
    }

    /// The error for the caller. `retry_after` comes from the header.
    pub(crate) fn into_error(self, subject: Subject<'_>, retry_after: Option<Duration>) -> Error {
        let kind = self.kind();
        let quoted = subject.sanitise(&self.message);
        let mut message = format!("{}: {}", subject.name, what(kind, self.status));
        if !quoted.is_empty() {
            message.push_str(": ");
            message.push_str(&quoted);
        }
        if let Some(way_out) = way_out(kind, self.status, subject.key_variable) {
            message.push_str("; ");
            message.push_str(&way_out);
        }
        Error {
            kind,
            message,
            status: Some(self.status),
            retry_after: self.retry_after.or(retry_after),
            spent: Spent::Nothing,
        }
    }
}

impl Subject<'_> {
    /// The text in one line, without the key or any longer line of the prompt, and shortened.
    pub(crate) fn sanitise(&self, text: &str) -> String {
        let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // First: they may stand inside of what is to be hidden.
        text.retain(|character| !character.is_control());
        for secret in self.secrets {
            text = secret.mask(&text);
        }
        let text = echo::hide(&text, texts(self.messages));
        match text.char_indices().nth(MAX_QUOTED) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.trim_end_matches(['.', ' ']).to_owned(),
        }
    }
}

fn texts(messages: &[Message]) -> impl Iterator<Item = &str> {
    let parts = messages.iter().flat_map(|message| message.parts.iter());
    parts.map(|part| match part {
        Part::Text(text) => text,
        Part::ToolResult(result) => &result.content,
        // The model's own words.
        Part::ToolCall(_) | Part::Opaque(_) => "",
    })
}

/// Phrases that say that the account has no credit left.
pub(crate) const OUT_OF_CREDIT: &[&str] = &[
    "insufficient_quota",
    "insufficient balance",
    "credit balance",
    "billing_hard_limit",
    "out of credit",
    "insufficient credit",
    "insufficient_credit",
    "payment required",
];

const TOO_LONG: &[&str] = &[
    "context_length_exceeded",
    "exceed_context_size",
    "maximum context length",
    "context window",
    "context size",
    "context limit",
    "prompt is too long",
    "input is too long",
    "input token count",
    "too many tokens",
    "reduce the length",
];

const FILTERED: &[&str] = &[
    "content_filter",
    "content_policy",
    "content management policy",
    "content filtering policy",
    "prohibited_content",
    "blocked by safety",
];

fn what(kind: ErrorKind, status: u16) -> String {
    match kind {
        ErrorKind::Auth => format!("the key was refused ({status})"),
        ErrorKind::RateLimit => format!("too many requests ({status})"),
        ErrorKind::QuotaExhausted => format!("the account's quota is used up ({status})"),
        ErrorKind::Overloaded => format!("the server failed or is overloaded ({status})"),
        ErrorKind::ContextTooLong => format!("the prompt does not fit the model ({status})"),
        ErrorKind::ContentFilter => format!("a content filter refused the request ({status})"),
        ErrorKind::Timeout => format!("the server gave up waiting ({status})"),
        _ => format!("the request was refused ({status})"),
    }
}

fn way_out(kind: ErrorKind, status: u16, key_variable: Option<&str>) -> Option<String> {
    match (kind, status) {
        (ErrorKind::Auth, _) => Some(match key_variable {
            Some(variable) => format!("check {variable}"),
            None => "no key was sent; set the provider's key variable or `api_key_env`".to_owned(),
        }),
        (ErrorKind::QuotaExhausted, _) => Some("add credit, or use another model".to_owned()),
        (ErrorKind::ContextTooLong, _) => {
            Some("shorten the prompt, or use a model with a larger context".to_owned())
        }
        (ErrorKind::BadRequest, 404) => Some("check `model` and `api_base`".to_owned()),
        (ErrorKind::BadRequest, 300..=399) => {
            Some("set `api_base` to the address it redirects to".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Role;

    #[track_caller]
    fn check(status: u16, codes: &str, message: &str, expected: ErrorKind) {
        let refusal = Refusal {
            status,
            codes: codes.to_owned(),
            message: message.to_owned(),
            ..Refusal::default()
        };
        assert_eq!(refusal.kind(), expected);
    }

    #[test]
    fn a_key_with_control_characters_inside_is_hidden_too() {
        let subject = Subject {
            name: "p/m",
            secrets: &[Secret::from("sk-letmein")],
            key_variable: None,
            messages: &[],
        };
        assert_eq!(
            subject.sanitise("no sk-let\u{0}me\u{7f}in here"),
            "no *** here"
        );
    }

    #[test]
    fn status_decides_the_class() {
        check(401, "", "", ErrorKind::Auth);
        check(403, "", "", ErrorKind::Auth);
        check(402, "", "", ErrorKind::QuotaExhausted);
        check(408, "", "", ErrorKind::Timeout);
        check(413, "", "", ErrorKind::ContextTooLong);
        check(429, "", "", ErrorKind::RateLimit);
        check(404, "", "", ErrorKind::BadRequest);
        check(422, "", "", ErrorKind::BadRequest);
        check(301, "", "", ErrorKind::BadRequest);
        check(501, "", "", ErrorKind::BadRequest);
        for status in [500, 502, 503, 504, 520, 529] {
            check(status, "", "", ErrorKind::Overloaded);
        }
    }

    #[test]
    fn wording_refines_it() {
        check(
            429,
            "insufficient_quota",
            "You exceeded your current quota",
            ErrorKind::QuotaExhausted,
        );
        check(
            400,
            "invalid_request_error",
            "Your credit balance is too low",
            ErrorKind::QuotaExhausted,
        );
        check(
            400,
            "context_length_exceeded",
            "",
            ErrorKind::ContextTooLong,
        );
        check(
            400,
            "exceed_context_size_error",
            "request (9 tokens) exceeds the available context size",
            ErrorKind::ContextTooLong,
        );
        check(
            400,
            "",
            "prompt is too long: 210000 tokens > 200000 maximum",
            ErrorKind::ContextTooLong,
        );
        check(
            400,
            "",
            "The input token count (2000000) exceeds the maximum",
            ErrorKind::ContextTooLong,
        );
        check(400, "content_filter", "", ErrorKind::ContentFilter);
        check(400, "", "unknown parameter", ErrorKind::BadRequest);
        check(500, "", "context window", ErrorKind::Overloaded);
    }

    fn message(status: u16, quoted: &str, prompt: &str) -> String {
        let messages = [Message::new(Role::User, prompt.to_owned())];
        let subject = Subject {
            name: "openai/gpt-4o-mini",
            secrets: &[Secret::from("sk-secret"), Secret::from("dXNlcjpwYXNz")],
            key_variable: Some("OPENAI_API_KEY"),
            messages: &messages,
        };
        let refusal = Refusal {
            status,
            message: quoted.to_owned(),
            ..Refusal::default()
        };
        refusal.into_error(subject, None).message
    }

    #[test]
    fn the_sentence_names_the_way_out() {
        assert_eq!(
            message(401, "Bad key.", ""),
            "openai/gpt-4o-mini: the key was refused (401): Bad key; check OPENAI_API_KEY"
        );
        assert_eq!(
            message(404, "", ""),
            "openai/gpt-4o-mini: the request was refused (404); check `model` and `api_base`"
        );
    }

    #[test]
    fn keys_and_prompts_are_hidden() {
        let prompt = "Write about the\nsecret merger of A and B\nHi";
        let got = message(
            400,
            "bad key sk-secret or Basic dXNlcjpwYXNz in {'content': 'secret merger of A and B'} Hi",
            prompt,
        );
        assert_eq!(
            got,
            "openai/gpt-4o-mini: the request was refused (400): bad key *** or Basic *** in {'content': '…'} Hi"
        );
    }

    #[test]
    fn long_messages_are_cut_and_control_characters_dropped() {
        let got = message(400, &format!("a\u{1b}[31m\nb{}", "ü".repeat(1_000)), "");
        assert!(got.contains("a[31m b"), "{got}");
        assert!(got.chars().count() < 400, "{got}");
        assert!(got.ends_with('…'), "{got}");
    }
}
