//! `kubernetes.yaml` against the schemas of Kubernetes.

use std::process::Command;

use testing::{TempProject, rigs};

use crate::examples::examples;
use crate::support::run_in;

#[test]
fn every_package_fits_the_schemas_of_kubernetes() {
    let Some(validate) = rigs::program("kubernetes", "kubernetes-validate") else {
        return;
    };
    let check = |file: &str, options: &[&str]| {
        let project = TempProject::new();
        let line = ["deploy", file, "--generate"]
            .into_iter()
            .chain(options.iter().copied());
        run_in(project.root(), line).exits(0);
        let output = Command::new(&validate)
            .arg("--strict")
            .arg(project.path("deploy/kubernetes.yaml"))
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{file} {options:?}: {said}");
    };
    for file in examples() {
        check(file.to_str().expect("UTF-8"), &[]);
    }
    let file = &examples()[0];
    let file = file.to_str().expect("UTF-8");
    check(file, &["--offline", "--store", "memory"]);
    check(file, &["--store", "postgres", "--replicas", "5"]);
    check(file, &["--store", "postgres", "--max-replicas", "9"]);
    check(
        file,
        &["--name", "2nd_try", "--registry", "registry.example/team"],
    );

    // It would notice.
    let project = TempProject::with_file(
        "bad.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: eighty}]}\n",
    );
    let status = Command::new(&validate)
        .arg(project.path("bad.yaml"))
        .output()
        .expect("it starts")
        .status;
    assert!(!status.success());
}
