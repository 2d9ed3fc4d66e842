//! Servers whose jobs are in a PostgreSQL database, and the commands that open one. Where PostgreSQL is
//! not installed, these tests say so and pass.

mod commands;
mod faults;
mod health;
mod secrecy;

use std::process::Command;

use testing::TempProject;

use crate::http;
use crate::support::{Ended, Running, flowmill, words};

/// `flowmill LINE`, where `FLOWMILL_STORE` has the URL.
fn with_store(project: &TempProject, url: &str, line: &str) -> Command {
    let mut command = flowmill(project.root(), words(line));
    command.env("FLOWMILL_STORE", url);
    command
}

/// The same, done.
#[track_caller]
fn run(project: &TempProject, url: &str, line: &str) -> Ended {
    Ended::of(&mut with_store(project, url, line)).exits(0)
}

/// A server of `greeting.yaml` on a database, and its address.
fn start(project: &TempProject, url: &str, options: &str) -> (Running, String) {
    let mut command = http::serve(project, "greeting.yaml --offline");
    command.args(words(options)).env("FLOWMILL_STORE", url);
    let mut server = Running::start(&mut command);
    let address = server.url();
    (server, address)
}
