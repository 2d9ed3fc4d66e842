//! The program driven from outside: arguments, files and signals in; exit codes, streams and HTTP answers out.

mod cases;
mod clients;
mod commands;
mod config;
mod deploy;
mod docs;
mod durable;
mod examples;
mod http;
mod https;
mod jobs;
mod keys;
mod output;
mod privacy;
mod reports;
mod run;
mod serve;
mod soak;
mod support;
mod telemetry;
mod tidy;
mod validate;
mod webhooks;
