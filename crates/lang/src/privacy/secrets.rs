//! Sensitive values in texts: a prompt they were put into, an answer that repeats them, an error that
//! quotes them.
//!
//! What is looked for is a whole value, in any letter case, as it is or escaped as in JSON, Python or
//! Rust, once or several times over. A value that was reworded, translated, encoded otherwise or quoted
//! in part is not found. Nor is what would be found everywhere and give nothing away: texts of fewer
//! than three characters, numbers of fewer than four digits, and words such as `true`. Those are hidden
//! by their place alone.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder};

use super::MASK;
use crate::value::Value;

/// Characters of the shortest text that is looked for.
const MIN_TEXT: usize = 3;
/// Digits of the shortest number.
const MIN_DIGITS: usize = 4;
/// Characters of the shortest key: shorter ones are more often an author's names than data.
const MIN_KEY: usize = 8;
/// Shorter texts are found as whole words only: `Ada` is, and `Adam` stays.
const MIN_INSIDE_WORDS: usize = 8;

/// Words that say nothing about whoever gave them.
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
    known: HashSet<String>,
    /// Those not yet in a segment.
    recent: Vec<Pattern>,
    /// Merged so that their sizes at least halve: a run that learns a thousand values one by one does not
    /// build a thousand large searches.
    segments: Vec<Segment>,
    /// Bytes of the longest.
    longest: usize,
}

#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    whole_word: bool,
}

#[derive(Debug, Clone)]
struct Segment {
    patterns: Vec<Pattern>,
    search: Arc<AhoCorasick>,
}

impl Secrets {
    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// So many bytes of a text that goes on may be the beginning of a value, however it is escaped.
    pub fn reach(&self) -> usize {
        // `\\u0041` for one byte is as long as it gets.
        self.longest.saturating_mul(8).saturating_add(16)
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
        if !self.known.insert(text.to_owned()) {
            return;
        }
        let mut push = |text: String| {
            self.longest = self.longest.max(text.len());
            self.recent.push(Pattern { text, whole_word });
        };
        // A value with backslashes of its own reads differently once escapes are taken for what they mean.
        if let Some(plain) = Plain::of(text)
            && !plain.text.is_empty()
        {
            push(plain.text);
        }
        push(text.to_owned());
    }

    fn settle(&mut self) {
        if self.recent.is_empty() {
            return;
        }
        let mut patterns = std::mem::take(&mut self.recent);
        while let Some(last) = self
            .segments
            .pop_if(|last| last.patterns.len() <= 2 * patterns.len())
        {
            patterns.extend(last.patterns);
        }
        self.segments.push(Segment::new(patterns));
    }

    /// The text with every value replaced; borrowed where there is none.
    pub fn mask<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        self.settle();
        let found = self.find(text);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = String::with_capacity(text.len());
        let mut end = 0;
        for (from, to) in found {
            masked.push_str(&text[end..from]);
            masked.push_str(MASK);
            end = to;
        }
        masked.push_str(&text[end..]);
        Cow::Owned(masked)
    }

    /// A value with every text in it masked, keys too.
    pub fn mask_value<'v>(&mut self, value: &'v Value) -> Cow<'v, Value> {
        self.settle();
        if self.is_empty() || !self.occurs_in(value) {
            return Cow::Borrowed(value);
        }
        Cow::Owned(self.masked_value(value))
    }

    fn masked_value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.mask(text).into_owned()),
            Value::Array(items) => items.iter().map(|item| self.masked_value(item)).collect(),
            Value::Object(entries) => {
                let masked = entries
                    .iter()
                    .map(|(key, value)| (self.mask(key).into_owned(), self.masked_value(value)));
                Value::Object(masked.collect())
            }
            Value::Number(number) if self.knows_number(&number.to_string()) => Value::from(MASK),
            Value::Number(_) | Value::Bool(_) | Value::Null => value.clone(),
        }
    }

    fn occurs_in(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => !self.find(text).is_empty(),
            Value::Array(items) => items.iter().any(|item| self.occurs_in(item)),
            Value::Object(entries) => entries
                .iter()
                .any(|(key, value)| !self.find(key).is_empty() || self.occurs_in(value)),
            Value::Number(number) => self.knows_number(&number.to_string()),
            Value::Bool(_) | Value::Null => false,
        }
    }

    fn knows_number(&self, text: &str) -> bool {
        self.known.contains(text.strip_suffix(".0").unwrap_or(text))
    }

    /// How much of a text that is still growing can be shown, masked: the rest may be the beginning of a
    /// value, or belongs to one.
    pub(super) fn shown_length(&mut self, text: &str) -> usize {
        self.settle();
        let mut end = text.len().saturating_sub(self.reach());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        // Before `end` nothing begins that is not found whole by now.
        for (from, to) in self.find(text) {
            if from < end && to > end {
                end = from;
            }
        }
        end
    }

    /// Where values stand, in order, those that overlap or touch as one.
    fn find(&self, text: &str) -> Vec<(usize, usize)> {
        if text.is_empty() || self.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        let plain = Plain::of(text);
        for segment in &self.segments {
            segment.find(text, |from, to| found.push((from, to)));
            if let Some(plain) = &plain {
                segment.find(&plain.text, |from, to| {
                    found.push((plain.origin[from], plain.origin[to]));
                });
            }
        }
        found.sort_unstable();
        let mut merged: Vec<(usize, usize)> = Vec::with_capacity(found.len());
        for (from, to) in found {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        merged
    }
}

