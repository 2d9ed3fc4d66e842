//! Deciding which brace groups of a template are placeholders, and looking their names up.

use crate::diagnostic::quoted;
use crate::field::Type;
use crate::names::{self, Finding, FindingKind, Names};
use crate::source::Span;
use crate::suggest::{self, Suggestion};

use super::parse::{Raw, RawPiece};
use super::{Piece, Placeholder, Template};

impl Raw {
    /// Looks every name up. `locate` maps byte ranges of the parsed text to the workflow file. A
    /// placeholder with a finding of error severity stays in the template as text.
    pub fn resolve(
        &self,
        names: &dyn Names,
        locate: &dyn Fn(Span) -> Span,
    ) -> (Template, Vec<Finding>) {
        let mut pieces = Vec::new();
        let mut findings = Vec::new();
        for piece in &self.pieces {
            match piece {
                RawPiece::Text(text) => push_text(&mut pieces, text),
                RawPiece::Group(inside, span) => match read_group(inside, *span, names, locate) {
                    Group::Literal => push_text(&mut pieces, &format!("{{{inside}}}")),
                    Group::Placeholder(found) => {
                        findings.extend(found.finding);
                        let object = match found.ty {
                            Some(Type::Object(Some(schema))) => Some(schema.clone()),
                            _ => None,
                        };
                        let reference = found.reference;
                        pieces.push(Piece::Placeholder(Placeholder { reference, object }));
                    }
                    Group::Fault(finding) => {
                        findings.push(finding);
                        push_text(&mut pieces, &format!("{{{inside}}}"));
                    }
                },
            }
        }
        (Template { pieces }, findings)
    }
}

enum Group<'a> {
    Literal,
    Placeholder(names::Resolved<'a>),
    Fault(Finding),
}

fn read_group<'a>(
    inside: &str,
    span: Span,
    names: &'a dyn Names,
    locate: &dyn Fn(Span) -> Span,
) -> Group<'a> {
    let text = inside.trim();
    let start = span.start + inside.len() - inside.trim_start().len();
    if let Some(name) = formatted(text) {
        return Group::Fault(format_spec(name, start, names, locate));
    }
    if is_literal(inside, names) {
        return Group::Literal;
    }
    match names::resolve(text, start, names, locate) {
        Ok(found) => Group::Placeholder(found),
        Err(finding) => Group::Fault(finding),
    }
}

/// The name of `{name:…}` and `{name!…}`.
fn formatted(text: &str) -> Option<&str> {
    let (name, _) = text.split_once([':', '!'])?;
    Some(name.trim_end()).filter(|name| is_name_path(name))
}

/// Whether a brace group is text and no placeholder, right or wrong. Fields may have names that
/// look like no name (`my-field`); those win over being literal.
pub(super) fn is_literal(inside: &str, names: &dyn Names) -> bool {
    let text = inside.trim();
    formatted(text).is_none()
        && !is_name_path(text)
        && !names::is_known(text, names)
        && !is_misspelt(text, names)
}

/// Identifiers joined by dots; after the first, keys may start with a digit.
fn is_name_path(text: &str) -> bool {
    let starts = text
        .chars()
        .next()
        .is_some_and(|first| first == '_' || unicode_ident::is_xid_start(first));
    starts
        && text
            .chars()
            .all(|letter| letter == '.' || unicode_ident::is_xid_continue(letter))
}

/// Whether a group with dashes is close to a field that has some.
fn is_misspelt(text: &str, names: &dyn Names) -> bool {
    let in_name = |letter: char| letter == '-' || unicode_ident::is_xid_continue(letter);
    let name = text.strip_prefix("state.").unwrap_or(text);
    name.contains('-')
        && name.chars().all(in_name)
        && suggest::nearest(name, names.variables()).is_some_and(|meant| meant.contains('-'))
}

fn format_spec(
    name: &str,
    start: usize,
    names: &dyn Names,
    locate: &dyn Fn(Span) -> Span,
) -> Finding {
    let meant = match names::resolve(name, start, names, locate) {
        Ok(_) => Some(name.strip_prefix("state.").unwrap_or(name).to_owned()),
        Err(finding) => finding
            .suggestion
            .and_then(|suggestion| suggestion.did_you_mean),
    };
    let text = format!(
        "write {} alone, or double the braces for literal text",
        quoted(&format!("{{{name}}}"))
    );
    Finding {
        kind: FindingKind::FormatSpec,
        span: locate(Span::new(start, start + name.len() + 1)),
        message: format!(
            "placeholder {} has a format, which is not supported",
            quoted(name)
        ),
        suggestion: Some(Suggestion {
            text,
            did_you_mean: meant,
        }),
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(before)) => before.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}
