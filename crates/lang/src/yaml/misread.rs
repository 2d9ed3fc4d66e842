//! Faults that are hard to see on the screen: space characters that YAML does not accept, tabs, and
//! brackets inside braces. Finds where the fault really is, which is often not where the parser
//! stopped.

use granit_parser::ErrorKind;

use super::bounds::fault;
use crate::diagnostic::{Diagnostic, code, quoted};
use crate::source::Span;
use crate::suggest::Suggestion;

/// The fault behind a refusal at byte `at`, where it is one of these.
pub(super) fn explain(text: &str, at: usize, kind: &ErrorKind) -> Option<Diagnostic> {
    if !text.is_char_boundary(at) {
        return None;
    }
    foreign_blank(text, at)
        .map(|(at, blank)| not_a_blank(at, blank))
        .or_else(|| match kind {
            ErrorKind::TabInIndentation
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabNotAllowed
            | ErrorKind::TabInPlainScalar
            | ErrorKind::TabAtBlockScalarStart => tab(text, at),
            _ => unquoted_bracket(text, at),
        })
}

/// A space character of Unicode that YAML takes for a letter. It usually comes with copied text.
pub(crate) fn is_foreign_blank(letter: char) -> bool {
    matches!(
        letter,
        '\u{a0}' | '\u{1680}' | '\u{180e}' | '\u{2000}'
            ..='\u{200b}' | '\u{202f}' | '\u{205f}' | '\u{2060}' | '\u{3000}' | '\u{feff}'
    )
}

/// The byte offset of such a space in an unquoted key, where it is indentation or should separate a
/// dash or a colon from what follows.
pub(super) fn blank_in_key(key: &str) -> Option<(usize, char)> {
    let mut before = None;
    key.char_indices().find(|&(at, letter)| {
        let needed = at == 0 || before == Some(':') || (at == 1 && before == Some('-'));
        before = Some(letter);
        needed && is_foreign_blank(letter)
    })
}

/// The fault of such a space where YAML needs an ordinary one.
pub(super) fn not_a_blank(at: usize, blank: char) -> Diagnostic {
    let name = match blank {
        '\u{a0}' => "a no-break space, ",
        '\u{202f}' => "a narrow no-break space, ",
        '\u{3000}' => "an ideographic space, ",
        '\u{200b}' | '\u{2060}' | '\u{feff}' => "an invisible character, ",
        _ => "a blank of another kind, ",
    };
    let message = format!(
        "{name}U+{:04X}, stands where a plain blank is needed",
        u32::from(blank)
    );
    let advice = "type the blanks of this line anew; such characters come with copied text";
    fault(code::SYNTAX, Span::new(at, at + blank.len_utf8()), message)
        .suggesting(Suggestion::advice(advice))
}

/// The first such space in the indentation of the line at fault or of the one before, or after the
/// colon of a key there. Anywhere else it is part of a text.
fn foreign_blank(text: &str, at: usize) -> Option<(usize, char)> {
    let line = line_start(text, at);
    let before = line.checked_sub(1).map(|end| line_start(text, end));
    [before, Some(line)]
        .into_iter()
        .flatten()
        .find_map(|start| {
            let line = text[start..].lines().next()?;
            let indent = line
                .char_indices()
                .take_while(|&(_, letter)| {
                    letter == ' ' || letter == '-' || is_foreign_blank(letter)
                })
                .find(|&(at, letter)| is_foreign_blank(letter) && start + at > 0);
            let behind_colon = || {
                let key = line.trim_start_matches([' ', '-']);
                let colon =
                    key.find(|letter: char| !(letter == '_' || letter.is_alphanumeric()))?;
                let blank = key[colon..].strip_prefix(':')?.chars().next()?;
                (colon > 0 && is_foreign_blank(blank))
                    .then_some((line.len() - key.len() + colon + 1, blank))
            };
            let (at, blank) = indent.or_else(behind_colon)?;
            Some((start + at, blank))
        })
}

/// The tab itself: the parser stops at the end of what is before it, possibly lines earlier.
fn tab(text: &str, at: usize) -> Option<Diagnostic> {
    let mut start = line_start(text, at);
    for line in text[start..].split_inclusive('\n').take(100) {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        let behind = at.saturating_sub(start).min(line.len());
        let found = line[..indent]
            .find('\t')
            .or_else(|| line.get(behind..)?.find('\t').map(|found| behind + found));
        if let Some(found) = found {
            let span = Span::new(start + found, start + found + 1);
            let message = if found < indent {
                "this line is indented with a tab, which YAML does not take"
            } else {
                "a tab stands where YAML needs a blank"
            };
            let advice = Suggestion::advice("indent with spaces, not tabs");
            return Some(fault(code::SYNTAX, span, message).suggesting(advice));
        }
        start += line.len();
    }
    None
}

