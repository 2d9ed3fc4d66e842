//! A source text and places in it. Owns byte-to-line/column conversion; does not read files.

use std::sync::Arc;

/// A workflow file's text and the name it is shown under.
#[derive(Debug, Clone)]
pub struct Source {
    /// As the user wrote it (a path, or `-`); shown in diagnostics.
    pub name: Arc<str>,
    /// The whole text.
    pub text: Arc<str>,
}

/// A half-open byte range `start..end` into a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}
