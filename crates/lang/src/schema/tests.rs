use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;
use crate::diagnostic::findings::Findings;
use crate::yaml;

fn validator() -> jsonschema::Validator {
    jsonschema::draft202012::new(&language()).unwrap()
}

/// The value a file holds.
fn value_of(file: &Path) -> Value {
    let text = std::fs::read_to_string(file).unwrap();
    let reader = if file
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        yaml::read_json
    } else {
        yaml::read_yaml
    };
    reader(&text, &mut Findings::default())
        .unwrap()
        .to_value()
        .unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[track_caller]
fn accepts(validator: &jsonschema::Validator, file: &Path) {
    let value = value_of(file);
    let faults: Vec<String> = validator
        .iter_errors(&value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{}: {faults:#?}", file.display());
}

#[test]
fn valid_files_fit_the_schema() {
    let validator = validator();
    let examples = [
        files(&root().join("tests/fixtures/valid")),
        files(&root().join("../../examples")),
    ]
    .concat();
    let examples: Vec<_> = examples.iter().filter(|file| file.is_file()).collect();
    assert!(!examples.is_empty());
    for file in examples {
        accepts(&validator, file);
    }
}

#[test]
fn valid_cases_fit_the_schema() {
    let validator = validator();
    for folder in files(&root().join("../../../shared/cases")) {
        let expect = value_of(&folder.join("expect.json"));
        if expect["valid"] == true {
            accepts(&validator, &folder.join(expect["file"].as_str().unwrap()));
        }
    }
}

#[test]
fn faults_of_shape_are_found_by_the_schema_too() {
    let validator = validator();
    for code in ["FM0120", "FM0122", "FM0123", "FM0124", "FM0127"] {
        let value = value_of(&root().join(format!("tests/fixtures/{code}.yaml")));
        assert!(!validator.is_valid(&value), "{code}");
    }
}

#[test]
fn every_key_is_listed_once_and_described() {
    let keys = keys();
    let paths: BTreeSet<&str> = keys.iter().map(|key| key.path.as_str()).collect();
    assert_eq!(paths.len(), keys.len());
    for path in [
        "nodes.*.llm.model",
        "edges.*.routes.*.condition.logic",
        "state.fields.*.min_length",
        "config.gates.gates.*.max",
        "budget.max_tokens",
    ] {
        assert!(paths.contains(path), "{path} is missing in {paths:#?}");
    }
    for key in &keys {
        assert!(!key.doc.is_empty() && !key.kind.is_empty(), "{}", key.path);
        if let Some(default) = key.default {
            assert!(
                serde_json::from_str::<Value>(default).is_ok(),
                "{}: {default}",
                key.path
            );
        }
    }
}
