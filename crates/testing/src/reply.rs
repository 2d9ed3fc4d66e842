//! How a fake model answers one call (well, badly or not at all), and the wire format of that.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::Request;

/// One answer. Built by the constructors, refined by the methods that take `self`.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(crate) delay: Duration,
    gate: Option<Gate>,
    kind: Kind,
    input_tokens: u64,
    output_tokens: u64,
    finish_reason: &'static str,
}

/// Holds answers back until it is opened; it stays open. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A gate that is shut.
    pub fn shut() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Releases every answer behind it, now and later.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn opened(&self) {
        // It fails when the gate is gone, and then nobody can open it any more.
        if self.0.subscribe().wait_for(|open| *open).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Debug, Clone)]
enum Kind {
    Text(String),
    Status {
        status: StatusCode,
        retry_after: Option<String>,
        body: Value,
    },
    Hang,
    HangMidway(String),
    Truncated(String),
    Garbage,
    Huge {
        bytes: usize,
    },
}

/// The pieces a streamed answer is cut into.
const CHUNK_CHARS: usize = 8;

impl Reply {
    fn new(kind: Kind) -> Self {
        Self {
            delay: Duration::ZERO,
            gate: None,
            kind,
            input_tokens: 10,
            output_tokens: 5,
            finish_reason: "stop",
        }
    }