/// A type such as `list[str]`, or any unquoted text, that a bracket inside braces cuts off.
fn unquoted_bracket(text: &str, at: usize) -> Option<Diagnostic> {
    let rest = &text[at..];
    if !rest.starts_with(['[', '{']) {
        return None;
    }
    let line = &text[line_start(text, at)..at];
    let start = line
        .rfind(['{', '[', ',', ':'])
        .map_or(0, |before| before + 1);
    let head = line[start..].trim_start();
    if head.trim_end().is_empty() || head.contains(['"', '\'']) {
        return None;
    }
    let end = at + closing(rest);
    let begin = at - head.len();
    let written = &text[begin..end];
    let message = format!(
        "inside braces or brackets, {} must be in quotes",
        quoted(written)
    );
    let advice = if written.contains('"') {
        "put all of the text in quotes".to_owned()
    } else {
        format!("write `\"{}\"`", quoted(written).trim_matches('`'))
    };
    let fault = fault(code::SYNTAX, Span::new(begin, end), message);
    Some(fault.suggesting(Suggestion::advice(advice)))
}

/// Where the bracket that a text begins with is closed on its line, or the line ends.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    let line = text.lines().next().unwrap_or_default();
    for (at, letter) in line.char_indices() {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + letter.len_utf8();
        }
    }
    line.len()
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use crate::diagnostic::findings::Findings;
    use crate::source::Lines;
    use crate::yaml::read_yaml;

    /// Checks the line of the one fault, the underlined text, and the message.
    #[track_caller]
    fn check(text: &str, line: usize, underlined: &str, said: &[&str]) {
        let mut findings = Findings::default();
        read_yaml(text, &mut findings);
        let found = findings.finish();
        let [fault] = found.as_slice() else {
            panic!("{text:?}: {found:#?}")
        };
        assert_eq!(
            &text[fault.span.start..fault.span.end],
            underlined,
            "{text:?}"
        );
        assert_eq!(
            Lines::new(text).position(fault.span.start).line,
            line,
            "{text:?}"
        );
        let all = format!("{}; {}", fault.message, fault.suggestion.as_ref().unwrap());
        for said in said {
            assert!(all.contains(said), "{all}");
        }
    }

    #[test]
    fn a_no_break_space_as_indent_is_named() {
        let said = ["U+00A0", "no-break space"];
        check("a:\n\u{a0}\u{a0}b: 1\n", 2, "\u{a0}", &said);
        check("a:\n  b: 1\n\u{a0} c: 2\n  d: 3\n", 3, "\u{a0}", &said);
        check("a:\n  - b: 1\n \u{a0}  c: 2\n", 3, "\u{a0}", &said);
        check("a: 1\nb:\u{a0}2\nc: 3\n", 2, "\u{a0}", &said);
        check("- a: 1\n-\u{a0}b: 2\n", 2, "\u{a0}", &said);
        check("a: {b:\u{a0}1}\n", 1, "\u{a0}", &said);
        check("a:\n\u{3000}b: 1\n", 2, "\u{3000}", &["U+3000"]);
        check(
            "a:\n\u{200b}b: 1\n",
            2,
            "\u{200b}",
            &["U+200B", "invisible"],
        );
    }

    #[test]
    fn a_no_break_space_between_the_parts_of_json_is_named() {
        let text = "{\n\u{a0} \"a\": 1}";
        let mut findings = Findings::default();
        assert!(crate::yaml::read_json(text, &mut findings).is_none());
        let found = findings.finish();
        assert!(found[0].message.contains("U+00A0"), "{found:?}");
        assert_eq!((found[0].span.start, found[0].span.end), (2, 4));
    }

    #[test]
    fn a_no_break_space_in_a_text_is_no_fault() {
        for text in [
            "a: x\u{a0}y\n",
            "a: |\n  \u{a0}\u{a0}x\n",
            "a: \"\u{a0}x\"\n\"\u{a0}b\": 1\n",
            "\u{feff}a: 1\n",
        ] {
            let mut findings = Findings::default();
            assert!(read_yaml(text, &mut findings).is_some());
            assert_eq!(findings.finish(), [], "{text:?}");
        }
    }

    #[test]
    fn a_tab_is_shown_on_its_own_line() {
        check("a:\n  - b: n\n\tc: 1\n", 3, "\t", &["tab", "spaces"]);
        check("a:\n  b: n\n  \t c: 1\n", 3, "\t", &["tab", "spaces"]);
        check("a:\n\tb: n\n", 2, "\t", &["tab", "spaces"]);
    }

    #[test]
    fn a_type_with_brackets_inside_braces_is_named_as_what_needs_quotes() {
        check(
            "a: {type: list[str], required: true}\n",
            1,
            "list[str]",
            &["`list[str]`", "write `\"list[str]\"`"],
        );
        check(
            "a: {type: dict[str, list[int]]}\n",
            1,
            "dict[str, list[int]]",
            &["write `\"dict[str, list[int]]\"`"],
        );
        check(
            "a: {prompt: Greet {name} now, x: 1}\n",
            1,
            "Greet {name}",
            &["must be in quotes"],
        );
    }
}
