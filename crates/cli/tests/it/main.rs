//! The program driven from outside: arguments, files and signals in; exit codes, streams and HTTP answers out.

mod cases;
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
mod reach;
mod reports;
mod run;
mod secrets;
mod serve;
mod supply;
mod support;
mod telemetry;
mod tidy;
mod validate;
mod webhooks;
