//! Diagnostics as plain data, and the table of their codes. Turning them into text is in
//! [`render`].

mod codes;
pub(crate) mod findings;
pub mod render;

pub(crate) use codes::code;
pub use codes::{codes, explain};

use crate::source::Span;
use crate::suggest::Suggestion;
use crate::visible::is_hidden;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The workflow cannot run.
    Error,
    /// It runs, but probably not as meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One finding about a workflow file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable, such as `FM0123`; `flowmill explain` prints its page.
    pub code: &'static str,
    /// Whether the workflow can run despite it.
    pub severity: Severity,
    /// Dotted key path of the fault, such as `nodes.0.outputs.1`; empty for the whole file.
    pub path: String,
    /// One sentence, without a trailing full stop where it ends in a word list.
    pub message: String,
    /// How to fix it: the name that was probably meant, without more (see `did_you_mean`), or a
    /// sentence.
    pub suggestion: Option<String>,
    /// The name that was probably meant, when `suggestion` proposes one.
    pub did_you_mean: Option<String>,
    /// The part of the file that is underlined.
    pub span: Span,
}

impl Diagnostic {
    /// The diagnostic with a suggestion how to fix it.
    pub(crate) fn suggesting(mut self, suggestion: Suggestion) -> Self {
        self.suggestion = Some(suggestion.did_you_mean.clone().unwrap_or(suggestion.text));
        self.did_you_mean = suggestion.did_you_mean;
        self
    }

    /// The suggestion as a sentence for people.
    fn advice(&self) -> Option<String> {
        match &self.did_you_mean {
            Some(name) => Some(format!("did you mean `{name}`?")),
            None => self.suggestion.clone(),
        }
    }
}

/// A user's word in a message: cut to a readable length, control characters made visible.
pub(crate) fn quoted(word: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = word
        .chars()
        .take(LONGEST)
        .flat_map(|letter| {
            let escaped = is_hidden(letter).then(|| letter.escape_debug());
            let plain = (!is_hidden(letter)).then_some(letter);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect();
    if word.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
