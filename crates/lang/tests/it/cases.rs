//! The shared corpus of workflow files: each is accepted, or refused at the right key path. Skipped
//! where the corpus is not beside the repository.

use std::path::{Path, PathBuf};

use lang::diagnostic::{Severity, render};
use lang::source::Source;
use serde_json::Value;

/// A case of the corpus.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) expect: Value,
}

impl Case {
    pub(crate) fn is_valid(&self) -> bool {
        self.expect["valid"] == true
    }
}

/// Every case; none where there is no corpus.
pub(crate) fn all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    folders.sort();
    let cases: Vec<Case> = folders.iter().filter_map(|folder| read(folder)).collect();
    assert!(!cases.is_empty(), "{} holds no case", folder.display());
    cases
}

fn read(folder: &Path) -> Option<Case> {
    let expect: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("expect.json")).ok()?).unwrap();
    let file = expect["file"].as_str().unwrap();
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    Some(Case {
        name: folder.file_name()?.to_str()?.to_owned(),
        source: Source::new(file, text),
        expect,
    })
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn every_case_is_accepted_or_refused_at_the_right_path() {
    let cases = all();
    if cases.is_empty() {
        eprintln!("skipped: no corpus beside the repository");
        return;
    }
    let problems: Vec<String> = cases
        .iter()
        .filter_map(|case| Some(format!("{}: {}", case.name, problem(case)?)))
        .collect();
    assert!(
        problems.is_empty(),
        "{} of {} cases:\n{}",
        problems.len(),
        cases.len(),
        problems.join("\n")
    );
}

/// What is wrong with the outcome of a case.
fn problem(case: &Case) -> Option<String> {
    let checked = lang::check(&case.source);
    let shown = render::short(&case.source, &checked.diagnostics);
    assert_eq!(
        checked.workflow.is_none(),
        checked
            .diagnostics
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error),
        "{}: a workflow exactly if there is no error",
        case.name
    );
    if case.is_valid() {
        return checked
            .workflow
            .is_none()
            .then(|| format!("refused\n{shown}"));
    }
    let path = case.expect["path"].as_str().unwrap();
    let mut errors = checked
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error);
    let Some(found) = errors.clone().find(|diagnostic| diagnostic.path == path) else {
        return Some(format!("no error at `{path}`\n{shown}"));
    };
    if let Some(meant) = case.expect["suggest"].as_str()
        && !errors.any(|diagnostic| {
            diagnostic.path == path && diagnostic.suggestion.as_deref() == Some(meant)
        })
    {
        return Some(format!("suggested {:?}, not `{meant}`", found.suggestion));
    }
    None
}
