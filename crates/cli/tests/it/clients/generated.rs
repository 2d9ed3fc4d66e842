//! A Python client, generated from the served document, calls every endpoint.

use std::path::{Path, PathBuf};
use std::process::Command;

use testing::rigs;

use super::served::{KEY, Served, name, operations, run, serve};
use crate::examples::examples;
use crate::support::root;

const CALLS: &str = include_str!("every_endpoint.py");

/// Nothing is run over what was generated.
const CONFIGURATION: &str = "post_hooks: []\n";

#[test]
fn a_generated_client_calls_every_endpoint_of_one_workflow() {
    let file = root().join("examples/profile.yaml");
    check(&[file], None, "profile");
}

#[test]
fn a_generated_client_calls_every_endpoint_where_several_are_served() {
    for workflow in ["fan_out", "signup"] {
        check(&examples(), Some(workflow), workflow);
    }
}

#[track_caller]
fn check(files: &[PathBuf], named: Option<&str>, workflow: &str) {
    let (Some(generator), Some(python)) = (
        rigs::program("openapi", "openapi-python-client"),
        rigs::program("openapi", "python"),
    ) else {
        return;
    };
    let served = serve(files, true);
    let document = served.write_document(named);
    generate(&generator, &served, &document).unwrap_or_else(|said| panic!("{said}"));
    let inputs = files.iter().find(|file| name(file) == workflow);
    let inputs = inputs
        .expect("it is served")
        .with_file_name(format!("inputs/{workflow}.json"));
    let inputs = std::fs::read_to_string(inputs).expect("every example has inputs");
    let said = run(Command::new(python)
        .args(["-c", CALLS])
        .arg(served.project.root())
        .args([&*served.url, KEY, workflow, &inputs]));
    assert_eq!(said, Ok(format!("{} endpoints\n", operations(&document))));
}

/// A part of the document that the generator cannot take is a failure.
fn generate(generator: &Path, served: &Served, document: &Path) -> Result<String, String> {
    let configuration = served.project.write("generator.yaml", CONFIGURATION);
    run(Command::new(generator)
        .args(["generate", "--meta", "none", "--fail-on-warning"])
        .arg("--path")
        .arg(document)
        .arg("--output-path")
        .arg(served.project.path("flowmill_client"))
        .arg("--config")
        .arg(configuration))
}
