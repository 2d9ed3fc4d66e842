//! One endpoint, as the table of routes has it.

use super::operation::Operation;
use crate::need::Need;

/// An endpoint: everything about it but its handler.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) method: Method,
    pub(crate) need: Need,
    /// The pattern of its path. Telemetry names requests by it.
    pub(crate) path: &'static str,
    pub(crate) scope: Scope,
    /// `None`: it is not part of the API.
    pub(crate) docs: Option<fn() -> Operation>,
}

/// The methods of endpoints. `HEAD` goes with `GET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Delete,
}

impl Method {
    /// As `OpenAPI` writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }
}

/// What an endpoint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The only workflow, at the root.
    Root,
    /// A workflow, below `/workflows/{name}`.
    Named,
    /// The server.
    Server,
}
