//! Finding many texts in one pass over another: the automaton of Aho and Corasick.
//!
//! Of what ends at a place only the longest text is of interest, because a mask over it covers the
//! others. So no state keeps a list of what ends there, and neither the memory nor the time depends
//! on how values are nested in each other or how often they occur: about 14 bytes for each byte
//! that is looked for, and at most two steps, on average, for each byte that is read.

use std::sync::Arc;

/// A text that is looked for, in lower case.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) text: Arc<str>,
    /// It counts only where no letter or digit stands right before or after.
    pub(super) whole_word: bool,
}

/// Bytes of the longest pattern that can be a whole word: a [`Cursor`] knows that many places back
/// where words begin.
pub(super) const LONGEST_WORD: usize = 63;

const ENDS_TEXT: u8 = 1;
const ENDS_WORD: u8 = 2;
const BRANCHES: u8 = 4;

/// States are numbered in the order in which a walk through the sorted patterns meets them, so the
/// first child of a state is the next state. The root is 0.
#[derive(Debug)]
pub(super) struct Automaton {
    patterns: Vec<Pattern>,
    /// The byte that leads to a state.
    label: Vec<u8>,
    /// Bytes from the root.
    depth: Vec<u32>,
    /// The longest other state that ends the text read so far.
    fallback: Vec<u32>,
    /// The nearest state at which a pattern ends: itself, or on its way by fallbacks; 0 for none.
    ending: Vec<u32>,
    flags: Vec<u8>,
    /// Children that are not the next state, sorted: (parent and byte, child).
    branches: Vec<(u64, u32)>,
    /// Children of the root by byte; 0 for none.
    roots: Box<[u32; 256]>,
}

impl Automaton {
    pub(super) fn new(mut patterns: Vec<Pattern>) -> Self {
        patterns.sort_unstable_by(|left, right| left.text.cmp(&right.text));
        let mut automaton = Self {
            label: vec![0],
            depth: vec![0],
            fallback: Vec::new(),
            ending: Vec::new(),
            flags: vec![0],
            branches: Vec::new(),
            roots: Box::new([0; 256]),
            patterns: Vec::new(),
        };
        let mut path = vec![0];
        let mut last: &[u8] = &[];
        for pattern in &patterns {
            let text = pattern.text.as_bytes();
            let shared = last.iter().zip(text).take_while(|(a, b)| a == b).count();
            path.truncate(shared + 1);
            for byte in &text[shared..] {
                #[cfg(test)]
                testing::work::count(1);
                path.push(automaton.grow(path[path.len() - 1], *byte));
            }
            automaton.flags[path[path.len() - 1] as usize] |= if pattern.whole_word {
                ENDS_WORD
            } else {
                ENDS_TEXT
            };
            last = text;
        }
        automaton.branches.sort_unstable();
        automaton.link();
        automaton.patterns = patterns;
        automaton
    }

    /// Its size: bytes of the patterns, where those have no beginning in common.
    pub(super) fn bytes(&self) -> usize {
        self.label.len()
    }

