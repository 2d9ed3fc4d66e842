//! A source text and positions in it. Owns byte-to-line/column conversion; does not read files.

use std::sync::Arc;

/// A workflow file's text and the name it is shown under.
#[derive(Debug, Clone)]
pub struct Source {
    /// As the user wrote it (a path, or `-`); shown in diagnostics.
    pub name: Arc<str>,
    /// The whole text.
    pub text: Arc<str>,
}

impl Source {
    /// A source of that name and text.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}

/// A half-open byte range `start..end` into a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Span {
    /// The offset of the first byte.
    pub start: usize,
    /// The offset after the last byte.
    pub end: usize,
}

impl Span {
    /// The range `start..end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }
}

/// A position as people count: line and column from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// 1 for the first line.
    pub line: usize,
    /// 1 for the first character of the line.
    pub column: usize,
}

/// Where each line of a text starts, so that positions are found without rereading the whole text.
#[derive(Debug)]
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Indexes `text`; a line ends at LF, CR LF or a lone CR, as YAML has it.
    pub fn new(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let breaks = bytes.iter().enumerate().filter(|&(at, &byte)| {
            byte == b'\n' || (byte == b'\r' && bytes.get(at + 1) != Some(&b'\n'))
        });
        let starts = std::iter::once(0)
            .chain(breaks.map(|(at, _)| at + 1))
            .collect();
        Self { text, starts }
    }

    /// The line that holds a byte offset, without its line break.
    pub fn line_of(&self, offset: usize) -> Span {
        let number = self.starts.partition_point(|&start| start <= offset);
        let start = self.starts[number - 1];
        let end = self.starts.get(number).copied().unwrap_or(self.text.len());
        let line = self.text[start..end].trim_end_matches(['\n', '\r']);
        Span::new(start, start + line.len())
    }

    /// The line and column of a byte offset; one past the end is the end.
    pub fn position(&self, offset: usize) -> Position {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.starts.partition_point(|&start| start <= offset) - 1;
        let start = self.starts[line];
        // A byte order mark is not a character anybody sees.
        let before = self.text[start..offset]
            .strip_prefix('\u{feff}')
            .unwrap_or(&self.text[start..offset]);
        Position {
            line: line + 1,
            column: before.chars().count() + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "ab\r\nç🦀x\rlast\n";
        let at = |needle: &str| {
            let position = Lines::new(text).position(text.find(needle).unwrap());
            (position.line, position.column)
        };
        assert_eq!(at("b"), (1, 2));
        assert_eq!(at("ç"), (2, 1));
        assert_eq!(at("x"), (2, 3));
        assert_eq!(at("last"), (3, 1));
        let end = Lines::new(text).position(text.len() + 5);
        assert_eq!((end.line, end.column), (4, 1));
    }
}
