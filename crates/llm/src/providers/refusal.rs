//! Reads a provider's refusal, whatever its shape.

use std::time::Duration;

use serde_json::Value;

use super::lenient::{self, documents, is_something};
use crate::error::ErrorKind;
use crate::transport::failure::{OUT_OF_CREDIT, Refusal};
use crate::transport::frames::{Frames, Framing};

/// Deepest nesting of errors within errors that is read.
const MAX_DEPTH: usize = 6;
/// Most errors of a list that are quoted.
const MAX_LISTED_ERRORS: usize = 3;

/// Keys that contain an error, the most specific first.
const HOLDERS: &[&str] = &[
    "error",
    "Error",
    "errors",
    "fault",
    "base_resp",
    "choices",
    "details_error",
    "body",
    "response",
];
/// Keys of the error's sentence.
const SENTENCES: &[&str] = &[
    "message",
    "Message",
    "msg",
    "detail",
    "error_description",
    "error_message",
    "errorMessage",
    "error_msg",
    "status_msg",
    "faultstring",
    "description",
    "title",
    "reason",
];
/// Keys of a number that is treated like an HTTP status.
const STATUSES: &[&str] = &[
    "code",
    "status",
    "status_code",
    "statusCode",
    "http_status",
    "httpStatus",
    "error_code",
];
/// Keys of machine-readable codes.
const CODES: &[&str] = &["type", "code", "status", "param", "error_code", "__type"];

/// Codes of refusals that concern what the model wrote, not the request.
const UNUSABLE: &[&str] = &["json_validate_failed", "tool_use_failed"];

/// Reads the body of an error answer.
pub(crate) fn of_body(status: u16, body: &[u8]) -> Refusal {
    let Some(value) = json(body) else {
        return plain(status, body);
    };
    let details = ErrorDetails::of(&value);
    let status = match (status, details.status, details.named) {
        // Proxies answer with these whatever came of their own request.
        (400 | 500 | 502, Some(code), _) => code,
        (500 | 502, None, Some(named)) => named,
        _ => status,
    };
    details.into_refusal(status)
}

/// Reads an error that came instead of an answer with a success status; `None` if it is not an
/// error.
pub(crate) fn in_answer(value: &Value) -> Option<Refusal> {
    let first = match value {
        Value::Array(items) => items.first()?,
        _ => value,
    };
    let holds = |key: &&str| first.get(key).is_some_and(is_something);
    let is_error = HOLDERS[..3].iter().any(holds)
        || ["object", "type", "status"]
            .iter()
            .any(|key| first[*key] == "error")
        || first.pointer("/choices/0/error").is_some_and(is_something)
        || first
            .pointer("/base_resp/status_code")
            .is_some_and(is_something)
        || [
            "detail",
            "error_description",
            "error_message",
            "errorMessage",
            "error_msg",
        ]
        .iter()
        .any(holds)
        || (["message", "msg"].iter().any(|key| first[*key].is_string())
            && ["code", "type", "status", "status_code", "statusCode"]
                .iter()
                .any(holds));
    if !is_error {
        return None;
    }
    let details = ErrorDetails::of(first);
    let status = details.status.or(details.named).unwrap_or_else(|| {
        let refusal = Refusal {
            message: details.message.clone(),
            codes: details.codes.join(" "),
            ..Refusal::default()
        };
        if refusal.mentions(OUT_OF_CREDIT) {
            402
        } else if refusal.mentions(&["rate limit", "too many requests"]) {
            429
        } else if refusal.mentions(&["invalid api key", "unauthorized"]) {
            401
        } else {
            500
        }
    });
    Some(details.into_refusal(status))
}

/// The first document of a body, even if it is sent as an event.
fn json(body: &[u8]) -> Option<Value> {
    if let Ok(document) = lenient::parse(body) {
        return Some(document.value);
    }
    if let Some(first) = documents(body).next() {
        return serde_json::from_slice(first).ok();
    }
    let mut frames = Frames::new(Framing::ServerSentEvents);
    frames.push(body);
    frames.push(b"\n\n");
    std::iter::from_fn(|| frames.next_event())
        .find_map(|data| lenient::parse(&data).ok())
        .map(|document| document.value)
}

