//! The package on the disk: byte for byte, and not over what somebody changed.

use testing::TempProject;

use crate::support::{GREETING, greeting, run_in, words};

#[test]
fn the_package_is_written_and_the_same_again() {
    let project = greeting();
    let ended = run_in(
        project.root(),
        words("deploy greeting.yaml --generate --format json"),
    )
    .exits(0);
    let document = ended.json();
    let files: Vec<&str> = document["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| file.as_str().expect("a path"))
        .collect();
    assert_eq!(
        files,
        [
            "Dockerfile",
            ".dockerignore",
            "docker-compose.yml",
            "kubernetes.yaml",
            ".env.example",
            "README.md",
            "workflow.yaml",
            "openapi.json",
            "sbom.cdx.json",
            ".gitignore",
            "data/README",
            "flowmill-package.json"
        ]
    );
    assert_eq!(project.read("deploy/workflow.yaml"), GREETING);
    let first: Vec<String> = files
        .iter()
        .map(|file| project.read(format!("deploy/{file}")))
        .collect();
    run_in(project.root(), words("deploy greeting.yaml --generate"))
        .exits(0)
        .says(&["nothing changed"]);
    let second: Vec<String> = files
        .iter()
        .map(|file| project.read(format!("deploy/{file}")))
        .collect();
    assert_eq!(first, second);
}

#[test]
fn a_file_that_was_changed_by_hand_is_kept() {
    let project = greeting();
    let again = |options: &str| {
        run_in(
            project.root(),
            words(&format!(
                "deploy greeting.yaml --generate --port 9000 {options}"
            )),
        )
    };
    run_in(project.root(), words("deploy greeting.yaml --generate")).exits(0);
    project.write("deploy/docker-compose.yml", "# mine\n");
    again("")
        .exits(4)
        .says(&["docker-compose.yml", "changed by hand", "--force"]);
    assert_eq!(project.read("deploy/docker-compose.yml"), "# mine\n");
    // Nothing was written at all.
    assert!(project.read("deploy/README.md").contains(":8000/run"));
    again("--force").exits(0);
    assert!(
        project
            .read("deploy/docker-compose.yml")
            .contains("9000:8000")
    );
    // What flowmill wrote itself it may replace.
    run_in(project.root(), words("deploy greeting.yaml --generate")).exits(0);
    assert!(
        project
            .read("deploy/docker-compose.yml")
            .contains("8000:8000")
    );
}

#[test]
fn somebody_elses_file_is_not_overwritten() {
    let project = greeting();
    project.write("app/Dockerfile", "FROM debian\n");
    let refused = run_in(
        project.root(),
        words("deploy greeting.yaml --generate --output app"),
    );
    refused.exits(4).says(&["Dockerfile", "--output-dir"]);
    assert_eq!(project.read("app/Dockerfile"), "FROM debian\n");
    project.write("file", "");
    run_in(
        project.root(),
        words("deploy greeting.yaml --generate --output-dir file"),
    )
    .exits(4)
    .says(&["is a file, not a folder"]);
}

#[test]
fn a_file_that_is_no_part_any_more_goes() {
    let project = greeting();
    project.write("prices.toml", "[openai.m]\ninput = 1\noutput = 2\n");
    run_in(
        project.root(),
        words("deploy greeting.yaml --generate --prices prices.toml"),
    )
    .exits(0);
    assert!(project.path("deploy/files/prices.toml").is_file());
    run_in(project.root(), words("deploy greeting.yaml --generate")).exits(0);
    assert!(!project.path("deploy/files/prices.toml").exists());
}

#[test]
fn the_originals_spellings_are_read() {
    let project = TempProject::with_file("greeting.yaml", GREETING);
    let line =
        "deploy greeting.yaml --generate --output out --api-port 9001 --timeout 5 --mlflow-port 0";
    run_in(project.root(), words(line)).exits(0);
    assert!(
        project
            .read("out/Dockerfile")
            .contains(r#""--sync-timeout","5s""#)
    );
    let compose = project.read("out/docker-compose.yml");
    assert!(compose.contains("127.0.0.1:9001:8000"), "{compose}");
    assert!(!compose.contains("mlflow"), "{compose}");
}
