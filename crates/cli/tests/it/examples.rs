//! Every example validates without a finding and runs offline with its inputs.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::{in_parallel, root, run_in};

/// The examples' files.
pub(crate) fn examples() -> Vec<PathBuf> {
    let folder = root().join("examples");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}

#[test]
fn there_are_enough_examples() {
    assert!(examples().len() >= 8);
}

#[test]
fn every_example_validates_and_runs_offline() {
    in_parallel(&examples(), |file| {
        let name = file
            .file_stem()
            .and_then(|stem| stem.to_str())
            .ok_or("a name")?;
        let root = root();
        let path = format!("examples/{name}.yaml");
        let checked = run_in(&root, ["validate", "--strict", &path]);
        if checked.code != Some(0) {
            return Err(format!("{path}:\n{}{}", checked.stdout, checked.stderr));
        }
        let inputs = format!("examples/inputs/{name}.json");
        let ran = run_in(
            &root,
            [
                "run",
                &path,
                "--inputs",
                &inputs,
                "--offline",
                "--format",
                "json",
            ],
        );
        if ran.code != Some(0) {
            return Err(format!("{path}:\n{}{}", ran.stdout, ran.stderr));
        }
        let answer: Value =
            serde_json::from_str(&ran.stdout).map_err(|error| format!("{path}: {error}"))?;
        let given: Value =
            serde_json::from_str(&std::fs::read_to_string(root.join(inputs)).expect("inputs"))
                .expect("JSON");
        for (input, value) in given.as_object().expect("an object") {
            let same = match (value.as_f64(), answer["outputs"][input].as_f64()) {
                (Some(given), Some(kept)) => given.to_bits() == kept.to_bits(),
                _ => true,
            };
            if !same || answer["outputs"][input].is_null() {
                return Err(format!(
                    "{path}: input {input} was {value} and became {}",
                    answer["outputs"][input]
                ));
            }
        }
        for (field, value) in answer["outputs"].as_object().expect("an object") {
            // The only optional input.
            if value.is_null() && field != "parent_email" && !is_other_branch(name, field) {
                return Err(format!("{path}: {field} was written by nobody"));
            }
        }
        Ok(())
    });
}

/// Fields that are written on one of several ways only.
fn is_other_branch(example: &str, field: &str) -> bool {
    (example, field) == ("triage", "answer")
}

#[test]
fn every_cassette_replays() {
    let folder = root().join("examples/cassettes");
    let mut cassettes = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        cassettes.push(entry.expect("readable").path());
    }
    in_parallel(&cassettes, |cassette| {
        let name = cassette
            .file_stem()
            .and_then(|stem| stem.to_str())
            .ok_or("a name")?;
        let ran = run_in(
            &root(),
            [
                "run",
                &format!("examples/{name}.yaml"),
                "--inputs",
                &format!("examples/inputs/{name}.json"),
                "--replay",
                cassette.to_str().ok_or("a name")?,
            ],
        );
        if ran.code == Some(0) {
            Ok(())
        } else {
            Err(format!("{name}: {}", ran.stderr))
        }
    });
}
