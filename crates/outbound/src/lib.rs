//! Requests to addresses that somebody else has chosen: a job's owner, an input, a model.
//!
//! [`address`] knows which addresses belong to everybody's internet, [`policy`] which others the operator
//! allows, and [`client`] keeps to it: the address that was judged is the address that is connected to.
//! What is sent, and whether it is sent again, is the caller's.

pub mod address;
pub mod client;
pub mod policy;

pub use client::{Answer, Client, Error, Post, Request};
pub use policy::{Policy, Rule};
/// A parsed absolute address.
pub use reqwest::Url;
