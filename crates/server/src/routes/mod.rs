//! One file per endpoint: its documentation, its handler, and what it refuses.

pub(crate) mod docs_page;
pub(crate) mod health;
pub(crate) mod health_live;
pub(crate) mod health_ready;
pub(crate) mod job_cancel;
pub(crate) mod job_delete;
pub(crate) mod job_events;
pub(crate) mod job_retry;
pub(crate) mod jobs_create;
pub(crate) mod jobs_list;
pub(crate) mod key_revoke;
pub(crate) mod key_rotate;
mod keys;
pub(crate) mod keys_create;
pub(crate) mod keys_list;
pub(crate) mod metrics;
pub(crate) mod openapi_json;
pub(crate) mod root;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod status;
mod submission;
pub(crate) mod ui_file;
pub(crate) mod usage;
pub(crate) mod workflow;
pub(crate) mod workflows;

pub(crate) use submission::store_failed;
