//! `flowmill explain`: the page of a diagnostic code, or the list of codes.

use std::fmt::Write as _;

use lang::diagnostic;
use lang::suggest;

use crate::failure::{Exit, Failure, Result};
use crate::printer;

/// Explain a diagnostic code, such as FM0121, or list all codes
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The code; without it, all codes are listed
    code: Option<String>,
}

pub(super) fn explain(args: &Args) -> Result<Exit> {
    let text = match &args.code {
        Some(code) => page(code)?.to_owned(),
        None => list(),
    };
    printer::data(text.trim_end())?;
    Ok(Exit::Success)
}

fn page(code: &str) -> Result<&'static str> {
    diagnostic::explain(code.trim()).ok_or_else(|| {
        let hint = match suggest::nearest(code, diagnostic::codes()) {
            Some(near) => format!("did you mean {near}? `flowmill explain` lists all codes"),
            None => "`flowmill explain` lists all codes".to_owned(),
        };
        Failure::usage(format!("unknown diagnostic code `{code}`")).hint(hint)
    })
}

/// A line for each code: the code and its page's title.
fn list() -> String {
    let mut list = String::new();
    for code in diagnostic::codes() {
        let title = diagnostic::explain(code)
            .and_then(|page| page.lines().next())
            .unwrap_or_default();
        let title = title
            .trim_start_matches('#')
            .trim()
            .trim_start_matches(code)
            .trim_start_matches([':', ' ']);
        let _ = writeln!(list, "{code}  {title}");
    }
    list
}
