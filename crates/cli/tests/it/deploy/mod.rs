//! `flowmill deploy`: what it refuses, what it writes, and containers for real where there is an
//! engine.

mod access;
mod checks;
mod compose;
mod examples;
mod folder;
mod health;
mod image;
mod kubernetes;
mod lifecycle;
mod network;
mod replacing;
mod replicas;
mod rig;
mod sbom;
