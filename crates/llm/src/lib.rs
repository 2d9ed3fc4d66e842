//! Provider-neutral chat and its HTTP clients.
//!
//! Providers translate, one transport does the I/O. Nothing here knows of workflows, reads the
//! environment or opens files: the composition root hands in a [`Settings`] and, for cassettes, a
//! writer. Nothing here retries either.

mod answer;
pub mod cassette;
pub mod chat;
pub mod error;
/// What `fuzz/` calls; each function takes any bytes.
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod large_integers;
mod message;
pub mod model;
pub mod offline;
mod part;
mod playback;
pub mod pricing;
mod providers;
mod reach;
pub mod registry;
mod sampling;
pub mod scripted;
mod secret;
pub mod settings;
pub mod tokens;
mod tool;
mod transport;

pub use answer::why_no_object;
pub use error::Error;
pub use reach::Reach;
pub use registry::Registry;
pub use settings::{Clock, Settings};
pub use transport::frames::{Frames, Framing};
