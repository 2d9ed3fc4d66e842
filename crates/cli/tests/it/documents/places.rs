//! The places that CONTRIBUTING.md and ARCHITECTURE.md name are there, so that nobody is sent to a
//! file that has moved.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{blocks, text_of};
use crate::support::root;

#[test]
fn every_place_that_contributors_are_sent_to_is_there() {
    let mut places = BTreeSet::new();
    for folder in ["crates", "docs", "scripts", "bench", "fuzz", ".ci"] {
        collect(&root().join(folder), folder, &mut places);
    }
    let mut seen = 0;
    let mut missing = Vec::new();
    for document in ["CONTRIBUTING.md", "ARCHITECTURE.md"] {
        for (line, span) in blocks::code_spans(&text_of(document.as_ref())) {
            if is_place(&span) {
                seen += 1;
                if !is_there(&span, &places) {
                    missing.push(format!("{document}:{line}: {span}"));
                }
            }
        }
    }
    assert!(seen > 50, "{seen} places");
    assert!(missing.is_empty(), "{missing:#?}");
}

/// A path, with no part that stands for something else.
fn is_place(span: &str) -> bool {
    let is_path = |letter: char| letter.is_ascii_alphanumeric() || "_-./".contains(letter);
    span.contains('/') && !span.starts_with('/') && span.chars().all(is_path)
}

/// Paths are written from the root, from `crates/`, or from somewhere below that is clear from
/// what stands before.
fn is_there(span: &str, places: &BTreeSet<String>) -> bool {
    let end = format!("/{}", span.trim_end_matches('/'));
    places
        .iter()
        .any(|place| format!("/{place}").ends_with(&end))
}

/// Every file and folder below one, by its path from the root.
fn collect(folder: &Path, path: &str, places: &mut BTreeSet<String>) {
    places.insert(path.to_owned());
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let entry = entry.expect("readable");
        let name = entry.file_name();
        let path = format!("{path}/{}", name.to_string_lossy());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && name != "target" => collect(&entry.path(), &path, places),
            _ => {
                places.insert(path);
            }
        }
    }
}
