//! One line per diagnostic, for editors and `grep`.

use std::fmt::Write as _;

use crate::diagnostic::Diagnostic;
use crate::source::{Lines, Source};

/// `file:line:column: severity[code]: message; suggestion`, a line each.
pub fn short(source: &Source, diagnostics: &[Diagnostic]) -> String {
    let lines = Lines::new(&source.text);
    let mut out = String::new();
    for diagnostic in diagnostics {
        let at = lines.position(diagnostic.span.start);
        let hint = diagnostic
            .advice()
            .map_or_else(String::new, |hint| format!("; {hint}"));
        writeln!(
            out,
            "{}:{}:{}: {}[{}]: {}{hint}",
            source.name,
            at.line,
            at.column,
            diagnostic.severity.as_str(),
            diagnostic.code,
            diagnostic.message,
        )
        .expect("writing to a String cannot fail");
    }
    out
}
