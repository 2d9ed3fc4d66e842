//! Request bodies: read within limits, and recognised as JSON by the rules of the Python original.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::{Bytes, BytesMut};
use engine::offload::MAX_INLINE_BYTES;
use http_body_util::BodyExt;
use lang::fault::{PathSegment, echo};
use lang::json::{Bounds, LargeIntegers};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::app::App;
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::body_budget::{BodyReservation, Exhausted};
use crate::views::fault::FaultEntry;

/// How much of a refused body is still read and dropped, so that the client can finish sending and
/// then read the answer.
const DRAIN_BYTES: usize = 256 * 1024 * 1024;
/// How long a refused body is still read.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Reads the whole body.
pub(crate) async fn read(app: &App, headers: &HeaderMap, mut body: Body) -> Result<Bytes, Refusal> {
    if let Some(coding) = foreign_coding(headers) {
        if !headers.contains_key(EXPECT) {
            drain(app, body);
        }
        return Err(not_decoded(&coding));
    }
    let limit = app.settings().max_body_bytes;
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        // A client that sent `Expect` gets the refusal before it sends the body.
        if !headers.contains_key(EXPECT) {
            drain(app, body);
        }
        return Err(too_large(limit));
    }
    let reservation = app.body_budget().reservation();
    match timeout(
        app.settings().body_timeout,
        collect(&mut body, limit, reservation),
    )
    .await
    {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(Unreadable::TooLarge)) => {
            drain(app, body);
            Err(too_large(limit))
        }
        Ok(Err(Unreadable::BudgetExhausted)) => {
            drain(app, body);
            let detail = "Too many large bodies are arriving at once; nothing was accepted.";
            Err(ProblemAnswer::unavailable("bodies_busy", detail)
                .close()
                .into())
        }
        Ok(Err(Unreadable::Broken)) => Err(ProblemAnswer::of_request(
            StatusCode::BAD_REQUEST,
            "body_incomplete",
            "The request's body ended before all of it had arrived.",
        )
        .close()
        .into()),
        Err(_elapsed) => Err(ProblemAnswer::of_request(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            "The request's body took too long to arrive; send it again.",
        )
        .retryable()
        .close()
        .into()),
    }
}

/// The content coding of a body, if it is not `identity`; cut to a length that fits a message.
fn foreign_coding(headers: &HeaderMap) -> Option<String> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let foreign = codings.find(|coding| {
        let coding = coding.as_bytes().trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    })?;
    let shown = String::from_utf8_lossy(foreign.as_bytes());
    Some(shown.chars().take(LONGEST_SHOWN).collect())
}

/// The most characters of a header's value that a message repeats.
const LONGEST_SHOWN: usize = 60;

fn not_decoded(coding: &str) -> Refusal {
    let detail = format!(
        "This server accepts no bodies with `Content-Encoding: {coding}`; send the body as it is."
    );
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    ProblemAnswer::of_request(status, "content_encoding_not_supported", detail).into()
}

enum Unreadable {
    TooLarge,
    BudgetExhausted,
    Broken,
}

