//! A text that arrives piece by piece, and may be shown as it does: a value can begin in one piece
//! and end in the next, so what may be the beginning of one is held back until it is known.

use super::mask::MASK;
use super::scan::{Intervals, Scan};
use super::secrets::Search;

/// The part of a growing text that is not shown yet.
#[derive(Debug, Default)]
pub struct GrowingText {
    /// From `begin` on it is not shown yet.
    held: String,
    begin: usize,
    /// Where `begin` stands in the text as a whole.
    at: usize,
    /// What stands right before `begin`.
    last: Option<char>,
    scan: Option<Scan>,
    found: Intervals,
    /// A mask was shown for what stands right before `begin`.
    is_masked: bool,
}

impl GrowingText {
    /// The next piece; what can be shown now, masked.
    pub fn push(&mut self, piece: &str, search: &Search) -> Option<String> {
        self.read(piece, false, search)
    }

    /// Nothing follows: the rest, masked.
    pub fn finish(&mut self, search: &Search) -> Option<String> {
        self.read("", true, search)
    }

    fn read(&mut self, piece: &str, is_whole: bool, search: &Search) -> Option<String> {
        let scan = self.scan.take();
        let scan = scan.filter(|scan| scan.is_of(&search.automata));
        let mut scan = scan.unwrap_or_else(|| {
            // More is known by now, and may have begun in what is held.
            let follows_word = self.last.is_some_and(char::is_alphanumeric);
            let mut scan = Scan::new(search.automata.clone(), self.at, follows_word);
            scan.read(&self.held[self.begin..], false, &mut self.found);
            scan
        });
        scan.read(piece, is_whole, &mut self.found);
        self.held.push_str(piece);
        let end = self.at + (self.held.len() - self.begin);
        let settled = if is_whole { end } else { scan.settled() };
        self.scan = (!is_whole).then_some(scan);

        let mut shown = String::new();
        while let Some((from, to)) = self.found.take_before(settled) {
            if from > self.at {
                shown.push_str(self.take(from));
                self.is_masked = false;
            }
            if !self.is_masked {
                shown.push_str(MASK);
            }
            if to > self.at {
                self.take(to);
            }
            self.is_masked = true;
        }
        if settled > self.at {
            shown.push_str(self.take(settled));
            self.is_masked = false;
        }
        if self.begin > self.held.len() / 2 {
            self.held.drain(..self.begin);
            self.begin = 0;
        }
        (!shown.is_empty()).then_some(shown)
    }

    /// Releases the text that is held up to an offset.
    fn take(&mut self, offset: usize) -> &str {
        let begin = self.begin;
        self.begin += offset - self.at;
        self.at = offset;
        let taken = &self.held[begin..self.begin];
        self.last = taken.chars().next_back().or(self.last);
        taken
    }
}
