//! The crate from outside: real HTTP against servers of our own and servers we did not write, and
//! the models that need no server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod addresses;
mod ask;
mod cassette;
mod faults;
mod llmock;
mod odd_errors;
mod odd_replies;
mod offline;
mod ollama;
mod openai;
mod raw;
mod reach;
mod refusals;
mod tls;
mod usage;
