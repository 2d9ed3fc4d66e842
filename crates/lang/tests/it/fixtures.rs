//! One fixture per diagnostic code: what it reports is pinned as people see it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lang::diagnostic::{self, render};
use lang::source::Source;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The fixture of a code: a file, or made here where a file would be huge.
fn fixture(code: &str) -> Source {
    match code {
        "FM0103" => Source::new("FM0103.yaml", "#".repeat((4 << 20) + 1)),
        "FM0113" => Source::new("FM0113.yaml", "x: 1\n".repeat(1000)),
        _ => {
            let name = ["yaml", "txt"]
                .map(|extension| format!("{code}.{extension}"))
                .into_iter()
                .find(|name| folder().join(name).exists())
                .unwrap_or_else(|| panic!("no fixture for {code}"));
            let text = std::fs::read_to_string(folder().join(&name)).unwrap();
            Source::new(name, text)
        }
    }
}

#[test]
fn each_fixture_reports_its_code_and_nothing_unexpected() {
    for code in diagnostic::codes() {
        let source = fixture(code);
        let diagnostics = lang::check(&source).diagnostics;
        assert!(
            diagnostics.iter().any(|diagnostic| diagnostic.code == code),
            "{code} is not reported"
        );
        // Hundreds of like findings come before the one that counts them.
        let shown = if code == "FM0113" {
            &diagnostics[diagnostics.len() - 1..]
        } else {
            &diagnostics
        };
        insta::assert_snapshot!(code, render::human(&source, shown, false, 100));
    }
}

#[test]
fn each_code_has_a_page_under_its_name() {
    for code in diagnostic::codes() {
        let page = diagnostic::explain(code).unwrap();
        assert!(
            page.starts_with(&format!("# {code}: ")),
            "{code}: {}",
            page.lines().next().unwrap_or_default()
        );
        assert!(page.contains("\n## How to fix it\n"), "{code}");
        assert!(page.contains("```"), "{code} has no example");
    }
    assert_eq!(diagnostic::explain("fm0101"), diagnostic::explain("FM0101"));
    assert_eq!(diagnostic::explain("FM9999"), None);
}

#[test]
fn codes_pages_and_fixtures_are_the_same_set() {
    let codes: BTreeSet<String> = diagnostic::codes().map(str::to_owned).collect();
    assert_eq!(
        codes.len(),
        diagnostic::codes().count(),
        "a code stands twice"
    );
    let pages = stems(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/diagnostic/codes"));
    assert_eq!(pages, codes);
    let mut fixtures = stems(&folder());
    fixtures.extend(["FM0103".to_owned(), "FM0113".to_owned()]);
    assert_eq!(fixtures, codes);
}

fn stems(folder: &Path) -> BTreeSet<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}
