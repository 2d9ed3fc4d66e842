//! Telling somebody how a job ended: Standard Webhooks, delivered from the store.
//!
//! A job's end and the delivery it owes are stored together, so neither a crash nor a restart loses one.
//! Whoever claims a delivery tries it once and settles it: delivered, to be tried again, or given up. A
//! process that dies in between leaves a lease that lapses, so a message may come twice, under the same
//! id. `delivery` sends, `schedule` says when again, `message` what, `signature` signs it.

pub(crate) mod config;
pub(crate) mod delivery;
mod message;
pub(crate) mod queue;
mod request;
mod schedule;
mod signature;

pub use config::{DefaultWebhook, Webhooks};
pub use outbound::policy::Unfit;
pub use request::WebhookFault;
pub use schedule::GIVE_UP_AFTER;
pub use signature::{BadSecret, Key};
