//! Where a value is in the file: its key path and its span.

use std::fmt;
use std::rc::Rc;

use crate::source::Span;

/// A dotted key path. Cheap to extend and to keep: the steps towards the root are shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Path(Option<Rc<Step>>);

#[derive(Debug)]
struct Step {
    parent: Path,
    name: Name,
}

#[derive(Debug)]
enum Name {
    Key(Rc<str>),
    Index(usize),
}

impl Path {
    /// The path of a mapping's entry.
    pub(crate) fn key(&self, key: impl Into<Rc<str>>) -> Self {
        Self(Some(Rc::new(Step {
            parent: self.clone(),
            name: Name::Key(key.into()),
        })))
    }

    /// The path of a list's item.
    pub(crate) fn index(&self, index: usize) -> Self {
        Self(Some(Rc::new(Step {
            parent: self.clone(),
            name: Name::Index(index),
        })))
    }

    /// Steps from the root.
    pub(crate) fn depth(&self) -> usize {
        std::iter::successors(self.0.as_ref(), |step| step.parent.0.as_ref()).count()
    }

    /// The steps below a depth, dotted.
    pub(crate) fn below(&self, depth: usize) -> String {
        let mut names: Vec<String> =
            std::iter::successors(self.0.as_ref(), |step| step.parent.0.as_ref())
                .map(|step| match &step.name {
                    Name::Key(key) => key.to_string(),
                    Name::Index(index) => index.to_string(),
                })
                .collect();
        names.reverse();
        names.split_off(depth.min(names.len())).join(".")
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.below(0))
    }
}

/// A value's key path and span.
#[derive(Debug, Clone, Default)]
pub(crate) struct Location {
    pub(crate) path: Path,
    pub(crate) span: Span,
}

impl Location {
    pub(crate) fn new(path: Path, span: Span) -> Self {
        Self { path, span }
    }
}
