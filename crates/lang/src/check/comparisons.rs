//! A limit on the search for the word that was meant.

use std::cell::Cell;
use std::rc::Rc;

/// How many words may still be compared with unknown ones: each of very many unknown words with
/// each of very many known ones would take forever. Shared by everything that checks one file.
#[derive(Clone)]
pub(super) struct Comparisons(Rc<Cell<usize>>);

impl Default for Comparisons {
    fn default() -> Self {
        Self(Rc::new(Cell::new(200_000)))
    }
}

impl Comparisons {
    /// Whether so many more words may be compared; if so, they are counted.
    pub(super) fn spend(&self, words: usize) -> bool {
        let left = self.0.get().checked_sub(words);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }
}