/// The text of an error body that is not JSON: short plain text is quoted, HTML pages are not.
fn plain(status: u16, body: &[u8]) -> Refusal {
    Refusal {
        status,
        message: plain_text(body).unwrap_or_default(),
        ..Refusal::default()
    }
}

/// The body as a text, unless it is an HTML page.
pub(crate) fn plain_text(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let is_page = text.trim_start().starts_with('<');
    (!is_page).then(|| text.into_owned())
}

/// What an error document says about the error.
#[derive(Debug, Default)]
struct ErrorDetails {
    message: String,
    codes: Vec<String>,
    /// A number that is an HTTP status.
    status: Option<u16>,
    /// The status that a machine-readable code stands for.
    named: Option<u16>,
    retry_after: Option<Duration>,
    is_of_google: bool,
    is_daily_quota: bool,
    /// What the model wrote.
    answer: Option<String>,
}

impl ErrorDetails {
    fn of(value: &Value) -> Self {
        let mut details = Self::default();
        details.take(value, 0);
        details
    }

    fn take(&mut self, value: &Value, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        match value {
            Value::String(text) => self.take_text(text, depth),
            Value::Array(items) => {
                let before = self.message.len();
                for item in items.iter().take(MAX_LISTED_ERRORS) {
                    let mut one = Self::default();
                    one.take(item, depth + 1);
                    let place = item["loc"].as_array().map(|parts| place(parts));
                    self.add(one, place, before);
                }
            }
            Value::Object(_) => self.take_object(value, depth),
            _ => {}
        }
    }

    /// A text may be the error as JSON.
    fn take_text(&mut self, text: &str, depth: usize) {
        let is_json = text.trim_start().starts_with(['{', '[']);
        let inner = is_json.then(|| serde_json::from_str::<Value>(text).ok());
        if let Some(Some(inner)) = inner {
            let before = self.message.len();
            self.take(&inner, depth + 1);
            if self.message.len() > before {
                return;
            }
        }
        if self.message.is_empty() {
            text.clone_into(&mut self.message);
        }
    }

    fn add(&mut self, one: Self, place: Option<String>, before: usize) {
        if !one.message.is_empty() {
            if self.message.len() > before {
                self.message.push_str("; ");
            }
            if self.message.len() > before || before == 0 {
                if let Some(place) = place {
                    self.message.push_str(&place);
                    self.message.push_str(": ");
                }
                self.message.push_str(&one.message);
            }
        }
        self.codes.extend(one.codes);
        self.status = self.status.or(one.status);
        self.named = self.named.or(one.named);
        self.retry_after = self.retry_after.or(one.retry_after);
        self.is_of_google |= one.is_of_google;
        self.is_daily_quota |= one.is_daily_quota;
        self.answer = self.answer.take().or(one.answer);
    }

    fn take_object(&mut self, object: &Value, depth: usize) {
        let mut name_of_error = None;
        for key in HOLDERS {
            match object.get(key) {
                // Beside a sentence, `error` is no more than its name.
                Some(Value::String(name)) if *key == "error" && has_sentence(object) => {
                    name_of_error = Some(name);
                }
                Some(inner) if is_something(inner) && self.message.is_empty() => {
                    self.take(inner, depth + 1);
                }
                _ => {}
            }
        }
        let is_outer = !self.message.is_empty() || !self.codes.is_empty();
        for key in STATUSES {
            self.status = self.status.or_else(|| status(object.get(key)?));
        }
        if !is_outer {
            self.take_codes(object);
            self.codes.extend(name_of_error.cloned());
            for key in SENTENCES {
                match object.get(key) {
                    Some(sentence) if self.message.is_empty() => self.take(sentence, depth + 1),
                    _ => {}
                }
            }
        }
        if let Some(raw) = object.pointer("/metadata/raw") {
            // A relay's own sentence says only that the provider behind it refused.
            let mut inner = Self::default();
            inner.take(raw, depth + 1);
            if !inner.message.is_empty() {
                self.message = format!("{}: {}", self.message, inner.message);
            }
            self.codes.extend(inner.codes);
        }
    }

