//! Requests to addresses that others have chosen: the owner of a job, an input, a model.
//!
//! [`address`] knows which addresses are on the public internet, [`policy`] which others the
//! operator allows, and [`client`] enforces the policy: it connects only to an address that was
//! checked. What is sent, and whether it is sent again, is up to the caller.
//!
//! What all clients of the process share is here, too: the [`Environment`] that configures them,
//! the [`Proxies`] that it names, and the certificates that they trust ([`tls`]).

pub mod address;
pub mod client;
pub mod environment;
pub mod policy;
pub mod proxies;
pub mod tls;

pub use client::{Answer, Client, Error, Post, Request};
pub use environment::Environment;
pub use policy::{Policy, Rule};
pub use proxies::Proxies;
/// A parsed absolute URL.
pub use reqwest::Url;
