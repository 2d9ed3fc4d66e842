//! The HTTP API over a real loopback connection, with models that play a part.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

mod access;
mod bodies;
mod browsers;
mod client;
mod connections;
mod events;
mod heads;
mod http_cases;
mod jobs;
mod limits;
mod machine;
mod models;
mod openapi;
mod pages;
mod problems;
mod reading;
mod run;
mod server;
mod shared_keys;
mod shutdown;
mod tls;
mod workflows;
