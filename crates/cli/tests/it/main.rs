//! The program driven from outside: arguments, files and signals in; exit codes, streams and HTTP
//! answers out.

mod abuse;
mod asking;
mod cases;
mod clients;
mod commands;
mod config;
mod deploy;
mod docs;
mod documents;
mod durable;
mod examples;
mod http;
mod https;
mod jobs;
mod keys;
mod limits;
mod output;
mod postgres;
mod privacy;
mod protection;
mod reach;
mod recording;
mod reports;
mod run;
mod secrets;
mod serve;
mod served_tls;
mod soak;
mod supply;
mod support;
mod telemetry;
mod terminal;
mod tidy;
mod validate;
mod webhooks;
