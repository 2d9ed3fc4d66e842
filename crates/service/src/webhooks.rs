//! Webhooks that tell how a job ended: Standard Webhooks, delivered from the store.
//!
//! The end of a job and the delivery that is due are stored together, so neither a crash nor a
//! restart loses one. A process claims a delivery, tries it once and settles it: delivered, to be
//! retried, or given up. If the process dies in between, its lease expires, so a message may come
//! twice, with the same id. `delivery` sends, `schedule` has the times, `message` the content,
//! `signature` signs it.

pub(crate) mod config;
pub(crate) mod delivery;
mod message;
pub(crate) mod queue;
mod request;
mod schedule;
mod signature;

pub use config::{DefaultWebhook, Webhooks};
pub use message::JobEnded;
pub use outbound::policy::UrlRefusal;
pub use request::WebhookFault;
pub use schedule::GIVE_UP_AFTER;
pub use signature::{BadSecret, Key};
