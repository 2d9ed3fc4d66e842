//! The memory that large answers share while they are sent. A large answer is handed to its
//! connection in chunks as the client reads, and counts until the last chunk is taken. Without this
//! bound, many clients that request much and read slowly would fill the memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::socket::RequestInProgress;

/// An answer of up to this many bytes reserves nothing: a connection buffers that much anyway.
const SMALL: usize = 64 << 10;

/// Bytes of a chunk, and behind each permit of the shared semaphore.
const CHUNK: usize = 64 << 10;

/// The memory for large answers.
#[derive(Debug, Clone)]
pub(crate) struct AnswerBudget {
    chunks: Arc<Semaphore>,
    total: usize,
}

/// A large answer's part of the budget; kept with the answer.
#[derive(Debug, Clone)]
struct Reserved(
    #[expect(dead_code, reason = "dropping it gives it back")] Arc<OwnedSemaphorePermit>,
);

/// Less memory is left than an answer needs.
#[derive(Debug)]
pub(crate) struct Exhausted;

/// Marks an answer whose bytes are part of the program, which takes no memory of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Static;

impl AnswerBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        let total = bytes.div_ceil(CHUNK).clamp(1, u32::MAX as usize >> 3);
        Self {
            chunks: Arc::new(Semaphore::new(total)),
            total,
        }
    }

    /// Reserves the memory of a large answer until it is sent.
    pub(crate) fn reserve(&self, answer: &mut Response) -> Result<(), Exhausted> {
        let size = answer.body().size_hint().exact().unwrap_or_default();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size <= SMALL || answer.extensions_mut().remove::<Static>().is_some() {
            return Ok(());
        }
        let reserved = self.take(size)?;
        answer.extensions_mut().insert(Reserved(Arc::new(reserved)));
        Ok(())
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Exhausted> {
        // An answer larger than the whole budget takes all of it.
        let chunks = bytes.div_ceil(CHUNK).min(self.total);
        let chunks = u32::try_from(chunks).map_err(|_| Exhausted)?;
        let chunks = Arc::clone(&self.chunks).try_acquire_many_owned(chunks);
        chunks.map_err(|_| Exhausted)
    }

    /// Turns a large answer, or a stream, into one that is sent in chunks. `request` ends with the
    /// last chunk.
    pub(crate) fn in_chunks(&self, mut answer: Response, request: RequestInProgress) -> Response {
        let size = answer.body().size_hint().exact();
        if size.is_some_and(|size| size <= SMALL as u64) {
            return answer;
        }
        let reserved = answer.extensions_mut().remove::<Reserved>();
        answer.map(|body| {
            Body::new(Chunked {
                budget: size.is_none().then(|| self.clone()),
                body,
                rest: Bytes::new(),
                reserved,
                has_ended: false,
                _request: request,
            })
        })
    }
}

/// A body handed over in chunks.
#[derive(Debug)]
struct Chunked {
    /// For a stream: each large part of it is reserved when it arrives.
    budget: Option<AnswerBudget>,
    body: Body,
    /// What is left of the part that is being sent.
    rest: Bytes,
    reserved: Option<Reserved>,
    has_ended: bool,
    _request: RequestInProgress,
}

impl Chunked {
    fn next_chunk(&mut self) -> Bytes {
        if self.rest.len() > CHUNK {
            return self.rest.split_to(CHUNK);
        }
        let last = std::mem::take(&mut self.rest);
        if self.reserved.is_none() {
            return last;
        }
        // A copy: a slice of the last chunk would keep the whole part in memory.
        let last = Bytes::copy_from_slice(&last);
        if self.budget.is_some() {
            self.reserved = None;
        }
        last
    }
}

impl HttpBody for Chunked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(this.next_chunk()))));
        }
        if this.has_ended {
            return Poll::Ready(None);
        }
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        let data = match frame.into_data() {
            Ok(data) if data.len() > SMALL => data,
            Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
            Err(other) => return Poll::Ready(Some(Ok(other))),
        };
        if let Some(budget) = &this.budget {
            let Ok(reserved) = budget.take(data.len()) else {
                // The client resumes with `Last-Event-ID`.
                tracing::debug!(
                    "too many large answers are being sent; an event stream is ended early"
                );
                this.has_ended = true;
                return Poll::Ready(None);
            };
            this.reserved = Some(Reserved(Arc::new(reserved)));
        }
        this.rest = data;
        Poll::Ready(Some(Ok(Frame::data(this.next_chunk()))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || (self.rest.is_empty() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self.body.size_hint().exact() {
            Some(left) => SizeHint::with_exact(left + self.rest.len() as u64),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::socket::ConnectionActivity;

    fn answer(bytes: usize) -> Response {
        Response::new(Body::from(vec![b'x'; bytes]))
    }

    #[tokio::test]
    async fn a_large_answer_counts_until_its_last_chunk_is_taken() {
        let budget = AnswerBudget::new(4 * CHUNK);
        let activity = ConnectionActivity::default();
        let mut large = answer(3 * CHUNK);
        budget.reserve(&mut large).expect("there is room");
        assert_eq!(budget.chunks.available_permits(), 1);
        let mut small = answer(SMALL);
        budget.reserve(&mut small).expect("it needs none");
        let mut other = answer(2 * CHUNK);
        assert!(budget.reserve(&mut other).is_err());

        let mut body = budget.in_chunks(large, activity.begin()).into_body();
        assert_eq!(body.size_hint().exact(), Some(3 * CHUNK as u64));
        let mut taken = 0;
        while let Some(frame) = body.frame().await {
            assert!(activity.is_handling());
            taken += frame
                .expect("it cannot fail")
                .into_data()
                .expect("data")
                .len();
        }
        assert_eq!(taken, 3 * CHUNK);
        assert!(body.is_end_stream());
        drop(body);
        assert!(!activity.is_handling());
        assert_eq!(budget.chunks.available_permits(), 4);
        budget.reserve(&mut other).expect("there is room again");
    }

    #[tokio::test]
    async fn a_streams_large_part_counts_and_ends_it_where_nothing_is_left() {
        let budget = AnswerBudget::new(3 * CHUNK);
        let parts = || {
            let parts = [10, 3 * CHUNK, 20].map(|bytes| Ok::<_, axum::Error>(vec![b'x'; bytes]));
            Response::new(Body::from_stream(stream::iter(parts)))
        };
        let bytes = async |body: Body| {
            body.collect()
                .await
                .expect("it cannot fail")
                .to_bytes()
                .len()
        };
        let whole = budget.in_chunks(parts(), ConnectionActivity::default().begin());
        assert_eq!(bytes(whole.into_body()).await, 30 + 3 * CHUNK);
        assert_eq!(budget.chunks.available_permits(), 3);
        let _other = budget.take(1).expect("there is room");
        let cut = budget.in_chunks(parts(), ConnectionActivity::default().begin());
        assert_eq!(bytes(cut.into_body()).await, 10);
    }

    #[test]
    fn what_takes_no_memory_of_its_own_needs_none() {
        let budget = AnswerBudget::new(CHUNK);
        let _other = budget.take(1).expect("there is room");
        let mut file = answer(SMALL + 1);
        file.extensions_mut().insert(Static);
        assert!(budget.reserve(&mut file).is_ok());
    }
}
