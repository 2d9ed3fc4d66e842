//! Test support, never part of the product.
//!
//! - [`FakeModel`]: an OpenAI-compatible model server in this process that answers, misbehaves and
//!   remembers as a test tells it to.
//! - [`Echo`]: a provider that repeats the secrets it is sent.
//! - [`FaultProxy`]: a network between client and server that fails on demand.
//! - [`FakeOllama`]: the same for Ollama's own chat API, smaller.
//! - [`Receiver`]: a receiver of webhooks that remembers and misbehaves.
//! - [`Sink`]: takes what a program sends out by itself, or misbehaves.
//! - [`postgres`]: PostgreSQL servers of a test's own.
//! - [`TempProject`]: a directory with files that goes away.
//! - [`corpus`]: what fuzzing has kept.
//! - [`rigs`]: software we did not write, where it is installed.
//! - [`work`]: counted work, to see how it grows.
//!
//! Everything here panics on a failure of its own: a test that cannot be set up has failed.

mod conforming;
pub mod corpus;
mod echo;
mod fake_model;
mod fault_proxy;
mod lifeline;
mod ollama;
mod port;
pub mod postgres;
mod project;
mod receiver;
mod reply;
mod request;
pub mod rigs;
mod serving;
mod sink;
pub mod work;

pub use echo::Echo;
pub use fake_model::FakeModel;
pub use fault_proxy::{Fault, FaultProxy, Reply as ServerReply, Side, Way, Which};
pub use ollama::FakeOllama;
pub use project::TempProject;
pub use receiver::{Act, Received, Receiver};
pub use reply::{Gate, Reply};
pub use request::Request;
pub use sink::{Arrived, Manner, Sink};
