//! Putting a mapping together: the last of equal keys wins, and `<<` merges other mappings in.

use std::collections::HashMap;
use std::rc::Rc;

use super::bounds::{fault, too_many_values};
use super::node::{Data, Entry, Key, Node};
use crate::diagnostic::findings::Findings;
use crate::diagnostic::{Diagnostic, Severity, code, quoted};

/// A mapping whose entries are still arriving.
#[derive(Debug, Default)]
pub(super) struct MapBuilder {
    entries: Entries,
    merges: Vec<(Key, Rc<Node>)>,
}

/// Entries with keys that are all different.
#[derive(Debug, Default)]
struct Entries {
    list: Vec<Entry>,
    /// The position of each key, once there are more than [`SEARCHED`].
    positions: HashMap<Rc<str>, usize>,
}

/// Up to so many entries a search is faster than a hash.
const SEARCHED: usize = 16;

impl Entries {
    /// Adds an entry. An equal key keeps its place and takes the new value; whether there was one.
    fn put(&mut self, entry: Entry) -> bool {
        if let Some(position) = self.position(&entry.key.text) {
            self.list[position] = entry;
            return true;
        }
        if !self.positions.is_empty() {
            self.positions
                .insert(entry.key.text.clone(), self.list.len());
        }
        self.list.push(entry);
        if self.list.len() == SEARCHED + 1 {
            let keys = self.list.iter().map(|entry| entry.key.text.clone());
            self.positions = keys.zip(0..).collect();
        }
        false
    }

    fn position(&self, key: &str) -> Option<usize> {
        if self.list.len() <= SEARCHED {
            #[cfg(test)]
            testing::work::count(self.list.len());
            self.list.iter().position(|entry| *entry.key.text == *key)
        } else {
            self.positions.get(key).copied()
        }
    }
}

impl MapBuilder {
    /// Adds an entry; warns of a key that was there before.
    pub(super) fn insert(&mut self, key: Key, value: Rc<Node>, findings: &mut Findings) {
        let (text, span) = (key.text.clone(), key.span);
        if self.entries.put(Entry { key, value }) {
            let message = format!(
                "the key {} appears twice in this mapping; the last one counts",
                quoted(&text)
            );
            let mut finding = fault(code::DUPLICATE_KEY, span, message);
            finding.severity = Severity::Warning;
            findings.push(finding);
        }
    }

    /// Remembers the value of a `<<`.
    pub(super) fn merge(&mut self, key: Key, value: Rc<Node>) {
        self.merges.push((key, value));
    }

    /// The entries: merged ones first, then the mapping's own, which win. Of several merged
    /// mappings the first wins. `budget` bounds the entries copied.
    pub(super) fn finish(self, budget: &mut usize) -> Result<Vec<Entry>, Box<Diagnostic>> {
        if self.merges.is_empty() {
            return Ok(self.entries.list);
        }
        let mut merged = Vec::new();
        for (key, value) in &self.merges {
            let unmergeable = || {
                Box::new(fault(
                    code::MERGE,
                    key.span,
                    format!(
                        "`<<` merges a mapping or a list of mappings, but this is {}",
                        value.kind()
                    ),
                ))
            };
            match &value.data {
                Data::Map(entries) => merged.extend(entries),
                Data::List(items) => {
                    for item in items.iter().rev() {
                        let Data::Map(entries) = &item.data else {
                            return Err(unmergeable());
                        };
                        merged.extend(entries);
                        spend(budget, entries.len(), key)?;
                    }
                }
                _ => return Err(unmergeable()),
            }
            spend(budget, merged.len(), key)?;
        }
        let mut entries = Entries::default();
        for entry in merged.into_iter().chain(&self.entries.list) {
            entries.put(entry.clone());
        }
        Ok(entries.list)
    }
}

fn spend(budget: &mut usize, count: usize, key: &Key) -> Result<(), Box<Diagnostic>> {
    match budget.checked_sub(count) {
        Some(left) => *budget = left,
        None => return Err(Box::new(too_many_values(key.span))),
    }
    Ok(())
}
