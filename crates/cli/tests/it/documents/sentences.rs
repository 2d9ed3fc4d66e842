//! The sentences of docs/troubleshooting.md are those that the program says: each heading of the
//! third level has to be in a text of the sources, `…` standing for what is filled in.

use std::fs;
use std::path::Path;

use super::text_of;
use crate::support::root;

#[test]
fn every_sentence_of_troubleshooting_is_one_that_the_program_says() {
    let mut texts = Vec::new();
    read_sources(&root().join("crates"), &mut texts);
    assert!(texts.len() > 3000, "{} texts", texts.len());
    let document = text_of("docs/troubleshooting.md".as_ref());
    let sentences: Vec<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    assert!(sentences.len() >= 25, "{} sentences", sentences.len());
    let unsaid: Vec<_> = sentences
        .iter()
        .filter(|sentence| !texts.iter().any(|text| says(text, sentence)))
        .collect();
    assert!(unsaid.is_empty(), "nothing says: {unsaid:#?}");
}

/// Whether a text holds the parts of a sentence between `…`, in order.
fn says(text: &str, sentence: &str) -> bool {
    let mut rest = text;
    sentence.split('…').map(str::trim).all(|part| {
        let found = rest.split_once(part);
        rest = found.map_or("", |(_, after)| after);
        found.is_some()
    })
}

/// The texts of every source below a folder of crates, those of tests left out.
fn read_sources(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "tests" {
                read_sources(&path, texts);
            }
        } else if name.ends_with(".rs") {
            texts.extend(literals(
                &fs::read_to_string(&path).expect("a source is text"),
            ));
        }
    }
}

/// The texts in a source, as they are written but for lines that go on.
fn literals(source: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let (before, found) = rest.split_at(at);
        rest = if let Some(comment) = found.strip_prefix("//") {
            comment.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(after) = ["'\"'", "'\\\"'"]
            .iter()
            .find_map(|letter| found.strip_prefix(letter))
        {
            after
        } else if let Some(inside) = found.strip_prefix('"') {
            let hashes = before.len() - before.trim_end_matches('#').len();
            let is_raw = before[..before.len() - hashes].ends_with('r');
            let (text, after) = if is_raw {
                let end = format!("\"{}", "#".repeat(hashes));
                let (text, after) = inside.split_once(&end).unwrap_or_default();
                (text.to_owned(), after)
            } else {
                quoted(inside)
            };
            texts.push(text);
            after
        } else {
            &found[1..]
        };
    }
    texts
}

/// A text up to its closing quote, and what comes after.
fn quoted(source: &str) -> (String, &str) {
    let mut text = String::new();
    let mut rest = source;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        match letter {
            '"' => break,
            '\\' => {
                if rest.starts_with('\n') {
                    rest = rest.trim_start();
                } else if let Some(escaped) = rest.chars().next() {
                    text.push(escaped);
                    rest = &rest[escaped.len_utf8()..];
                }
            }
            _ => text.push(letter),
        }
    }
    (text, rest)
}

#[test]
fn texts_are_found_in_a_source_whatever_stands_around_them() {
    let source = r##"
        // "not this"
        let quote = '"';
        f("one \
           line", r#"a "raw" one"#, "with \"quotes\"");
    "##;
    assert_eq!(
        literals(source),
        ["one line", r#"a "raw" one"#, r#"with "quotes""#]
    );
    assert!(says("port 8000 of x is in use", "port … is in use"));
    assert!(!says("is in use: port", "port … is in use"));
}
