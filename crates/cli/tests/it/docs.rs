//! The documents that describe the command line say what the program says.

use std::collections::BTreeSet;

use testing::TempProject;

use crate::support::{root, run_in, words};

pub(crate) const COMMANDS: &[&str] = &[
    "run",
    "validate",
    "serve",
    "jobs",
    "jobs list",
    "jobs show",
    "jobs events",
    "jobs cancel",
    "jobs retry",
    "jobs delete",
    "mlflow",
    "mlflow check",
    "mlflow register",
    "replicas",
    "report",
    "keys",
    "keys create",
    "keys list",
    "keys rotate",
    "keys revoke",
    "keys usage",
    "deploy",
    "undeploy",
    "health",
    "schema",
    "explain",
    "init",
    "completions",
];

/// The words in a help text that satisfy a condition.
pub(crate) fn mentioned(text: &str, is_meant: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let separators = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
    text.split(separators)
        .filter(|word| is_meant(word))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_option_and_variable_is_in_the_document() {
    let document =
        std::fs::read_to_string(root().join("docs/cli.md")).expect("docs/cli.md is there");
    let project = TempProject::new();
    let mut missing = Vec::new();
    for command in COMMANDS {
        let help = run_in(project.root(), words(&format!("{command} --help")))
            .exits(0)
            .stdout;
        let options = mentioned(&help, |word| {
            word.starts_with("--") && word.len() > 3 && word != "--help" && word != "--version"
        });
        let variables = mentioned(&help, |word| word.starts_with("FLOWMILL_"));
        assert!(!options.is_empty(), "{help}");
        for word in options.into_iter().chain(variables) {
            if !document.contains(&word) {
                missing.push(format!("{command}: {word}"));
            }
        }
    }
    assert!(missing.is_empty(), "docs/cli.md lacks: {missing:#?}");
}

#[test]
fn every_exit_code_is_in_the_document() {
    let document =
        std::fs::read_to_string(root().join("docs/cli.md")).expect("docs/cli.md is there");
    let help = run_in(TempProject::new().root(), ["--help"])
        .exits(0)
        .stdout;
    let (_, codes) = help.split_once("Exit codes:").expect("the help has them");
    for line in codes.lines().filter(|line| !line.trim().is_empty()) {
        let code = line.split_whitespace().next().expect("not blank");
        assert!(
            document.contains(&format!("| {code} |"))
                || document.contains(&format!("| `{code}` |")),
            "exit code {code}"
        );
    }
}