    /// A whole answer with this text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Kind::Text(text.into()))
    }

    /// A whole answer with this value as JSON text.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers write json!(…) in place"
    )]
    pub fn json(value: Value) -> Self {
        Self::text(value.to_string())
    }

    /// An error status, with the error body of the chat completions API.
    ///
    /// # Panics
    /// When `status` is no HTTP status.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("the test names a real status");
        let message = status.canonical_reason().unwrap_or("error");
        let body = json!({"error": {"message": message, "type": "fake_error", "code": null}});
        Self::new(Kind::Status {
            status,
            retry_after: None,
            body,
        })
    }

    /// No answer for as long as the client waits.
    pub fn hang() -> Self {
        Self::new(Kind::Hang)
    }

    /// Sends half of `text`, then nothing for as long as the client waits. Without a stream: half
    /// of the body.
    pub fn hang_midway(text: impl Into<String>) -> Self {
        Self::new(Kind::HangMidway(text.into()))
    }

    /// Sends half of `text`, then breaks the connection.
    pub fn truncated(text: impl Into<String>) -> Self {
        Self::new(Kind::Truncated(text.into()))
    }

    /// Status 200 and a body that is neither JSON nor events.
    pub fn garbage() -> Self {
        Self::new(Kind::Garbage)
    }

    /// Status 200 and `bytes` bytes of answer text, made as they are sent.
    pub fn huge(bytes: usize) -> Self {
        Self::new(Kind::Huge { bytes })
    }

    /// Waits before the first byte.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Waits until the gate is open, then for the delay if there is one.
    #[must_use]
    pub fn behind(self, gate: &Gate) -> Self {
        Self {
            gate: Some(gate.clone()),
            ..self
        }
    }

    /// The tokens the answer claims to have used; 10 and 5 otherwise.
    #[must_use]
    pub fn usage(self, input_tokens: u64, output_tokens: u64) -> Self {
        Self {
            input_tokens,
            output_tokens,
            ..self
        }
    }

    /// Why the model stopped, such as `length`; `stop` otherwise.
    #[must_use]
    pub fn finish_reason(self, finish_reason: &'static str) -> Self {
        Self {
            finish_reason,
            ..self
        }
    }

    /// The `Retry-After` header of a [`Reply::status`]: seconds, or whatever the test wants there.
    ///
    /// # Panics
    /// On a reply that has no status.
    #[must_use]
    pub fn retry_after(mut self, value: impl fmt::Display) -> Self {
        let Kind::Status { retry_after, .. } = &mut self.kind else {
            panic!("only Reply::status has a Retry-After");
        };
        *retry_after = Some(value.to_string());
        self
    }

    /// The body of a [`Reply::status`].
    ///
    /// # Panics
    /// On a reply that has no status.
    #[must_use]
    pub fn error_body(mut self, value: Value) -> Self {
        let Kind::Status { body, .. } = &mut self.kind else {
            panic!("only Reply::status has an error body");
        };
        *body = value;
        self
    }

    pub(crate) async fn respond(self, request: &Request) -> Response {
        if let Some(gate) = &self.gate {
            gate.opened().await;
        }
        tokio::time::sleep(self.delay).await;
        match &self.kind {
            Kind::Text(text) if request.wants_stream() => {
                let events = self.events(request, text);
                event_stream(stream::iter(events.into_iter().map(Ok::<_, Infallible>)))
            }
            Kind::Text(text) => json_body(Body::from(self.completion(request, text))),
            Kind::Status {
                status,
                retry_after,
                body,
            } => {
                let mut response = (*status, axum::Json(body)).into_response();
                if let Some(value) = retry_after {
                    let value = value.parse().expect("the test gives a header value");
                    response.headers_mut().insert(header::RETRY_AFTER, value);
                }
                response
            }
            Kind::Hang => std::future::pending().await,
            Kind::HangMidway(text) => self.half(request, text, stream::pending().boxed()),
            Kind::Truncated(text) => {
                let broken = stream::once(async {
                    // Lets the connection write the first half out before it is torn down.
                    tokio::task::yield_now().await;
                    Err(io::Error::from(io::ErrorKind::ConnectionReset))
                });
                self.half(request, text, broken.boxed())
            }
            Kind::Garbage if request.wants_stream() => {
                event_stream(stream::iter([Ok::<_, Infallible>(Bytes::from_static(
                    b"data: <html>\n\ndata: {\"choices\": 7}\n\n",
                ))]))
            }
            Kind::Garbage => json_body(Body::from("<html>not a completion</html>")),
            Kind::Huge { bytes } => huge(request, *bytes),
        }
    }

    /// The first half of an answer, then `rest`.
    fn half(
        &self,
        request: &Request,
        text: &str,
        rest: stream::BoxStream<'static, io::Result<Bytes>>,
    ) -> Response {
        if request.wants_stream() {
            let mut events = self.events(request, text);
            events.truncate(events.len().div_ceil(2));
            event_stream(stream::iter(events.into_iter().map(Ok)).chain(rest))
        } else {
            let mut whole = self.completion(request, text);
            whole.truncate(whole.len() / 2);
            let first = stream::iter([Ok(Bytes::from(whole))]);
            json_body(Body::from_stream(first.chain(rest)))
        }
    }

    fn completion(&self, request: &Request, text: &str) -> Vec<u8> {
        let completion = json!({
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "created": 0,
            "model": request.model(),
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": self.finish_reason,
            }],
            "usage": self.usage_value(),
        });
        completion.to_string().into_bytes()
    }

    fn events(&self, request: &Request, text: &str) -> Vec<Bytes> {
        let chunk = |delta: Value, finish_reason: Option<&str>| {
            json!({
                "id": "chatcmpl-fake",
                "object": "chat.completion.chunk",
                "created": 0,
                "model": request.model(),
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
            })
        };
        let mut chunks = vec![chunk(json!({"role": "assistant", "content": ""}), None)];
        let chars: Vec<char> = text.chars().collect();
        for piece in chars.chunks(CHUNK_CHARS) {
            let piece: String = piece.iter().collect();
            chunks.push(chunk(json!({"content": piece}), None));
        }
        chunks.push(chunk(json!({}), Some(self.finish_reason)));
        if request.wants_stream_usage() {
            let mut last = chunk(json!({}), None);
            last["choices"] = json!([]);
            last["usage"] = self.usage_value();
            chunks.push(last);
        }
        let events = chunks
            .into_iter()
            .map(|chunk| chunk.to_string())
            .chain(["[DONE]".to_owned()]);
        events
            .map(|data| Bytes::from(format!("data: {data}\n\n")))
            .collect()
    }

    fn usage_value(&self) -> Value {
        json!({
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
        })
    }
}

fn json_body(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn event_stream<E>(events: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Response
where
    E: Into<axum::BoxError> + 'static,
{
    (
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(events),
    )
        .into_response()
}

/// An answer whose text never seems to end; nothing of it is held in memory.
fn huge(request: &Request, bytes: usize) -> Response {
    const PIECE: usize = 64 * 1024;
    let head: &[u8] = if request.wants_stream() {
        b"data: {\"choices\": [{\"index\": 0, \"delta\": {\"content\": \""
    } else {
        b"{\"choices\": [{\"index\": 0, \"message\": {\"role\": \"assistant\", \"content\": \""
    };
    let piece = Bytes::from(vec![b'x'; PIECE]);
    let filler = (0..bytes.div_ceil(PIECE)).map(move |_| piece.clone());
    let tail: &[u8] = b"\"}, \"finish_reason\": \"stop\"}]}\n\n";
    let pieces = [Bytes::from_static(head)]
        .into_iter()
        .chain(filler)
        .chain([Bytes::from_static(tail)]);
    let body = stream::iter(pieces.map(Ok::<_, Infallible>));
    if request.wants_stream() {
        event_stream(body)
    } else {
        json_body(Body::from_stream(body))
    }
}
