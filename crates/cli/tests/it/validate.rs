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
    check(
        ".",
        4,
        &["`.` is a directory", "hint: name the workflow file in it"],
    );
    check("bad.yaml", 4, &["`bad.yaml` is no UTF-8 text (byte 0)"]);
    project.write("notes.txt", GREETING);
    check("notes.txt", 3, &["notes.txt is not valid"]);
}

#[test]
fn an_endless_file_is_refused() {
    run_in(greeting().root(), words("validate /dev/zero"))
        .exits(4)
        .says(&["larger than 64 MiB"]);
}
