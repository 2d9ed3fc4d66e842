//! Which addresses in workflow files may be connected to. The decision is injected; `transport`
//! asks for it, for literal addresses and for those that names resolve to.

use std::fmt::Debug;
use std::net::IpAddr;

/// Decides for addresses in workflow files. Addresses from the environment are the operator's own
/// and need no decision.
pub trait Reach: Send + Sync + Debug {
    /// Whether that address may be connected to, which that name resolved to.
    fn allows(&self, host: &str, address: IpAddr) -> bool;
}

/// Why an address must not be connected to; follows the address in the sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "may not be reached from a workflow's `api_base`: it is not among the addresses that --model-allow \
     (FLOWMILL_MODEL_ALLOW) allows, which by default are all but link-local ones and those of cloud metadata"
)]
pub(crate) struct NotAllowed;
