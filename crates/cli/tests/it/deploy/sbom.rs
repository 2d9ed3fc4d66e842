//! The bill of materials, read by software that is not ours.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use testing::{TempProject, rigs};

use crate::examples::examples;
use crate::support::{greeting, run_in, words};

/// Exits with 1 and says why where a document does not fit the schema of CycloneDX.
const VALIDATE: &str = r#"
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

for path in sys.argv[1:]:
    with open(path) as file:
        error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(file.read())
    if error:
        sys.exit(f"{path}: {error}")
"#;

#[test]
fn every_packages_bill_fits_the_schema_of_cyclonedx() {
    let Some(python) = rigs::program("cyclonedx", "python") else {
        return;
    };
    let validate = |paths: &[PathBuf]| {
        let output = Command::new(&python)
            .args(["-c", VALIDATE])
            .args(paths)
            .output()
            .expect("Python starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    let projects: Vec<TempProject> = examples()
        .iter()
        .map(|file| {
            let project = TempProject::new();
            let path = file.to_str().expect("UTF-8");
            run_in(project.root(), ["deploy", path, "--generate"]).exits(0);
            project
        })
        .collect();
    let bills: Vec<PathBuf> = projects
        .iter()
        .map(|project| project.path("deploy/sbom.cdx.json"))
        .collect();
    let (fit, said) = validate(&bills);
    assert!(fit, "{said}");
    // It would notice.
    let bad = r#"{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": "x"}]}"#;
    let project = TempProject::with_file("bad.json", bad);
    assert!(!validate(&[project.path("bad.json")]).0);
}

#[test]
fn the_bill_names_the_program_its_crates_and_the_files() {
    let project = greeting();
    project.write("prices.toml", "[openai.m]\ninput = 1\noutput = 2\n");
    run_in(
        project.root(),
        words("deploy greeting.yaml --generate --prices prices.toml"),
    )
    .exits(0);
    let bill: Value = serde_json::from_str(&project.read("deploy/sbom.cdx.json")).expect("JSON");
    let components = bill["components"].as_array().expect("components");
    let named = |name: &str| {
        let found = components
            .iter()
            .find(|component| component["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is not there"))
    };
    let program = named("flowmill");
    assert_eq!(program["type"], "application");
    assert_eq!(program["version"], env!("CARGO_PKG_VERSION"));
    let tokio = named("tokio");
    let purl = tokio["purl"].as_str().expect("it is on crates.io");
    assert!(purl.starts_with("pkg:cargo/tokio@1."), "{purl}");
    assert_eq!(tokio["licenses"][0]["expression"], "MIT");
    assert_eq!(
        tokio["hashes"][0]["content"].as_str().map(str::len),
        Some(64)
    );
    for file in ["workflow.yaml", "files/prices.toml"] {
        let hash = Command::new("sha256sum")
            .arg(project.path(format!("deploy/{file}")))
            .output()
            .expect("sha256sum is there");
        let hash = String::from_utf8(hash.stdout).expect("UTF-8");
        assert_eq!(
            named(file)["hashes"][0]["content"].as_str(),
            hash.split(' ').next(),
            "{file}"
        );
    }
    // What only tests need is not in the program.
    for crate_of_tests in ["insta", "proptest", "flowmill-testing", "cargo_metadata"] {
        let found = components
            .iter()
            .any(|component| component["name"] == crate_of_tests);
        assert!(!found, "{crate_of_tests}");
    }
}
