//! The keys of a mapping: which are missing, unknown, given twice or without effect.

use super::Checker;
use super::owner::Owner;
use crate::diagnostic::{Severity, code, quoted};
use crate::suggest::Suggestion;
use crate::syntax::advice;
use crate::syntax::grammar::{Key, Table};
use crate::syntax::location::Path;
use crate::yaml::{Data, Entry, Node};

impl Checker<'_> {
    pub(super) fn mapping(
        &mut self,
        node: &Node,
        entries: &[Entry],
        table: &'static Table,
        path: &Path,
        owner: &Owner<'_>,
    ) {
        let mut seen: Vec<&'static str> = Vec::new();
        let present = keys_present(entries, table);
        for entry in entries {
            let name = &*entry.key.text;
            let path = path.key(entry.key.text.clone());
            if let Some(key) = table.key(name) {
                if seen.contains(&key.name) {
                    self.same_key_twice(entry, key, &path, owner);
                }
                seen.push(key.name);
                let absent = matches!(entry.value.data, Data::Null)
                    && !key.required
                    && key.default.is_none();
                if let (Some(advice), Data::List(_)) = (key.no_list, &entry.value.data) {
                    self.list_for_one(&entry.value, advice, &path, owner);
                } else if !absent && applies(key, entries) {
                    self.value(&entry.value, &key.shape, &path, owner);
                }
            } else if !table.notes.contains(&name) {
                self.unknown_key(entry, table, &present, &path, owner);
            }
        }
        for key in table
            .keys
            .iter()
            .filter(|key| key.required && !seen.contains(&key.name) && !is_excused(key, entries))
        {
            // The whole mapping underlined says little; its first key shows where it stands.
            let span = entries.first().map_or(node.span, |entry| entry.key.span);
            let message = format!("{} is missing", owner.speak(&path.key(key.name)));
            let advice = Suggestion::advice(format!("add `{}`: {}", key.name, key.doc));
            self.report(
                code::MISSING_KEY,
                Severity::Error,
                &path.key(key.name),
                span,
                message,
                Some(advice),
            );
        }
    }

    pub(super) fn key_not_text(&mut self, kind: &str, entry: &Entry, path: &Path) {
        let written = self.written(entry.key.span);
        let message = format!("{} names a {kind}, so it must be text", quoted(written));
        let advice = advice::misread_key(&entry.key.text, written)
            .unwrap_or_else(|| Suggestion::advice("put the key in quotes"));
        self.report(
            code::KEY_NOT_TEXT,
            Severity::Error,
            path,
            entry.key.span,
            message,
            Some(advice),
        );
    }

    fn same_key_twice(&mut self, entry: &Entry, key: &Key, path: &Path, owner: &Owner<'_>) {
        let spellings = std::iter::once(key.name).chain(key.aliases.iter().copied());
        let message = format!(
            "{} is given twice, as {}; only one spelling counts",
            owner.speak(path),
            crate::suggest::known_list(spellings),
        );
        self.report(
            code::DUPLICATE_KEY,
            Severity::Warning,
            path,
            entry.key.span,
            message,
            None,
        );
    }

    fn unknown_key(
        &mut self,
        entry: &Entry,
        table: &'static Table,
        present: &[&'static str],
        path: &Path,
        owner: &Owner<'_>,
    ) {
        let name = &*entry.key.text;
        if let Some((_, advice)) = table.ignored.iter().find(|(ignored, _)| *ignored == name) {
            let message = format!("{} has no effect", owner.speak(path));
            let advice = Suggestion::advice(*advice);
            self.report(
                code::IGNORED_KEY,
                Severity::Warning,
                path,
                entry.key.span,
                message,
                Some(advice),
            );
            return;
        }
        // A key that is there already is not the one that is misspelt here.
        let known = table
            .keys
            .iter()
            .map(|key| key.name)
            .filter(|known| !present.contains(known));
        let message = format!(
            "{} is not a key of the language and is ignored",
            owner.speak(path)
        );
        let suggestion = if self.findings.is_full() {
            None
        } else if let Some(advice) = advice::belongs_elsewhere(table, entry) {
            Some(advice)
        } else {
            Suggestion::among(name, known)
        };
        self.report(
            code::UNKNOWN_KEY,
            Severity::Warning,
            path,
            entry.key.span,
            message,
            suggestion,
        );
    }
}

/// The keys of the table that a mapping has, by their first spelling.
fn keys_present(entries: &[Entry], table: &'static Table) -> Vec<&'static str> {
    entries
        .iter()
        .filter_map(|entry| table.key(&entry.key.text))
        .map(|key| key.name)
        .collect()
}

/// Whether a required key may be missing from a mapping of these entries.
fn is_excused(key: &Key, entries: &[Entry]) -> bool {
    key.unless.iter().any(|(other, wanted)| {
        entries.iter().any(|entry| {
            *entry.key.text == **other
                && match (wanted, &entry.value.data) {
                    (_, Data::Null) => false,
                    (None, _) => true,
                    (Some(wanted), Data::Text(text)) => text.value.trim() == *wanted,
                    (Some(_), _) => false,
                }
        })
    })
}

/// Whether a key is read at all in a mapping of these entries.
fn applies(key: &Key, entries: &[Entry]) -> bool {
    key.when.is_none_or(|(other, wanted)| {
        entries.iter().any(|entry| {
            *entry.key.text == *other
                && matches!(&entry.value.data, Data::Text(text) if text.value.trim() == wanted)
        })
    })
}
