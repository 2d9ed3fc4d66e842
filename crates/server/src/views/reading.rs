//! Where no ended job is to be kept, an answer with a job's end uses up the only copy of it. So that
//! counts only once the answer's body has been taken by the connection: a `HEAD`, a 304, an event
//! stream and an answer that nobody waits for any more leave the job where it is.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use jobs::job::Job;
use service::Service;

use crate::app::App;

/// Of an answer that holds how a job ended: to be noted when it is on its way.
#[derive(Debug, Clone)]
struct Reading {
    service: Service,
    job: Job,
}

/// Marks an answer that holds the whole of a job that has ended.
pub(crate) fn holds_end(app: &App, job: &Job, answer: &mut Response) {
    if !app.service().keeps_results() && job.status.is_final() {
        let (service, job) = (app.service().clone(), job.clone());
        answer.extensions_mut().insert(Reading { service, job });
    }
}

/// Takes the mark off an answer that has no body. To be called on answers that are complete.
pub(crate) fn needs_a_body(method: &Method, answer: &mut Response) {
    if *method == Method::HEAD || answer.status() == StatusCode::NOT_MODIFIED {
        answer.extensions_mut().remove::<Reading>();
    }
}

/// Has a marked answer count as reading when its connection has taken the last of it.
pub(crate) fn counts_when_taken(mut answer: Response) -> Response {
    match answer.extensions_mut().remove::<Reading>() {
        None => answer,
        reading => answer.map(|body| Body::new(Taken { body, reading })),
    }
}

/// A body that tells when the last of it was taken.
struct Taken {
    body: Body,
    reading: Option<Reading>,
}

impl HttpBody for Taken {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let is_all = match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => self.body.is_end_stream(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if is_all && let Some(Reading { service, job }) = self.reading.take() {
            service.was_read(&job);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
