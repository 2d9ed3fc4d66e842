//! Requests to addresses that others have chosen: the owner of a job, an input, a model.
//!
//! [`address`] knows which addresses are on the public internet, [`policy`] which others the
//! operator allows, and [`client`] enforces the policy: it connects only to an address that was
//! checked. What is sent, and whether it is sent again, is up to the caller.

pub mod address;
pub mod client;
pub mod policy;

pub use client::{Answer, Client, Error, Post, Request};
pub use policy::{Policy, Rule};
/// A parsed absolute URL.
pub use reqwest::Url;
