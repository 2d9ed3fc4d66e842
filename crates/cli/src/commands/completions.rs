//! `flowmill completions`: a completion script for a shell.

use clap_complete::Shell;

use crate::failure::{Exit, Result};
use crate::printer;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: flowmill completions bash > ~/.local/share/bash-completion/completions/flowmill"
)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn completions(args: &Args, mut command: clap::Command) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "flowmill", &mut script);
    printer::data(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Success)
}
