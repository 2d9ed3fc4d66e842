//! What an endpoint needs of its callers.

use service::access::Scope;

/// Who may use an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Anyone, without a limit: health checks.
    Probe,
    /// Anyone.
    Open,
    /// Anyone gets the page, which tells nothing of what is served. Other answers need a key.
    Page,
    /// Any valid key: the answer tells what is served, and nothing of jobs.
    AnyKey,
    /// A key with the scope `run`.
    Run,
    /// A key with the scope `read`.
    Read,
    /// A key with the scope `metrics`.
    Metrics,
    /// A key with the scope `admin`.
    Admin,
}

impl Need {
    /// The scope that a key needs; `None`: no particular one.
    pub(crate) fn scope(self) -> Option<Scope> {
        match self {
            Self::Probe | Self::Open | Self::Page | Self::AnyKey => None,
            Self::Run => Some(Scope::Run),
            Self::Read => Some(Scope::Read),
            Self::Metrics => Some(Scope::Metrics),
            Self::Admin => Some(Scope::Admin),
        }
    }
}
