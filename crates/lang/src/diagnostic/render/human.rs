//! The excerpt with an underline that people see on a terminal.

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Severity};
use crate::source::{Lines, Source};

/// Lines longer than this, in bytes, are not excerpted: only their place is named.
const LONGEST_EXCERPT: usize = 4096;

/// Each diagnostic with its source line, the fault underlined, and the suggestion. `width` is that
/// of the terminal, in columns; with `color`, ANSI styles are used.
pub fn human(source: &Source, diagnostics: &[Diagnostic], color: bool, width: usize) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    }
    .term_width(width);
    let lines = Lines::new(&source.text);
    let mut out = String::new();
    for diagnostic in diagnostics {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let at = lines.position(diagnostic.span.start);
        let line = lines.line_of(diagnostic.span.start);
        let excerpt = &source.text[line.start..line.end];
        let title = level
            .primary_title(&*diagnostic.message)
            .id(diagnostic.code);
        // Only the first line of a longer span: a whole node underlined says nothing.
        let start = diagnostic.span.start.clamp(line.start, line.end) - line.start;
        let end = diagnostic.span.end.clamp(line.start, line.end) - line.start;
        let whole_file = diagnostic.path.is_empty() && diagnostic.span.start == diagnostic.span.end;
        let mut group = if whole_file {
            title.element(Origin::path(&*source.name))
        } else if excerpt.len() > LONGEST_EXCERPT || excerpt.trim().is_empty() {
            title.element(
                Origin::path(&*source.name)
                    .line(at.line)
                    .char_column(at.column),
            )
        } else {
            title.element(
                Snippet::source(excerpt)
                    .line_start(at.line)
                    .path(&*source.name)
                    .annotation(AnnotationKind::Primary.span(start..end)),
            )
        };
        if let Some(hint) = diagnostic.advice() {
            group = group.element(Level::HELP.message(hint));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    out
}
