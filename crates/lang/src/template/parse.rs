//! Splitting a template into text and brace groups. Every text is a template; whether a group is a
//! placeholder is decided in [`super::resolve`], where the names are known.

use crate::source::Span;

/// A parsed template whose names are not resolved yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw {
    pub(super) pieces: Vec<RawPiece>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum RawPiece {
    /// Verbatim, escapes already undone.
    Text(String),
    /// What stands between a `{` and the next `}`, with no other brace in between; blanks included.
    /// The span is that of the inside.
    Group(String, Span),
}

/// Splits a template; spans are byte ranges of `text`.
///
/// `{{` and `}}` are literal braces. A `{` followed by another `{` before the next `}` (JSON, code)
/// is literal, and so is the `}` that belongs to it: `{"a": {"b": 1}}` keeps all its braces.
pub fn parse(text: &str) -> Raw {
    let mut pieces = Pieces(Vec::new());
    // The literal braces that are open, by how they were written.
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(['{', '}']) {
        pieces.push_text(&text[at..at + found]);
        at += found;
        #[cfg(test)]
        testing::work::count(1 + found);
        let rest = &text[at..];
        if rest.starts_with("{{") {
            pieces.push_text("{");
            open.push(Written::Doubled);
            at += 2;
        } else if let Some(inside) = rest.strip_prefix('{') {
            let next = inside.find(['{', '}']);
            #[cfg(test)]
            testing::work::count(next.unwrap_or(inside.len()));
            match next {
                Some(end) if inside[end..].starts_with('}') => {
                    let group = &inside[..end];
                    let span = Span::new(at + 1, at + 1 + group.len());
                    pieces.0.push(RawPiece::Group(group.to_owned(), span));
                    at = span.end + 1;
                }
                _ => {
                    pieces.push_text("{");
                    open.push(Written::Single);
                    at += 1;
                }
            }
        } else {
            let opened = open.pop();
            let doubled = opened != Some(Written::Single) && rest.starts_with("}}");
            pieces.push_text("}");
            at += if doubled { 2 } else { 1 };
        }
    }
    pieces.push_text(&text[at..]);
    Raw { pieces: pieces.0 }
}

#[derive(PartialEq)]
enum Written {
    Single,
    Doubled,
}

struct Pieces(Vec<RawPiece>);

impl Pieces {
    fn push_text(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(RawPiece::Text(before)) => before.push_str(text),
            _ if text.is_empty() => {}
            _ => self.0.push(RawPiece::Text(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups come back in angle brackets.
    fn check(text: &str, expected: &str) {
        let shown: String = parse(text)
            .pieces
            .iter()
            .map(|piece| match piece {
                RawPiece::Text(verbatim) => verbatim.clone(),
                RawPiece::Group(inside, span) => {
                    assert_eq!(
                        inside,
                        &text[span.start..span.end],
                        "span of a group in {text:?}"
                    );
                    format!("<{inside}>")
                }
            })
            .collect();
        assert_eq!(shown, expected, "{text:?}");
    }

    #[test]
    fn groups_end_at_the_next_brace() {
        check("", "");
        check("plain", "plain");
        check("Say {state.message}!", "Say <state.message>!");
        check("{a}{b}", "<a><b>");
        check("{ a\n}", "< a\n>");
        check("é{ü}", "é<ü>");
    }

    #[test]
    fn lone_braces_are_literal() {
        check("a {b} c {", "a <b> c {");
        check("a } b", "a } b");
        check("a {} b", "a <> b");
        check("{ {a}", "{ <a>");
    }

    #[test]
    fn doubled_braces_stand_for_one() {
        check("Use {{topic}} and {{}}", "Use {topic} and {}");
        check("{{{a}}}", "{<a>}");
        check("a }} b", "a } b");
        check(":{ {{topic}}", ":{ {topic}");
        check("{ {{a}} }", "{ {a} }");
    }

    #[test]
    fn braces_of_json_belong_together() {
        check(r#"{"a": {"b": 1}}"#, r#"{"a": <"b": 1>}"#);
        check(
            r#"{"a": {"b": {"c": {x}}}} {x}"#,
            r#"{"a": {"b": {"c": <x>}}} <x>"#,
        );
        check(r#"{"a": {x}}"#, r#"{"a": <x>}"#);
    }
}
