//! Finding a part of a text's *value* in the *file* again: through escapes, folded lines and the
//! indentation of block scalars.

use crate::source::Span;

/// How a text was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Where it stands; quotes included, the header of a block scalar not.
    pub(crate) span: Span,
    pub(crate) notation: Notation,
}

/// The notations that differ in how characters of the file become characters of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    /// Plain, literal and folded: only line breaks and indentation change.
    Unquoted,
    /// `''` is one quote.
    SingleQuoted,
    /// Backslash escapes.
    DoubleQuoted,
}

/// From byte offsets of a text's value to those of the file.
#[derive(Debug)]
pub(crate) struct TextMap {
    /// Runs in which both advance together, in order; each ends where the next begins.
    runs: Vec<Run>,
}

#[derive(Debug)]
struct Run {
    /// Offset in the value.
    value: usize,
    /// Offset in the file.
    file: usize,
    /// Bytes in the file, when the run is a single escaped character.
    escape: Option<usize>,
}

impl TextMap {
    /// Aligns a text's value with the file it was read from.
    ///
    /// Characters other than blanks and escapes stand for themselves, so they align exactly; that
    /// holds for every notation, and is all that underlining a word or placeholder needs. Blanks
    /// between them may come from folding and align only roughly.
    pub(crate) fn new(value: &str, layout: Layout, file: &str) -> Self {
        let mut at = Cursor {
            rest: &file[layout.span.start..layout.span.end],
            offset: layout.span.start,
        };
        if layout.notation != Notation::Unquoted {
            at.skip(1);
        }
        let mut map = Self { runs: Vec::new() };
        for (offset, wanted) in value.char_indices() {
            let blank = is_blank(wanted);
            loop {
                let (next, escape) = at.peek(layout.notation);
                match next {
                    // A folded line break: the file has it, or its indentation, where the value has
                    // not.
                    Some(Next::Nothing) => at.skip(escape.unwrap_or(0)),
                    Some(Next::Character(found))
                        if found != wanted && !blank && is_blank(found) =>
                    {
                        at.skip(escape.unwrap_or(found.len_utf8()));
                    }
                    Some(Next::Character(found)) if found == wanted || is_blank(found) => {
                        map.push(offset, at.offset, escape);
                        at.skip(escape.unwrap_or(found.len_utf8()));
                        break;
                    }
                    // A blank made by folding where the file has none left, or the end.
                    _ => {
                        map.push(offset, at.offset, None);
                        break;
                    }
                }
            }
        }
        map
    }

    fn push(&mut self, value: usize, file: usize, escape: Option<usize>) {
        let continues = self
            .runs
            .last()
            .is_some_and(|run| run.escape.is_none() && value - run.value + run.file == file);
        if escape.is_some() || !continues {
            self.runs.push(Run {
                value,
                file,
                escape,
            });
        }
    }

    /// The file's range for a range of the value.
    pub(crate) fn locate(&self, range: Span) -> Span {
        let (start, _) = self.character(range.start);
        if range.end <= range.start {
            return Span::new(start, start);
        }
        let (last, width) = self.character(range.end - 1);
        Span::new(start, (last + width).max(start))
    }

    /// Where the byte of the value stands in the file, and how many bytes it takes there.
    fn character(&self, offset: usize) -> (usize, usize) {
        match self.runs.partition_point(|run| run.value <= offset) {
            0 => self.runs.first().map_or((0, 0), |run| (run.file, 0)),
            after => {
                let run = &self.runs[after - 1];
                match run.escape {
                    Some(width) => (run.file, width),
                    None => (run.file + (offset - run.value), 1),
                }
            }
        }
    }
}

/// What the file holds at the cursor.
enum Next {
    Character(char),
    /// An escaped line break, which stands for nothing.
    Nothing,
}

struct Cursor<'a> {
    rest: &'a str,
    offset: usize,
}

