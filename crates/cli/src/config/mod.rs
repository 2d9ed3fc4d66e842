//! Everything flowmill reads from outside: the environment, `.env`, `flowmill.toml`, and the files
//! named on the command line. Nothing else in the project reads the environment or a file.
//!
//! Settings are layered: flags, then the environment, then `.env`, then `flowmill.toml`, then
//! defaults. A section's options are one struct, read from the command line and from the file
//! alike.

pub(crate) mod addresses;
pub(crate) mod allowed;
pub(crate) mod capture;
pub(crate) mod env_file;
pub(crate) mod environment;
pub(crate) mod exposure;
pub(crate) mod jobs;
pub(crate) mod layers;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod models;
pub(crate) mod project;
pub(crate) mod run;
pub(crate) mod secret;
pub(crate) mod serve;
pub(crate) mod store;
pub(crate) mod telemetry;
pub(crate) mod text;
pub(crate) mod units;
pub(crate) mod webhooks;
