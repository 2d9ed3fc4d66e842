//! The shared set of cases, through the program itself: what is accepted, where the fault of a
//! refused file lies, and how each run ends. The set lies outside the project; without it there is
//! nothing to do.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testing::TempProject;

use crate::support::{Ended, in_parallel, root, run_in};

/// Parts that are checked today and executed by a later version: their runs are refused plainly.
const NOT_EXECUTED_YET: &[&str] = &["code", "tools", "memory"];

/// The folders of the cases, or none.
#[expect(
    clippy::print_stderr,
    reason = "whoever runs the tests must see what did not run"
)]
fn cases() -> Vec<PathBuf> {
    let folder = root().join("../shared/cases");
    let Ok(entries) = fs::read_dir(&folder) else {
        eprintln!("skipped: the shared cases are not there");
        return Vec::new();
    };
    let mut cases: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    cases.sort();
    cases
}

fn expectation(case: &Path) -> Value {
    let text =
        fs::read_to_string(case.join("expect.json")).expect("every case says what is expected");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn files_are_accepted_or_refused_at_the_right_place() {
    in_parallel(&cases(), |case| {
        let expected = expectation(case);
        let name = case.file_name().expect("a folder").to_string_lossy();
        let file = expected["file"].as_str().ok_or("a file")?;
        let ended = run_in(case, ["validate", "--format", "json", file]);
        check_verdict(&expected, &ended)
            .map_err(|problem| format!("{name}: {problem}\n{}{}", ended.stdout, ended.stderr))
    });
}

fn check_verdict(expected: &Value, ended: &Ended) -> Result<(), String> {
    let document: Value = serde_json::from_str(&ended.stdout).map_err(|error| error.to_string())?;
    let valid = expected["valid"] == json!(true);
    if (document["valid"] == json!(true), ended.code) != (valid, Some(if valid { 0 } else { 3 })) {
        return Err(format!(
            "valid should be {valid}, exit code {:?}",
            ended.code
        ));
    }
    if valid {
        return Ok(());
    }
    let errors = document["diagnostics"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|found| found["severity"] == json!("error"));
    let here: Vec<&Value> = errors
        .filter(|found| found["path"] == expected["path"])
        .collect();
    if here.is_empty() {
        return Err(format!("no error at `{}`", expected["path"]));
    }
    match expected.get("suggest") {
        Some(meant) if !here.iter().any(|found| found["suggestion"] == *meant) => {
            Err(format!("{meant} is not suggested"))
        }
        _ => Ok(()),
    }
}

#[test]
fn runs_end_as_they_should() {
    let mut runs = Vec::new();
    for case in cases() {
        let expected = expectation(&case);
        for (number, run) in expected["runs"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            runs.push((
                case.clone(),
                expected["file"].as_str().expect("a file").to_owned(),
                number,
                run.clone(),
            ));
        }
    }
    in_parallel(&runs, |(case, file, number, run)| {
        let name = case.file_name().expect("a folder").to_string_lossy();
        let project = TempProject::new();
        project.write("inputs.json", run["inputs"].to_string());
        project.write("replies.json", run["script"].to_string());
        let workflow = case.join(file);
        let ended = run_in(
            project.root(),
            [
                "run",
                workflow.to_str().ok_or("a path")?,
                "--inputs",
                "inputs.json",
                "--replies",
                "replies.json",
                "--format",
                "json",
            ],
        );
        let text = fs::read_to_string(&workflow).map_err(|error| error.to_string())?;
        check_run(run, &ended, &text).map_err(|problem| {
            format!(
                "{name}, run {number}: {problem}\n{}{}",
                ended.stdout, ended.stderr
            )
        })
    });
}

fn check_run(run: &Value, ended: &Ended, workflow: &str) -> Result<(), String> {
    let envelope: Value = serde_json::from_str(&ended.stdout).map_err(|error| error.to_string())?;
    let (expect, problem) = (&run["expect"], &envelope["problem"]);
    if problem["code"] == json!("not_supported") {
        let uses_one = NOT_EXECUTED_YET
            .iter()
            .any(|part| workflow.contains(&format!("{part}:")));
        return if uses_one {
            Ok(())
        } else {
            Err("everything in it is supported".to_owned())
        };
    }
    if expect["ok"] == json!(true) {
        let same = envelope["outputs"] == expect["final"];
        return if same {
            Ok(())
        } else {
            Err(format!("outputs should be {}", expect["final"]))
        };
    }
    if problem["code"] != expect["code"] {
        return Err(format!("the code should be {}", expect["code"]));
    }
    if let Some(node) = expect.get("node")
        && problem["node"] != *node
    {
        return Err(format!("the node should be {node}"));
    }
    if let Some(faults) = expect["faults"].as_array() {
        let found: Vec<Value> = problem["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|error| json!([dotted(&error["loc"]), error["type"]]))
            .collect();
        if found != *faults {
            return Err(format!("the faults should be {faults:?}"));
        }
    }
    for part in ["metric", "field"] {
        if let Some(word) = expect[part].as_str()
            && !envelope["error"]
                .as_str()
                .is_some_and(|error| error.contains(word))
        {
            return Err(format!("the error should name {word}"));
        }
    }
    Ok(())
}

fn dotted(loc: &Value) -> String {
    let segments = loc.as_array().into_iter().flatten();
    segments
        .map(|segment| {
            segment
                .as_str()
                .map_or_else(|| segment.to_string(), str::to_owned)
        })
        .collect::<Vec<_>>()
        .join(".")
}
