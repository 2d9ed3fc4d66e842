//! Why a command failed: a sentence, its details, a hint, and the exit code.
//!
//! Owns the exit codes and the format of errors and warnings on stderr. Faults of a workflow file
//! are `lang::diagnostic::Diagnostic`s and rendered there.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use lang::visible;

/// The result of a command. Success carries an exit code, too: a failed run has already printed its
/// result.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Exit codes, a promise to scripts. [`EXIT_CODES`] is their text in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The command succeeded.
    Success = 0,
    /// A run failed; a server stopped with an error or is not healthy; a job does not exist or is
    /// in the wrong state; a gate refused a deployment, or its container did not become ready.
    Failed = 1,
    /// The command line, the environment or `flowmill.toml` is wrong.
    Usage = 2,
    /// The workflow or its inputs are invalid.
    Invalid = 3,
    /// A file could not be read or written, an address could not be bound, or a server could not be
    /// reached.
    Io = 4,
    /// A model is not configured, the workflow needs a feature that is not supported yet, or Docker
    /// is missing.
    NotReady = 5,
    /// Ctrl-C.
    Interrupted = 130,
}

/// Shown below `flowmill --help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    a run, a deployment or a health check failed; a job is missing or in the wrong state
  2    wrong usage: an error in the command line, the environment, or flowmill.toml
  3    the workflow is invalid, or its inputs are
  4    a file could not be read or written, an address not bound, or a server not reached
  5    the workflow cannot run here: a model not configured, a feature not supported, Docker missing
  130  interrupted";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    /// Exit code of the process.
    pub exit: Exit,
    /// What went wrong, in one sentence.
    pub message: String,
    /// Lines below the sentence, such as one per invalid input.
    pub details: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without details or hint.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            details: Vec::new(),
            hint: None,
        }
    }

    /// A failure of usage.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A file could not be read.
    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let shown = path.display();
        Self::new(Exit::Io, format!("`{shown}` could not be read: {error}"))
    }

    /// A file could not be written.
    pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Self {
        let shown = path.display();
        Self::new(Exit::Io, format!("`{shown}` could not be written: {error}"))
    }

    /// Adds a hint.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the lines below the sentence.
    pub(crate) fn details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    /// The failure as it is printed, with colours.
    pub(crate) fn render(&self) -> String {
        let mut text = labelled("error", AnsiColor::Red, &self.message);
        for detail in &self.details {
            let _ = write!(text, "\n  {}", visible::escaped(detail));
        }
        if let Some(hint) = &self.hint {
            let _ = write!(text, "\n{}", labelled("hint", AnsiColor::Cyan, hint));
        }
        text
    }
}

/// A warning as it is printed, with colours.
pub(crate) fn render_warning(message: &str) -> String {
    labelled("warning", AnsiColor::Yellow, message)
}

/// `label: text`, the label in bold colour.
fn labelled(label: &str, color: AnsiColor, text: &str) -> String {
    let style = Style::new().bold().fg_color(Some(color.into()));
    format!("{style}{label}{style:#}: {}", visible::escaped(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_show_sentence_details_and_way_out() {
        let failure = Failure::new(Exit::Invalid, "2 inputs do not fit")
            .details(vec!["a: missing".to_owned(), "b: missing".to_owned()])
            .hint("add --input a=…");
        let text = anstream::adapter::strip_str(&failure.render()).to_string();
        assert_eq!(
            text,
            "error: 2 inputs do not fit\n  a: missing\n  b: missing\nhint: add --input a=…"
        );
    }

    #[test]
    fn every_exit_code_is_in_the_help() {
        for exit in [
            Exit::Success,
            Exit::Failed,
            Exit::Usage,
            Exit::Invalid,
            Exit::Io,
            Exit::NotReady,
            Exit::Interrupted,
        ] {
            let code = (exit as u8).to_string();
            assert!(
                EXIT_CODES
                    .lines()
                    .any(|line| line.trim_start().starts_with(&code)),
                "{exit:?} ({code})"
            );
        }
    }
}
