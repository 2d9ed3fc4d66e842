//! The span of an HTTP request to the server.

use engine::trace::TraceParent;
use jiff::Timestamp;

use crate::semconv as name;
use crate::span::{Attributes, Kind, Span, Status};

/// A request that is being answered.
#[derive(Debug)]
pub struct RequestSpan {
    pub(crate) context: TraceParent,
    pub(crate) parent: Option<TraceParent>,
    pub(crate) start: Timestamp,
}

impl RequestSpan {
    /// The parent of all spans that the request causes.
    pub fn context(&self) -> TraceParent {
        self.context
    }

    pub(crate) fn end(
        self,
        at: Timestamp,
        method: &str,
        route: &str,
        path: &str,
        status: u16,
    ) -> Span {
        let mut attributes = Attributes::default();
        attributes.put(name::HTTP_METHOD, method);
        attributes.put(name::HTTP_ROUTE, route);
        attributes.put(name::URL_PATH, path);
        attributes.put(name::URL_SCHEME, "http");
        attributes.put(name::HTTP_STATUS, u32::from(status));
        let mut outcome = Status::Unset;
        if status >= 500 {
            attributes.put(name::ERROR_TYPE, status.to_string());
            outcome = Status::Error(String::new());
        }
        Span {
            trace_id: self.context.trace_id,
            span_id: self.context.span_id,
            parent: self.parent.map(|parent| parent.span_id),
            name: format!("{method} {route}"),
            kind: Kind::Server,
            start: self.start,
            end: at,
            attributes,
            events: Vec::new(),
            status: outcome,
            is_run: false,
        }
    }
}