    fn take_codes(&mut self, object: &Value) {
        for key in CODES {
            if let Some(code) = object[*key].as_str().filter(|code| !code.is_empty()) {
                self.named = self.named.or_else(|| status_of_code(code));
                self.codes.push(code.to_owned());
            }
        }
        self.is_of_google |= object["status"] == "RESOURCE_EXHAUSTED";
        for detail in object["details"].as_array().into_iter().flatten() {
            self.codes
                .extend(detail["reason"].as_str().map(str::to_owned));
            self.is_daily_quota |= is_daily_quota(detail);
            let delay = detail["retryDelay"].as_str().and_then(delay);
            self.retry_after = self.retry_after.or(delay);
        }
        let is_unusable = self.codes.iter().any(|code| UNUSABLE.contains(&&**code));
        if is_unusable {
            self.answer = Some(match &object["failed_generation"] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
        }
    }

    fn into_refusal(self, status: u16) -> Refusal {
        let is_invalid_key = self.codes.iter().any(|code| code == "API_KEY_INVALID")
            || self.message.contains("API key not valid");
        // "You exceeded your current quota" is said of every limit at Google, those per minute
        // included; only what is counted by the day is not worth waiting for.
        let kind = match status {
            429 if self.is_daily_quota => Some(ErrorKind::QuotaExhausted),
            429 if self.is_of_google => Some(ErrorKind::RateLimit),
            400 if is_invalid_key => Some(ErrorKind::Auth),
            _ => None,
        };
        Refusal {
            status,
            codes: self.codes.join(" "),
            message: self.message,
            retry_after: self.retry_after,
            kind,
            answer: self.answer,
        }
    }
}

fn has_sentence(object: &Value) -> bool {
    SENTENCES
        .iter()
        .any(|key| object[*key].as_str().is_some_and(|text| !text.is_empty()))
}

/// `body.messages.0`
fn place(parts: &[Value]) -> String {
    let parts = parts.iter().map(|part| match part {
        Value::String(name) => name.clone(),
        other => other.to_string(),
    });
    parts.collect::<Vec<_>>().join(".")
}

/// A status of an error, as a number or as a text.
fn status(value: &Value) -> Option<u16> {
    let number = match value {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    let number = u16::try_from(number).ok()?;
    (400..600).contains(&number).then_some(number)
}

/// The status an error's code stands for, as the providers name them.
fn status_of_code(code: &str) -> Option<u16> {
    let mut plain = code.to_ascii_lowercase();
    plain.retain(|c| c.is_ascii_alphanumeric());
    let plain = plain.strip_suffix("error").unwrap_or(&plain);
    Some(match plain {
        "authentication" | "invalidapikey" | "unauthenticated" | "unauthorized" => 401,
        "billing" | "insufficientquota" | "insufficientcredits" | "paymentrequired" => 402,
        "permission" | "permissiondenied" | "forbidden" => 403,
        "notfound" | "modelnotfound" => 404,
        "requesttoolarge" => 413,
        "ratelimit" | "ratelimitexceeded" | "tokens" | "requests" | "toomanyrequests"
        | "resourceexhausted" => 429,
        "api" | "server" | "internal" | "internalserver" => 500,
        "unavailable" | "serviceunavailable" => 503,
        "timeout" | "deadlineexceeded" | "gatewaytimeout" => 504,
        "overloaded" => 529,
        "invalidrequest"
        | "badrequest"
        | "exceedcontextsize"
        | "invalidargument"
        | "failedprecondition"
        | "contextlengthexceeded"
        | "jsonvalidatefailed"
        | "toolusefailed" => 400,
        _ => return None,
    })
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
