//! What a route needs of its callers.

use service::access::Scope;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Anyone, as often as they like: whether the server is well.
    Probe,
    /// Anyone.
    Open,
    /// Anyone gets the page, in which nothing stands of what is served; what is not a page needs a key.
    Page,
    /// Whoever has a key, whatever its scopes: it tells what is served, and nothing of jobs.
    AnyKey,
    /// A key with that scope.
    Run,
    /// A key with that scope.
    Read,
    /// A key with that scope.
    Metrics,
    /// A key with that scope.
    Admin,
}

impl Need {
    /// The scope it takes.
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
