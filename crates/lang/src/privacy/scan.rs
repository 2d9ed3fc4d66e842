//! A search for all values in one text, as it stands and with its escapes taken for what they mean.
//! The text may grow: nothing is read twice.

use std::collections::VecDeque;
use std::sync::Arc;

use super::escapes::Unescaper;
use super::search::{Automaton, Cursor, End};

/// Where values stand in a text: in order, those that overlap or touch as one.
#[derive(Debug, Default)]
pub(super) struct Intervals(VecDeque<(usize, usize)>);

impl Intervals {
    /// Adds more, of which few end before the last that is there.
    fn add(&mut self, mut found: Vec<(usize, usize)>) {
        found.sort_unstable();
        for (mut from, mut to) in found {
            let mut later = Vec::new();
            while let Some(&(begin, end)) = self.0.back().filter(|(_, end)| *end >= from) {
                #[cfg(test)]
                testing::work::count(1);
                self.0.pop_back();
                if begin > to {
                    later.push((begin, end));
                } else {
                    (from, to) = (from.min(begin), to.max(end));
                }
            }
            self.0.push_back((from, to));
            self.0.extend(later.into_iter().rev());
        }
    }

    /// The first, if it begins before an offset.
    pub(super) fn take_before(&mut self, offset: usize) -> Option<(usize, usize)> {
        self.0.front().filter(|(from, _)| *from < offset)?;
        self.0.pop_front()
    }
}

/// One text being searched.
#[derive(Debug)]
pub(super) struct Scan {
    automata: Arc<[Arc<Automaton>]>,
    /// One for each automaton.
    cursors: Vec<Cursor>,
    /// From the first backslash on.
    plain: Option<Plain>,
    /// The number of bytes read.
    at: usize,
}

/// The same text without its escapes.
#[derive(Debug)]
struct Plain {
    cursors: Vec<Cursor>,
    unescaper: Unescaper,
    /// What may be the beginning of an escape.
    unread: String,
    /// Bytes of plain text.
    length: usize,
    /// Where the plain text does not simply go on as the original does: a place there, and the same
    /// in the original.
    origins: VecDeque<(usize, usize)>,
}

impl Scan {
    /// A scan of the text from an offset on.
    pub(super) fn new(automata: Arc<[Arc<Automaton>]>, at: usize, follows_word: bool) -> Self {
        let cursors = automata.iter().map(|_| Cursor::new(at, follows_word));
        Self {
            cursors: cursors.collect(),
            automata,
            plain: None,
            at,
        }
    }

    /// Whether it looks for the values of these.
    pub(super) fn is_of(&self, automata: &Arc<[Arc<Automaton>]>) -> bool {
        Arc::ptr_eq(&self.automata, automata)
    }

    /// Reads on. `is_whole`: nothing follows.
    pub(super) fn read(&mut self, text: &str, is_whole: bool, intervals: &mut Intervals) {
        let mut found = Vec::new();
        if self.plain.is_none() {
            let simple = text.find('\\').unwrap_or(text.len());
            self.read_original(&text[..simple], &mut found);
            if simple < text.len() {
                self.plain = Some(Plain {
                    cursors: self.cursors.clone(),
                    unescaper: Unescaper::new(self.at),
                    unread: String::new(),
                    length: self.at,
                    origins: VecDeque::from([(0, 0)]),
                });
                self.read_original(&text[simple..], &mut found);
                self.read_plain(&text[simple..], is_whole, &mut found);
            }
        } else {
            self.read_original(text, &mut found);
            self.read_plain(text, is_whole, &mut found);
        }
        if is_whole {
            for (automaton, cursor) in self.automata.iter().zip(&self.cursors) {
                cursor.end_word(automaton, |from| found.push((from, self.at)));
            }
            if let Some(plain) = &self.plain {
                for (automaton, cursor) in self.automata.iter().zip(&plain.cursors) {
                    cursor.end_word(automaton, |from| {
                        found.push((original(&plain.origins, from), plain.unescaper.pending()));
                    });
                }
            }
        }
        intervals.add(found);
    }

    fn read_original(&mut self, text: &str, found: &mut Vec<(usize, usize)>) {
        for (automaton, cursor) in self.automata.iter().zip(&mut self.cursors) {
            let mut at = self.at;
            for letter in text.chars() {
                let (before, after) = (at, at + letter.len_utf8());
                cursor.read(automaton, letter, |from, end| {
                    push(found, from, if end == End::Before { before } else { after });
                });
                at = after;
            }
        }
        self.at += text.len();
    }

    fn read_plain(&mut self, text: &str, is_whole: bool, found: &mut Vec<(usize, usize)>) {
        let Some(plain) = &mut self.plain else {
            return;
        };
        let mut unread = std::mem::take(&mut plain.unread);
        let text = if unread.is_empty() {
            text
        } else {
            unread.push_str(text);
            &unread
        };
        let mut unescaper = std::mem::take(&mut plain.unescaper);
        let read = unescaper.read(text, is_whole, |letter, before, after| {
            plain.read(&self.automata, letter, (before, after), found);
        });
        plain.unescaper = unescaper;
        text[read..].clone_into(&mut plain.unread);
    }

    /// Where a value may have begun that is not yet known to be one: nothing before it can change.
    pub(super) fn settled(&self) -> usize {
        let original = pending(&self.automata, &self.cursors, self.at);
        match &self.plain {
            Some(plain) => original.min(plain.settled(&self.automata)),
            None => original,
        }
    }
}

/// Where the first value begins that may have begun.
fn pending(automata: &[Arc<Automaton>], cursors: &[Cursor], end: usize) -> usize {
    let cursors = automata.iter().zip(cursors);
    let pending = cursors.map(|(automaton, cursor)| cursor.pending(automaton));
    pending.min().unwrap_or(end)
}

/// Keeps the vector short where values overlap again and again.
fn push(found: &mut Vec<(usize, usize)>, mut from: usize, to: usize) {
    while let Some((begin, _)) =
        found.pop_if(|(begin, end)| from <= *end && *begin <= to && *end <= to)
    {
        from = from.min(begin);
    }
    found.push((from, to));
}

impl Plain {
    /// Reads a character, which stands between two places of the original.
    fn read(
        &mut self,
        automata: &[Arc<Automaton>],
        letter: char,
        (before, after): (usize, usize),
        found: &mut Vec<(usize, usize)>,
    ) {
        if original(&self.origins, self.length) != before {
            self.origins.push_back((self.length, before));
        }
        for (automaton, cursor) in automata.iter().zip(&mut self.cursors) {
            cursor.read(automaton, letter, |from, end| {
                let to = if end == End::Before { before } else { after };
                push(found, original(&self.origins, from), to);
            });
        }
        self.length += letter.len_utf8();
        if after - before != letter.len_utf8() {
            self.origins.push_back((self.length, after));
            let settled = pending(automata, &self.cursors, self.length);
            while let Some((offset, _)) = self.origins.get(1)
                && *offset <= settled
            {
                self.origins.pop_front();
            }
        }
    }

    /// As [`Scan::settled`], a place of the original.
    fn settled(&self, automata: &[Arc<Automaton>]) -> usize {
        match pending(automata, &self.cursors, self.length) {
            offset if offset == self.length => self.unescaper.pending(),
            offset => original(&self.origins, offset),
        }
    }
}

/// Where a place of the plain text stands in the original.
fn original(origins: &VecDeque<(usize, usize)>, offset: usize) -> usize {
    let last = origins.partition_point(|(plain, _)| *plain <= offset);
    let (plain, original) = origins[last.saturating_sub(1)];
    original + (offset - plain)
}
