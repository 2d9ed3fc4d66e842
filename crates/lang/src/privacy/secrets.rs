//! Sensitive values in texts: a prompt they were put into, an answer that repeats them, an error
//! that quotes them.
//!
//! Whole values are searched for, in any letter case, as they are or escaped as in JSON, Python or
//! Rust, once or several times over. A value that was reworded, translated, encoded otherwise or
//! quoted in part is not found. Nor are values that would be found everywhere and give nothing
//! away: texts of fewer than three characters, numbers of fewer than four digits, and words such as
//! `true`. Those are hidden in their fields only.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::escapes;
use super::mask::MASK;
use super::scan::{Intervals, Scan};
use super::search::{Automaton, LONGEST_WORD, Pattern};
use crate::value::{Map, Value};

/// Characters of the shortest text that is searched for.
const MIN_TEXT: usize = 3;
/// Digits of the shortest number.
const MIN_DIGITS: usize = 4;
/// Characters of the shortest key: shorter ones are more often an author's names than data.
const MIN_KEY: usize = 8;
/// Shorter texts are found only as whole words: a search for `Ada` leaves `Adam` alone.
const MIN_INSIDE_WORDS: usize = 8;

/// Words that say nothing about the person who gave them.
const TRIVIAL: &[&str] = &[
    "true",
    "false",
    "null",
    "none",
    "yes",
    "no",
    "unknown",
    "n/a",
    "sensitive",
    MASK,
];

/// Values to be found in texts.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// In lower case, and whether only as a whole word.
    known: HashMap<Arc<str>, bool>,
    /// Those not yet in an automaton.
    recent: Vec<Pattern>,
    search: Search,
}

/// The search for the values known at one moment; cheap to clone.
#[derive(Debug, Clone)]
pub struct Search {
    /// Merged so that their sizes at least halve: a run that learns a thousand values one by one
    /// does not build a thousand large automata.
    pub(super) automata: Arc<[Arc<Automaton>]>,
}

impl Secrets {
    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// A text as a whole.
    pub fn add(&mut self, text: &str) {
        let text = text.trim();
        let length = text.chars().count();
        let trivial = || TRIVIAL.iter().any(|word| text.eq_ignore_ascii_case(word));
        if is_number(text) && length < MIN_INSIDE_WORDS {
            self.add_number(text);
        } else if length >= MIN_TEXT && !trivial() {
            self.insert(text, length < MIN_INSIDE_WORDS);
        }
    }

    /// A number in decimal.
    pub(super) fn add_number(&mut self, text: &str) {
        let text = text.strip_suffix(".0").unwrap_or(text);
        if text.chars().filter(char::is_ascii_digit).count() >= MIN_DIGITS {
            self.insert(text, true);
        }
    }

    /// A key of a sensitive mapping.
    pub(super) fn add_key(&mut self, key: &str) {
        if key.chars().count() >= MIN_KEY {
            self.add(key);
        }
    }

    fn insert(&mut self, text: &str, whole_word: bool) {
        // A value with backslashes of its own reads differently once escapes are taken for what
        // they mean.
        let plain = escapes::plain(text).filter(|plain| !plain.is_empty());
        for text in plain.iter().map(String::as_str).chain([text]) {
            let text: Arc<str> = text.to_ascii_lowercase().into();
            let whole_word = whole_word && text.len() <= LONGEST_WORD;
            if self
                .known
                .get(&text)
                .is_none_or(|known| *known && !whole_word)
            {
                self.known.insert(Arc::clone(&text), whole_word);
                self.recent.push(Pattern { text, whole_word });
            }
        }
    }

    /// Bytes for which [`Self::search`] has to make a new automaton, or more.
    pub fn unsearched(&self) -> usize {
        if self.recent.is_empty() {
            return 0;
        }
        let bytes: usize = self.recent.iter().map(|pattern| pattern.text.len()).sum();
        bytes
            + self
                .search
                .automata
                .iter()
                .map(|of| of.bytes())
                .sum::<usize>()
    }

