//! Provider-neutral chat and its HTTP clients.
//!
//! Providers translate, one transport does the I/O. Nothing here knows of workflows.

pub mod chat;
pub mod error;
pub mod model;

pub use error::Error;
