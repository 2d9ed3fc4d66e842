//! `flowmill validate`.

use serde_json::json;

use crate::support::{GREETING, greeting, run_in, words};

#[test]
fn a_valid_file_exits_with_0_and_says_so() {
    let ended = run_in(greeting().root(), words("validate greeting.yaml")).exits(0);
    assert_eq!(ended.stdout, "");
    assert_eq!(
        ended.stderr,
        "greeting.yaml is valid: workflow `greeting`, 2 fields, 1 node\n"
    );
}

#[test]
fn a_folder_stands_for_its_workflows() {
    let project = greeting();
    project.write("flows/a.yaml", GREETING);
    project.write("flows/b.yml", GREETING.replace("to: END", "to: DNE"));
    project.write("flows/inputs.json", "{}");
    project.write("empty/notes.txt", "");
    let ended = run_in(project.root(), words("validate flows")).exits(3);
    assert!(
        ended.stderr.contains("flows/a.yaml is valid"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("flows/b.yml is not valid"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("inputs.json"), "{}", ended.stderr);
    run_in(project.root(), words("validate empty"))
        .exits(4)
        .says(&["no .yaml or .yml file in `empty`"]);
}

#[test]
fn json_says_that_a_file_could_not_be_read() {
    let ended = run_in(
        greeting().root(),
        words("validate --format json absent.yaml greeting.yaml"),
    )
    .exits(4);
    let document = ended.json();
    assert_eq!(document["valid"], json!(false));
    let finding = &document["diagnostics"][0];
    assert_eq!(finding["message"], json!("`absent.yaml` does not exist"));
    assert_eq!(finding["span"]["file"], json!("absent.yaml"));
    assert_eq!(finding["severity"], json!("error"));
}

#[test]
fn a_key_without_its_colon_is_named() {
    let project = greeting();
    let check = |from: &str, to: &str, line: &str, way_out: &str| {
        project.write("bad.yaml", GREETING.replacen(from, to, 1));
        let ended = run_in(project.root(), words("validate --format short bad.yaml")).exits(3);
        assert!(
            ended.stdout.contains(line) && ended.stdout.contains("no `:` after its key"),
            "{}",
            ended.stdout
        );
        let ended = run_in(project.root(), words("validate bad.yaml"));
        assert!(ended.stdout.contains(way_out), "{}", ended.stdout);
    };
    check("nodes:", "nodes", "bad.yaml:8:", "write `nodes:`");
    check("state:", "state", "bad.yaml:4:", "write `state:`");
    check(
        "- id: greet",
        "- id greet",
        "bad.yaml:9:",
        "write `id: greet`",
    );
    // A text that goes on is none of it.
    project.write(
        "text.yaml",
        GREETING.replacen(
            "\"Greet {name}\"",
            "Greet\n      politely\n      and: well",
            1,
        ),
    );
    let ended = run_in(project.root(), words("validate text.yaml")).exits(3);
    assert!(!ended.stdout.contains("after its key"), "{}", ended.stdout);
}

#[test]
fn findings_go_to_stdout_with_their_source() {
    let project = greeting();
    project.write("bad.yaml", GREETING.replace("{name}\"", "{nmae}\""));
    let ended = run_in(project.root(), words("validate bad.yaml"))
        .exits(3)
        .says(&["bad.yaml is not valid: 1 error"]);
    for part in [
        "nmae",
        "bad.yaml:10:",
        "did you mean `name`?",
        "flowmill explain FM",
    ] {
        assert!(ended.stdout.contains(part), "{part} in:\n{}", ended.stdout);
    }
    assert!(
        !ended.stdout.contains('\u{1b}'),
        "no colour in a pipe:\n{}",
        ended.stdout
    );
}

#[test]
fn json_is_one_document_for_all_files() {
    let project = greeting();
    project.write("bad.yaml", GREETING.replace("to: END", "to: DNE"));
    let ended = run_in(
        project.root(),
        words("validate greeting.yaml bad.yaml --format json"),
    )
    .exits(3);
    let document = ended.json();
    assert_eq!(document["valid"], json!(false));
    let diagnostic = &document["diagnostics"][0];
    assert_eq!(diagnostic["severity"], json!("error"));
    assert_eq!(diagnostic["path"], json!("edges.1.to"));
    assert_eq!(diagnostic["span"]["file"], json!("bad.yaml"));
    assert_eq!(diagnostic["span"]["line"], json!(15));
    let mut keys: Vec<&String> = diagnostic.as_object().expect("an object").keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        ["code", "message", "path", "severity", "span", "suggestion"]
    );
    assert_eq!(ended.stderr, "");

    let ended = run_in(
        project.root(),
        words("validate greeting.yaml --format json"),
    )
    .exits(0);
    assert_eq!(ended.json(), json!({"valid": true, "diagnostics": []}));
}

#[test]
fn short_is_a_line_for_each_finding() {
    let project = greeting();
    project.write("bad.yaml", GREETING.replace("to: END", "to: DNE"));
    let ended = run_in(project.root(), words("validate bad.yaml --format short")).exits(3);
    assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.stdout);
    assert!(ended.stdout.starts_with("bad.yaml:15:"), "{}", ended.stdout);
}

#[test]
fn warnings_fail_only_when_strict() {
    let project = greeting();
    project.write(
        "odd.yaml",
        format!("{GREETING}memroy: {{enabled: false}}\n"),
    );
    run_in(project.root(), words("validate odd.yaml"))
        .exits(0)
        .says(&["is valid", "1 warning"]);
    run_in(project.root(), words("validate odd.yaml --strict"))
        .exits(3)
        .says(&["is refused (--strict): 1 warning"]);
}

#[test]
fn files_that_cannot_be_read_are_named_and_the_others_checked() {
    let project = greeting();
    project.write("bad.yaml", b"\xff\xfe".as_slice());
    let check = |file: &str, code: i32, says: &[&str]| {
        run_in(project.root(), ["validate", file, "greeting.yaml"])
            .exits(code)
            .says(says)
            .says(&["greeting.yaml is valid"]);
    };
    check(
        "absent.yaml",
        4,
        &[
            "error: `absent.yaml` does not exist",
            "hint: `flowmill init`",
        ],
    );
    check("bad.yaml", 4, &["`bad.yaml` is not UTF-8 text (byte 0)"]);
    run_in(project.root(), words("run . --offline"))
        .exits(4)
        .says(&["`.` is a directory", "hint: give the workflow file in it"]);
    project.write("notes.txt", GREETING);
    check("notes.txt", 3, &["notes.txt is not valid"]);
}

#[test]
fn an_endless_file_is_refused() {
    run_in(greeting().root(), words("validate /dev/zero"))
        .exits(4)
        .says(&["larger than 64 MiB"]);
}