/// Collects the frames of a body. Almost every body is one frame, which is passed on without a
/// copy.
async fn collect(
    body: &mut Body,
    limit: usize,
    mut reservation: BodyReservation<'_>,
) -> Result<Bytes, Unreadable> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unreadable::Broken)?.into_data() else {
            continue;
        };
        let length = first.len() + rest.len() + data.len();
        if length > limit {
            return Err(Unreadable::TooLarge);
        }
        reservation
            .grow_to(length)
            .map_err(|Exhausted| Unreadable::BudgetExhausted)?;
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if !first.is_empty() {
        let_wake_up_pass().await;
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

/// Taking a piece of a body makes hyper wake the task of its connection, which is this one. Here it
/// is polled for that, and not when a run has begun, which would be polled for nothing.
async fn let_wake_up_pass() {
    let mut is_awake = false;
    poll_fn(|context| {
        if std::mem::replace(&mut is_awake, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Reads and drops the rest of a refused body in a task of its own. Closing a socket with unread
/// bytes resets the connection, and the client would see a broken pipe instead of the answer.
pub(crate) fn drain(app: &App, mut body: Body) {
    app.drains().spawn(timeout(DRAIN_TIME, async move {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let read = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(read) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    }));
}

fn too_large(limit: usize) -> Refusal {
    ProblemAnswer::of_request(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("The request's body is larger than the {limit} bytes this server accepts."),
    )
    .close()
    .into()
}

/// A JSON object read from a body.
#[derive(Debug, Default)]
pub(crate) struct Object {
    pub(crate) members: Map<String, Value>,
    /// Integers that do not fit 64 bits. In `members` they are rounded.
    pub(crate) oversized: Option<LargeIntegers>,
}

/// The body as a JSON object.
///
/// An empty body and `null` count as missing. A body whose content type is not JSON counts as text
/// and is refused, with one exception: `curl -d '{…}'` calls its body a form, but a form would have
/// the brace escaped, so it is read as JSON.
pub(crate) async fn json_object(
    app: &App,
    headers: &HeaderMap,
    bytes: &Bytes,
) -> Result<Object, Refusal> {
    let bounds = app.settings().bounds();
    // A larger body is parsed on a blocking thread, so that it does not hold up other requests.
    if bytes.len() <= MAX_INLINE_BYTES {
        return object(bounds, headers, bytes);
    }
    let turn = app.readers().clone().acquire_owned().await;
    let (headers, bytes) = (headers.clone(), bytes.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        object(bounds, &headers, &bytes)
    });
    reading
        .await
        .unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and no client is connected any more.
            Err(_cancelled) => Err(ProblemAnswer::internal().into()),
        })
}

pub(crate) fn object(bounds: Bounds, headers: &HeaderMap, bytes: &[u8]) -> Result<Object, Refusal> {
    if bytes.is_empty() {
        return Err(missing());
    }
    if !(is_json(headers) || is_form(headers) && bytes.trim_ascii_start().starts_with(b"{")) {
        let text = Value::String(String::from_utf8_lossy(bytes).into_owned());
        let input = echo(&text);
        return Err(if bytes.trim_ascii_start().starts_with(b"{") {
            sent_as_text(headers, input)
        } else {
            not_an_object(input)
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let offset = String::from_utf8_lossy(&bytes[..error.valid_up_to()])
            .chars()
            .count();
        not_json(offset, "the body is not UTF-8")
    })?;
    let (value, oversized) = match lang::json::read_within(text, bounds) {
        Ok(value) => (value, None),
        Err(lang::json::Error::Syntax { offset, message }) => {
            return Err(not_json(offset, &message));
        }
        Err(lang::json::Error::TooDeep { offset }) => {
            return Err(not_json(
                offset,
                &format!("nested deeper than {} levels", lang::json::MAX_DEPTH),
            ));
        }
        Err(lang::json::Error::TooMany { offset, most }) => {
            return Err(not_json(offset, &format!("more than {most} values")));
        }
        Err(lang::json::Error::TextTooLong { offset, most }) => {
            return Err(not_json(
                offset,
                &format!("a text of more than {most} bytes"),
            ));
        }
        Err(lang::json::Error::IntegersTooLarge { integers, value }) => (*value, Some(integers)),
    };
    match value {
        Value::Object(members) => Ok(Object { members, oversized }),
        Value::Null => Err(missing()),
        other => Err(not_an_object(echo(&other))),
    }
}

/// A body without a content type is JSON, too.
fn is_json(headers: &HeaderMap) -> bool {
    if !headers.contains_key(CONTENT_TYPE) {
        return true;
    }
    let Some((kind, subtype)) = media_type(headers).and_then(|essence| essence.split_once('/'))
    else {
        return false;
    };
    let has_suffix =
        subtype.len() > 5 && subtype.as_bytes()[subtype.len() - 5..].eq_ignore_ascii_case(b"+json");
    kind.eq_ignore_ascii_case("application") && (subtype.eq_ignore_ascii_case("json") || has_suffix)
}

fn is_form(headers: &HeaderMap) -> bool {
    media_type(headers)
        .is_some_and(|essence| essence.eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// The content type without its parameters.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

fn missing() -> Refusal {
    FaultEntry::body("missing", Vec::new(), "Field required", Value::Null).into()
}

fn not_json(offset: usize, message: &str) -> Refusal {
    let place = vec![PathSegment::Index(offset)];
    FaultEntry::body("json_invalid", place, "JSON decode error", json!({}))
        .with_context(json!({ "error": message }))
        .into()
}

fn not_an_object(input: Value) -> Refusal {
    FaultEntry::body("model_attributes_type", Vec::new(), NOT_AN_OBJECT, input).into()
}

/// For a body that looks like an object but has another content type.
fn sent_as_text(headers: &HeaderMap, input: Value) -> Refusal {
    let sent = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let sent = String::from_utf8_lossy(sent.unwrap_or_default());
    let sent: String = sent.chars().take(LONGEST_SHOWN).collect();
    let message = format!(
        "{NOT_AN_OBJECT}; the body was sent as `{sent}`: send JSON with `Content-Type: application/json`"
    );
    FaultEntry::body("model_attributes_type", Vec::new(), message, input).into()
}

const NOT_AN_OBJECT: &str = "Input should be a valid dictionary or object to extract fields from";

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(content_type: Option<&'static str>, expected: bool) {
        let headers = content_type
            .map(|value| (CONTENT_TYPE, HeaderValue::from_static(value)))
            .into_iter()
            .collect();
        assert_eq!(is_json(&headers), expected, "{content_type:?}");
    }

    #[test]
    fn json_is_known_by_its_content_type() {
        check(None, true);
        check(Some("application/json"), true);
        check(Some("Application/JSON; charset=utf-8"), true);
        check(Some("application/vnd.api+json"), true);
    }

    #[test]
    fn what_curl_sends_with_d_is_json_and_a_form_is_not() {
        let headers = [(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        )]
        .into_iter()
        .collect();
        let read = object(Bounds::NONE, &headers, br#"{"name": "Ada"}"#).expect("read as JSON");
        assert_eq!(read.members["name"], "Ada");
        assert!(object(Bounds::NONE, &headers, b"name=Ada").is_err());
        assert!(object(Bounds::NONE, &headers, br#"{"name": "#).is_err());
    }

    #[test]
    fn other_content_types_are_text() {
        for content_type in [
            "",
            "json",
            "text/json",
            "application/x-www-form-urlencoded",
            "application/+json",
            "multipart/form-data; boundary=x",
        ] {
            check(Some(content_type), false);
        }
    }
}
