//! The machine-readable report of `validate --format json`.

use serde_json::{Value, json};

use crate::diagnostic::{Diagnostic, Severity};
use crate::source::{Lines, Source};

/// `{"valid", "diagnostics": [{"code", "severity", "path", "message", "suggestion", "span":
/// {"file", "line", "column", "end_line", "end_column"}}]}`; lines and columns from 1, columns in
/// characters, the end exclusive.
pub fn json(source: &Source, diagnostics: &[Diagnostic]) -> Value {
    let lines = Lines::new(&source.text);
    let entries: Vec<Value> = diagnostics
        .iter()
        .map(|diagnostic| {
            let start = lines.position(diagnostic.span.start);
            let end = lines.position(diagnostic.span.end);
            json!({
                "code": diagnostic.code,
                "severity": diagnostic.severity.as_str(),
                "path": diagnostic.path,
                "message": diagnostic.message,
                "suggestion": diagnostic.suggestion,
                "span": {
                    "file": &*source.name,
                    "line": start.line,
                    "column": start.column,
                    "end_line": end.line,
                    "end_column": end.column,
                },
            })
        })
        .collect();
    let valid = !diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error);
    json!({ "valid": valid, "diagnostics": entries })
}