impl Segment {
    fn new(patterns: Vec<Pattern>) -> Self {
        let search = AhoCorasickBuilder::new()
            .ascii_case_insensitive(true)
            .build(patterns.iter().map(|pattern| &pattern.text))
            .expect("a request's body is far below the search's limit of 2^31 states");
        Self {
            patterns,
            search: Arc::new(search),
        }
    }

    fn find(&self, text: &str, mut found: impl FnMut(usize, usize)) {
        for hit in self.search.find_overlapping_iter(text) {
            let whole_word = self.patterns[hit.pattern().as_usize()].whole_word;
            if !whole_word || is_whole_word(text, hit.start(), hit.end()) {
                found(hit.start(), hit.end());
            }
        }
    }
}

/// Whether no letter or digit stands right before or after.
fn is_whole_word(text: &str, from: usize, to: usize) -> bool {
    let before = text[..from].chars().next_back();
    let after = text[to..].chars().next();
    !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
}

fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text.parse::<f64>().is_ok()
        && text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
}

/// A text with its escapes taken for what they mean, however deep they are.
struct Plain {
    text: String,
    /// For each byte of it, and its end, where that stands in the original.
    origin: Vec<usize>,
}

impl Plain {
    /// `None` where nothing is escaped.
    fn of(original: &str) -> Option<Self> {
        if !original.contains('\\') {
            return None;
        }
        let mut plain = Self {
            text: String::with_capacity(original.len()),
            origin: Vec::with_capacity(original.len() + 1),
        };
        let mut at = 0;
        while let Some(first) = original[at..].chars().next() {
            let backslashes = original[at..]
                .bytes()
                .take_while(|byte| *byte == b'\\')
                .count();
            let rest = &original[at + backslashes..];
            let (letter, length) = match (backslashes, rest.chars().next()) {
                (0, _) => (Some(first), first.len_utf8()),
                (_, None) => (None, backslashes),
                (_, Some(next)) => {
                    let (letter, length) = escaped(next, rest);
                    (letter, backslashes + length)
                }
            };
            if let Some(letter) = letter {
                plain.push(letter, at);
            }
            at += length;
        }
        plain.origin.push(original.len());
        Some(plain)
    }

    fn push(&mut self, letter: char, at: usize) {
        self.text.push(letter);
        self.origin.resize(self.text.len(), at);
    }
}

/// What stands after a backslash, and how many bytes that takes.
fn escaped(next: char, rest: &str) -> (Option<char>, usize) {
    let plain = |letter| (Some(letter), next.len_utf8());
    match next {
        'n' => plain('\n'),
        't' => plain('\t'),
        'r' => plain('\r'),
        'b' => plain('\u{8}'),
        'f' => plain('\u{c}'),
        'x' => hex(rest, 1, 2),
        'U' => hex(rest, 1, 8),
        'u' if rest[1..].starts_with('{') => {
            let digits = rest[2..]
                .find('}')
                .filter(|digits| (1..=6).contains(digits));
            digits.map_or((Some('u'), 1), |digits| {
                let (letter, length) = hex(rest, 2, digits);
                (letter, if length == 1 { 1 } else { length + 1 })
            })
        }
        'u' => match unit(rest, 1, 4) {
            Some(high @ 0xd800..=0xdbff) => {
                let low = rest[5..].trim_start_matches('\\');
                let skipped = rest.len() - 5 - low.len();
                match unit(low, 1, 4).filter(|_| low.starts_with('u')) {
                    Some(low @ 0xdc00..=0xdfff) => {
                        let letter = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                        (char::from_u32(letter), 5 + skipped + 5)
                    }
                    _ => (None, 5),
                }
            }
            _ => hex(rest, 1, 4),
        },
        other => plain(other),
    }
}

/// The character that so many hexadecimal digits mean; the letter before them where they are none.
fn hex(rest: &str, from: usize, digits: usize) -> (Option<char>, usize) {
    match unit(rest, from, digits).and_then(char::from_u32) {
        Some(letter) => (Some(letter), from + digits),
        None => (rest.chars().next(), 1),
    }
}

fn unit(rest: &str, from: usize, digits: usize) -> Option<u32> {
    let digits = rest.get(from..from + digits)?;
    let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}