impl Cursor<'_> {
    fn skip(&mut self, bytes: usize) {
        let bytes = bytes.min(self.rest.len());
        self.rest = &self.rest[bytes..];
        self.offset += bytes;
    }

    /// The next character of the value, and the bytes of its escape if it is one.
    fn peek(&self, notation: Notation) -> (Option<Next>, Option<usize>) {
        let Some(first) = self.rest.chars().next() else {
            return (None, None);
        };
        match (notation, first) {
            (Notation::SingleQuoted, '\'') if self.rest.starts_with("''") => {
                (Some(Next::Character('\'')), Some(2))
            }
            (Notation::DoubleQuoted, '\\') => {
                let (character, width) = escape(&self.rest[1..]);
                (
                    Some(character.map_or(Next::Nothing, Next::Character)),
                    Some(1 + width),
                )
            }
            _ => (Some(Next::Character(first)), None),
        }
    }
}

/// The character an escape stands for (`None`: nothing) and the escape's bytes, after its
/// backslash.
fn escape(rest: &str) -> (Option<char>, usize) {
    let Some(letter) = rest.chars().next() else {
        return (None, 0);
    };
    let hex = |from: usize, digits: usize| {
        rest.get(from..from + digits)
            .and_then(|text| u32::from_str_radix(text, 16).ok())
    };
    let digits = match letter {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => 0,
    };
    if digits > 0 {
        let number = hex(1, digits).unwrap_or(0);
        // JSON writes characters beyond the first plane as two escapes.
        let low = rest
            .get(5..7)
            .filter(|next| *next == "\\u")
            .and_then(|_| hex(7, 4));
        return match (number, low) {
            (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => (
                char::from_u32(0x10000 + ((number - 0xd800) << 10) + (low - 0xdc00)),
                11,
            ),
            _ => (char::from_u32(number), 1 + digits),
        };
    }
    let character = match letter {
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' | '\t' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        '\n' => return (None, 1),
        '\r' => return (None, if rest.starts_with("\r\n") { 2 } else { 1 }),
        other => other,
    };
    (Some(character), letter.len_utf8())
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::diagnostic::findings::Findings;
    use crate::yaml::{Data, Node, read_json, read_yaml};

    /// Finds `needle` in the text at key `k` and says what the file holds there.
    #[track_caller]
    fn check(root: &Rc<Node>, file: &str, needle: &str, expected: &str) {
        let Data::Map(entries) = &root.data else {
            panic!("no mapping")
        };
        let Data::Text(text) = &entries[0].value.data else {
            panic!("no text")
        };
        let start = text.value.find(needle).unwrap();
        let found = TextMap::new(&text.value, text.layout, file)
            .locate(Span::new(start, start + needle.len()));
        assert_eq!(&file[found.start..found.end], expected, "{:?}", text.value);
    }

    #[track_caller]
    fn yaml(file: &str, needle: &str, expected: &str) {
        check(
            &read_yaml(file, &mut Findings::default()).unwrap(),
            file,
            needle,
            expected,
        );
    }

    #[test]
    fn places_are_found_in_every_notation() {
        yaml("k: see {x} here", "{x}", "{x}");
        yaml("k: see\n   {x}\n\n   {y}", "{y}", "{y}");
        yaml("k: 'it''s {x}'", "{x}", "{x}");
        yaml("k: 'it''s {x}'", "'s", "''s");
        yaml("k: 'a\n\n  b {x}'", "{x}", "{x}");
        yaml(r#"k: "a\tb \u00e7\n {x}""#, "{x}", "{x}");
        yaml(r#"k: "say \"{x}\"""#, "\"{x}\"", r#"\"{x}\""#);
        yaml("k: \"a \\\n   b\\n\n   {x}\"", "{x}", "{x}");
        yaml("k: |\n  one\n    {x}\n\n  {y}\n", "{y}", "{y}");
        yaml("k: >-\n  one\n  {x} two\n\n    three {y}\n", "{y}", "{y}");
        yaml("k: |+4  # note\n      x\n    ç {y}\r\n", "{y}", "{y}");
    }

    #[test]
    fn a_range_over_folded_lines_starts_and_ends_exactly() {
        yaml("k: >\n  a ==\n  b and\n  c\n", "== b and", "==\n  b and");
    }

    #[test]
    fn json_escapes_are_followed() {
        let file = r#"{"k": "\ud83d\ude00\/ {x}"}"#;
        check(
            &read_json(file, &mut Findings::default()).unwrap(),
            file,
            "{x}",
            "{x}",
        );
        check(
            &read_json(file, &mut Findings::default()).unwrap(),
            file,
            "😀",
            r"\ud83d\ude00",
        );
    }
}
