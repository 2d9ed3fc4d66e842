//! The small commands: `schema`, `explain`, `init`, `completions`, and help.

use serde_json::json;
use testing::TempProject;

use crate::support::{Ended, flowmill, greeting, run_in, words};

#[test]
fn help_names_every_command_and_exit_code() {
    let project = TempProject::new();
    let ended = run_in(project.root(), ["--help"]).exits(0);
    for part in [
        "run",
        "validate",
        "serve",
        "jobs",
        "schema",
        "explain",
        "init",
        "completions",
        "Exit codes:",
        "130",
    ] {
        assert!(ended.stdout.contains(part), "{part} in:\n{}", ended.stdout);
    }
    assert_eq!(ended.stderr, "");
    run_in(project.root(), ["--version"]).exits(0);
}

#[test]
fn wrong_usage_exits_with_2_and_a_suggestion() {
    let project = TempProject::new();
    let check = |line: &str, says: &[&str]| {
        let ended = run_in(project.root(), words(line)).exits(2).says(says);
        assert_eq!(ended.stdout, "");
    };
    check("", &["Usage:"]);
    check("vaildate x.yaml", &["validate"]);
    check("run", &["<FILE>"]);
    check("serve x.yaml --prot 1", &["--port"]);
    check("schema", &["<FILE>"]);
    check(
        "run x.yaml --timeout soon",
        &["not a valid duration: it must be greater than zero"],
    );
    check(
        "jobs list --status done",
        &["pending, running, cancelling, completed, failed, cancelled"],
    );
    check(
        "jobs list --server 127.0.0.1:8000",
        &["write one such as http://127.0.0.1:8000"],
    );
}

#[test]
fn an_unknown_option_is_not_advised_to_be_a_file_name() {
    let ended = run_in(TempProject::new().root(), words("run x.yaml --xyz")).exits(2);
    assert!(
        ended.stderr.contains("unexpected argument '--xyz'"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("-- --xyz"), "{}", ended.stderr);
}

#[test]
fn an_invalid_variable_is_named_as_one() {
    let project = greeting();
    let check = |variable: &str, value: &str, line: &str, says: &str| {
        let mut command = flowmill(project.root(), words(line));
        Ended::of(command.env(variable, value))
            .exits(2)
            .says(&[says]);
    };
    let run = "run greeting.yaml --offline --input name=Ada";
    check("FLOWMILL_TIMEOUT", "soon", run, "for 'FLOWMILL_TIMEOUT'");
    check("FLOWMILL_FORMAT", "xml", run, "for 'FLOWMILL_FORMAT'");
    check(
        "FLOWMILL_LOG_LEVEL",
        "loud",
        "validate greeting.yaml",
        "for 'FLOWMILL_LOG_LEVEL'",
    );
    // What stands on the command line is named by its option.
    check(
        "FLOWMILL_TIMEOUT",
        "soon",
        &format!("{run} --timeout soon"),
        "for '--timeout <TIME>'",
    );
    project.write(".env", "FLOWMILL_TIMEOUT=later\n");
    run_in(project.root(), words(run))
        .exits(2)
        .says(&["for 'FLOWMILL_TIMEOUT'"]);
}

#[test]
fn the_address_of_mlflow_without_its_scheme_is_told_so() {
    let project = greeting();
    for address in ["127.0.0.1:5000", "localhost:5000", "mlflow:5000/base"] {
        let mut command = flowmill(
            project.root(),
            words("run greeting.yaml --offline --input name=Ada"),
        );
        Ended::of(command.env("MLFLOW_TRACKING_URI", address))
            .exits(2)
            .says(&["put `http://` in front of it"]);
    }
}

#[test]
fn init_takes_a_folder() {
    let project = TempProject::new();
    project.write("flows/readme", "");
    run_in(project.root(), words("init flows")).exits(0);
    run_in(project.root(), words("init more/")).exits(0);
    assert!(
        project
            .read("more/workflow.yaml")
            .contains("name: \"workflow\"")
    );
    run_in(project.root(), words("init flows"))
        .exits(4)
        .says(&["exists already"]);
    run_in(project.root(), words("validate flows more")).exits(0);
}

#[test]
fn schema_prints_inputs_and_outputs() {
    let schemas = run_in(greeting().root(), words("schema greeting.yaml"))
        .exits(0)
        .json();
    assert_eq!(schemas["input"]["required"], json!(["name"]));
    assert!(
        schemas["output"]["properties"]["greeting"].is_object(),
        "{schemas}"
    );
}

#[test]
fn the_language_has_a_schema_that_the_examples_fit() {
    let schema = run_in(greeting().root(), words("schema --language"))
        .exits(0)
        .json();
    let validator = jsonschema::validator_for(&schema).expect("a JSON Schema");
    for example in crate::examples::examples() {
        let text = std::fs::read_to_string(&example).expect("an example");
        let document: serde_json::Value = serde_norway::from_str(&text).expect("YAML");
        let errors: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert_eq!(errors, [] as [&str; 0], "{}", example.display());
    }
}

#[test]
fn explain_knows_every_code_it_lists() {
    let project = TempProject::new();
    let list = run_in(project.root(), ["explain"]).exits(0).stdout;
    assert!(list.lines().count() > 40, "{list}");
    let line = list
        .lines()
        .find(|line| line.starts_with("FM0121"))
        .expect("listed");
    assert!(line.len() > "FM0121  ".len(), "a title: {line}");
    let page = run_in(project.root(), ["explain", "fm0121"])
        .exits(0)
        .stdout;
    assert!(page.contains("FM0121"), "{page}");
    run_in(project.root(), ["explain", "FM9999"])
        .exits(2)
        .says(&["unknown diagnostic code `FM9999`", "lists all codes"]);
}

#[test]
fn init_writes_a_workflow_that_runs_offline() {
    let project = TempProject::new();
    run_in(project.root(), words("init greeter"))
        .exits(0)
        .says(&["wrote greeter.yaml", "flowmill run greeter.yaml"]);
    let ended = run_in(project.root(), words("validate greeter.yaml --strict")).exits(0);
    assert_eq!(ended.stdout, "");
    let outputs = run_in(
        project.root(),
        words("run greeter.yaml --input topic=bees --offline"),
    )
    .exits(0)
    .json();
    assert_eq!(outputs["topic"], json!("bees"));
    assert!(outputs["score"].is_i64(), "{outputs}");
}

#[test]
fn init_keeps_what_is_there_unless_forced() {
    let project = TempProject::with_file("workflow.yaml", "mine");
    run_in(project.root(), ["init"])
        .exits(4)
        .says(&["`workflow.yaml` exists already", "--force"]);
    assert_eq!(project.read("workflow.yaml"), "mine");
    run_in(project.root(), words("init --force")).exits(0);
    assert!(project.read("workflow.yaml").contains("schema_version"));
    run_in(project.root(), words("init deep/down/my.yml")).exits(0);
    assert!(project.read("deep/down/my.yml").contains("name: \"my\""));
    run_in(project.root(), words("init notes.txt"))
        .exits(2)
        .says(&["flowmill init notes.yaml"]);
}

#[test]
fn completions_are_there_for_the_usual_shells() {
    let project = TempProject::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run_in(project.root(), ["completions", shell])
            .exits(0)
            .stdout;
        assert!(
            script.contains("flowmill") && script.contains("validate"),
            "{shell}"
        );
    }
}
