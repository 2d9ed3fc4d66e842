//! The documents themselves, judged by a validator and a linter.

use std::process::Command;

use testing::rigs;

use super::served::{name, run, serve};
use crate::examples::examples;

const JUDGE: &str = include_str!("judge_documents.py");

#[test]
fn every_document_is_valid_and_the_linter_finds_nothing() {
    let Some(python) = rigs::program("openapi", "python") else {
        return;
    };
    let files = examples();
    let several = serve(&files, true);
    let mut documents: Vec<_> = files
        .iter()
        .map(|file| several.write_document(Some(name(file))))
        .collect();
    // At the root, and without keys.
    let single = serve(&files[..1], false);
    documents.push(single.write_document(None));
    let said = run(Command::new(python).args(["-c", JUDGE]).args(&documents));
    assert_eq!(said, Ok(format!("{} documents\n", documents.len())));
}