    pub(super) fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.patterns.iter()
    }

    /// A new state below another.
    fn grow(&mut self, parent: u32, byte: u8) -> u32 {
        let state =
            u32::try_from(self.label.len()).expect("what a run may hold is far below 2^32 bytes");
        if parent == 0 {
            self.roots[usize::from(byte)] = state;
        } else if parent + 1 != state {
            self.branches.push((edge(parent, byte), state));
            self.flags[parent as usize] |= BRANCHES;
        }
        self.label.push(byte);
        self.depth.push(self.depth[parent as usize] + 1);
        self.flags.push(0);
        state
    }

    /// Fills in `fallback` and `ending`, by depth.
    fn link(&mut self) {
        let states = self.label.len();
        self.fallback = vec![0; states];
        self.ending = vec![0; states];
        let mut queue: Vec<u32> = self.roots.iter().copied().filter(|s| *s != 0).collect();
        queue.reserve(states - queue.len());
        for &state in &queue {
            self.ending[state as usize] = self.own_ending(state).unwrap_or(0);
        }
        let mut next = 0;
        while let Some(&state) = queue.get(next) {
            next += 1;
            let first = Some(state + 1).filter(|child| self.is_first_child(state, *child));
            let from = self
                .branches
                .partition_point(|(at, _)| *at < edge(state, 0));
            let others = self.branches[from..].iter();
            let others = others.take_while(|(at, _)| at >> 8 == u64::from(state));
            let children: Vec<u32> = first.into_iter().chain(others.map(|(_, to)| *to)).collect();
            for child in children {
                let fallback = self.step(self.fallback[state as usize], self.label[child as usize]);
                self.fallback[child as usize] = fallback;
                self.ending[child as usize] = self
                    .own_ending(child)
                    .unwrap_or(self.ending[fallback as usize]);
                queue.push(child);
            }
        }
    }

    fn own_ending(&self, state: u32) -> Option<u32> {
        (self.flags[state as usize] & (ENDS_TEXT | ENDS_WORD) != 0).then_some(state)
    }

    fn is_first_child(&self, state: u32, child: u32) -> bool {
        self.depth
            .get(child as usize)
            .is_some_and(|depth| *depth == self.depth[state as usize] + 1)
    }

    fn child(&self, state: u32, byte: u8) -> Option<u32> {
        if state == 0 {
            return Some(self.roots[usize::from(byte)]).filter(|child| *child != 0);
        }
        let next = state + 1;
        if self.label.get(next as usize) == Some(&byte) && self.is_first_child(state, next) {
            return Some(next);
        }
        if self.flags[state as usize] & BRANCHES == 0 {
            return None;
        }
        let wanted = edge(state, byte);
        let found = self.branches.binary_search_by_key(&wanted, |(at, _)| *at);
        found.ok().map(|at| self.branches[at].1)
    }

    /// Where a byte leads.
    fn step(&self, mut state: u32, byte: u8) -> u32 {
        loop {
            #[cfg(test)]
            testing::work::count(1);
            match self.child(state, byte) {
                Some(child) => return child,
                None if state == 0 => return 0,
                None => state = self.fallback[state as usize],
            }
        }
    }

    fn depth(&self, state: u32) -> usize {
        self.depth[state as usize] as usize
    }

    /// The patterns that end at a state, the longest first, up to the first that counts anywhere:
    /// what is shorter than that is covered by it. Few, since whole words are short.
    fn endings(&self, state: u32) -> impl Iterator<Item = (usize, u8)> {
        let mut next = self.ending[state as usize];
        std::iter::from_fn(move || {
            if next == 0 {
                return None;
            }
            #[cfg(test)]
            testing::work::count(1);
            let flags = self.flags[next as usize];
            let length = self.depth(next);
            next = if flags & ENDS_TEXT == 0 {
                self.ending[self.fallback[next as usize] as usize]
            } else {
                0
            };
            Some((length, flags))
        })
    }
}

fn edge(parent: u32, byte: u8) -> u64 {
    u64::from(parent) << 8 | u64::from(byte)
}

/// A reader of one text, which may go on later.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    state: u32,
    /// Bytes read.
    at: usize,
    /// Bit n: at `at - n` a character begins that no letter or digit precedes.
    starts: u64,
}

impl Cursor {
    /// A reader of the text from an offset on.
    pub(super) fn new(at: usize, follows_word: bool) -> Self {
        Self {
            state: 0,
            at,
            starts: u64::from(!follows_word),
        }
    }

    /// Reads a character. `found` is told where the values begin that end here, and whether that is
    /// before the character or after it.
    pub(super) fn read(
        &mut self,
        automaton: &Automaton,
        letter: char,
        mut found: impl FnMut(usize, End),
    ) {
        let is_word = letter.is_alphanumeric();
        if !is_word {
            self.end_word(automaton, |from| found(from, End::Before));
        }
        let mut bytes = [0; 4];
        let bytes = letter.encode_utf8(&mut bytes).as_bytes();
        for byte in bytes {
            self.state = automaton.step(self.state, byte.to_ascii_lowercase());
        }
        self.at += bytes.len();
        self.starts = self.starts << bytes.len() | u64::from(!is_word);
        let longest = automaton.endings(self.state);
        for (length, _) in longest.filter(|(_, flags)| flags & ENDS_TEXT != 0) {
            found(self.at - length, End::After);
        }
    }

    /// Takes note of a whole word that ends here.
    pub(super) fn end_word(&self, automaton: &Automaton, found: impl FnOnce(usize)) {
        let is_whole = |(length, flags): &(usize, u8)| {
            flags & ENDS_WORD != 0 && self.starts >> (length & LONGEST_WORD) & 1 == 1
        };
        if let Some((length, _)) = automaton.endings(self.state).find(is_whole) {
            found(self.at - length);
        }
    }

    /// Where the longest value begins that may have begun.
    pub(super) fn pending(&self, automaton: &Automaton) -> usize {
        self.at - automaton.depth(self.state)
    }
}

/// Where a value ends that a character makes known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Before,
    After,
}
