//! Forgetting jobs once their result is delivered, on servers that keep no ended jobs. The result
//! counts as delivered when the connection has taken the whole body of an answer that holds it. A
//! `HEAD`, a 304, an event stream and an answer whose client has left do not count.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use jobs::job::Job;
use service::Service;

use crate::app::App;

/// Marks an answer that holds the result of a job.
#[derive(Debug, Clone)]
struct HoldsResult {
    service: Service,
    job: Job,
}

/// Marks an answer that holds the whole of a job, if the job has ended.
pub(crate) fn mark_if_ended(app: &App, job: &Job, answer: &mut Response) {
    if !app.service().keeps_results() && job.status.is_final() {
        let (service, job) = (app.service().clone(), job.clone());
        answer.extensions_mut().insert(HoldsResult { service, job });
    }
}

/// Takes the mark off an answer that is sent without its body. To be called on complete answers.
pub(crate) fn unmark_without_body(method: &Method, answer: &mut Response) {
    if *method == Method::HEAD || answer.status() == StatusCode::NOT_MODIFIED {
        answer.extensions_mut().remove::<HoldsResult>();
    }
}

/// Wraps the body of a marked answer, so that taking the last of it counts as delivery.
pub(crate) fn counting_delivery(mut answer: Response) -> Response {
    match answer.extensions_mut().remove::<HoldsResult>() {
        None => answer,
        mark => answer.map(|body| Body::new(ResultBody { body, mark })),
    }
}

/// A body that tells the service when the last of it has been taken.
struct ResultBody {
    body: Body,
    /// Until it is delivered.
    mark: Option<HoldsResult>,
}

impl HttpBody for ResultBody {
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
        if is_all && let Some(HoldsResult { service, job }) = self.mark.take() {
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
