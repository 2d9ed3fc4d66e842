//! Reading requests: their headers, their bodies, and the workflow or job that a path names.

pub(crate) mod accept;
pub(crate) mod body;
pub(crate) mod body_budget;
pub(crate) mod caller;
pub(crate) mod client;
pub(crate) mod duration;
pub(crate) mod envelope;
pub(crate) mod etag;
pub(crate) mod job_id;
pub(crate) mod number;
pub(crate) mod preferences;
pub(crate) mod prefix;
pub(crate) mod run_headers;
pub(crate) mod workflow;