    /// The search for all that is known by now.
    pub fn search(&mut self) -> Search {
        if !self.recent.is_empty() {
            let mut patterns = std::mem::take(&mut self.recent);
            let mut bytes: usize = patterns.iter().map(|pattern| pattern.text.len()).sum();
            let mut automata = self.search.automata.to_vec();
            while let Some(last) = automata.pop_if(|last| last.bytes() <= 2 * bytes) {
                bytes += last.bytes();
                patterns.extend(last.patterns().cloned());
            }
            automata.push(Arc::new(Automaton::new(patterns)));
            self.search.automata = automata.into();
        }
        self.search.clone()
    }

    /// The text with every value replaced; borrowed where there is none.
    pub fn mask<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        self.search().mask(text)
    }

    /// A value with every text in it masked, keys too.
    pub fn mask_value<'v>(&mut self, value: &'v Value) -> Cow<'v, Value> {
        self.search().mask_value(value)
    }
}

impl Default for Search {
    fn default() -> Self {
        Self {
            automata: Arc::new([]),
        }
    }
}

impl Search {
    /// The text with every value replaced; borrowed where there is none. Values that overlap or
    /// touch are replaced as one.
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.masked(text) {
            Some(masked) => Cow::Owned(masked),
            None => Cow::Borrowed(text),
        }
    }

    /// A value with every text in it masked, keys too.
    pub fn mask_value<'v>(&self, value: &'v Value) -> Cow<'v, Value> {
        match self.masked_value(value) {
            Some(masked) => Cow::Owned(masked),
            None => Cow::Borrowed(value),
        }
    }

    /// `None` where there is nothing to mask.
    fn masked(&self, text: &str) -> Option<String> {
        if self.automata.is_empty() {
            return None;
        }
        let mut scan = Scan::new(self.automata.clone(), 0, false);
        let mut found = Intervals::default();
        scan.read(text, true, &mut found);
        let mut masked = String::new();
        let mut shown = 0;
        while let Some((from, to)) = found.take_before(text.len()) {
            masked.push_str(&text[shown..from]);
            masked.push_str(MASK);
            shown = to;
        }
        (shown > 0).then(|| {
            masked.push_str(&text[shown..]);
            masked
        })
    }

    /// `None` where nothing is masked.
    fn masked_value(&self, value: &Value) -> Option<Value> {
        match value {
            Value::String(text) => self.masked(text).map(Value::String),
            Value::Array(items) => {
                let mut masked: Option<Vec<Value>> = None;
                for (index, item) in items.iter().enumerate() {
                    match (self.masked_value(item), &mut masked) {
                        (None, None) => {}
                        (None, Some(masked)) => masked.push(item.clone()),
                        (Some(item), masked) => masked
                            .get_or_insert_with(|| items[..index].to_vec())
                            .push(item),
                    }
                }
                masked.map(Value::Array)
            }
            Value::Object(entries) => {
                let mut masked: Option<Map<String, Value>> = None;
                for (index, (key, value)) in entries.iter().enumerate() {
                    let (new_key, new_value) = (self.masked(key), self.masked_value(value));
                    if masked.is_none() && (new_key.is_some() || new_value.is_some()) {
                        let before = entries.iter().take(index);
                        masked = Some(before.map(|(k, v)| (k.clone(), v.clone())).collect());
                    }
                    if let Some(masked) = &mut masked {
                        masked.insert(
                            new_key.unwrap_or_else(|| key.clone()),
                            new_value.unwrap_or_else(|| value.clone()),
                        );
                    }
                }
                masked.map(Value::Object)
            }
            Value::Number(number) => {
                let text = number.to_string();
                let text = text.strip_suffix(".0").unwrap_or(&text);
                // Only a number that is a value as a whole.
                (self.masked(text).as_deref() == Some(MASK)).then(|| Value::from(MASK))
            }
            Value::Bool(_) | Value::Null => None,
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text.parse::<f64>().is_ok()
        && text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
}
