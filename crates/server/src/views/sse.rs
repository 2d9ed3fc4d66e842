//! Server-sent events: the events of a run as a stream.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use service::events::Event;

/// Keeps proxies from buffering or storing the stream.
const UNBUFFERED: [(&str, &str); 2] = [("x-accel-buffering", "no"), ("cache-control", "no-store")];

/// When a client should reconnect to a server that is shutting down: its successor needs a moment
/// to start.
const RECONNECT_AFTER: Duration = Duration::from_secs(2);

/// Streams a run's events, then `result`, if there is one. A store that fails midway ends the
/// stream; the client resumes with `Last-Event-ID`.
pub(crate) fn respond<E, R>(events: E, result: R, comment_every: Duration) -> Response
where
    E: Stream<Item = Result<Event, jobs::store::Error>> + Send + 'static,
    R: Future<Output = Option<String>> + Send + 'static,
{
    let events = events
        .take_while(|event| {
            if let Err(error) = event {
                tracing::warn!(%error, "the job store failed; an event stream is ended early");
            }
            std::future::ready(event.is_ok())
        })
        .filter_map(|event| std::future::ready(event.ok()))
        .map(|event| to_sse(&event));
    let result = stream::once(result)
        .filter_map(std::future::ready)
        .map(|data| sse::Event::default().event("result").data(data));
    let all = events.chain(result).map(Ok::<_, Infallible>);
    let comments = KeepAlive::new().interval(comment_every).text("still here");
    (UNBUFFERED, Sse::new(all).keep_alive(comments)).into_response()
}

/// Events that are not replayed have no id: a client cannot resume from them.
fn to_sse(event: &Event) -> sse::Event {
    let numbered = match event.id {
        Some(id) => sse::Event::default().id(id.to_string()),
        None => sse::Event::default(),
    };
    let named = numbered.event(&event.kind).data(event.data.text());
    if event.is_server_stopping() {
        named.retry(RECONNECT_AFTER)
    } else {
        named
    }
}
