//! Which addresses may be connected to where a workflow's file chose them. Who decides is injected;
//! that it is asked, for addresses as they stand and for what names lead to, is `transport`'s.

use std::fmt::Debug;
use std::net::IpAddr;

/// Decides. Addresses from the environment are the operator's own and not asked about.
pub trait Reach: Send + Sync + Debug {
    /// Whether that address may be connected to, found under that name.
    fn allows(&self, host: &str, address: IpAddr) -> bool;
}

/// Why an address is not connected to; to follow its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "may not be reached from a workflow's `api_base`: it is not among the addresses that --model-allow \
     (FLOWMILL_MODEL_ALLOW) allows, which by default are all but link-local ones and those of cloud metadata"
)]
pub(crate) struct NotAllowed;
