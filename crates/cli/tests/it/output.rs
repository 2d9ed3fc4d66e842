//! Colour, pipes, and what goes where.

use std::io::Read as _;
use std::process::Stdio;

use crate::support::{GREETING, flowmill, greeting, run_in, words};

/// The stdout of `validate` on a faulty file, with these variables.
fn validate_bad(variables: &[(&str, &str)], more: &[&str]) -> String {
    let project = greeting();
    project.write("bad.yaml", GREETING.replace("to: END", "to: DNE"));
    let mut command = flowmill(project.root(), ["validate", "bad.yaml"]);
    command.args(more).envs(variables.iter().copied());
    String::from_utf8(command.output().expect("it starts").stdout).expect("UTF-8")
}

#[test]
fn colour_follows_stream_environment_and_flag() {
    let check = |variables: &[(&str, &str)], more: &[&str], coloured: bool| {
        assert_eq!(
            validate_bad(variables, more).contains('\u{1b}'),
            coloured,
            "{variables:?} {more:?}"
        );
    };
    check(&[], &[], false);
    check(&[("TERM", "xterm-256color")], &[], false);
    check(&[("CLICOLOR_FORCE", "1")], &[], true);
    check(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &[], false);
    check(&[], &["--color", "always"], true);
    check(&[("CLICOLOR_FORCE", "1")], &["--color", "never"], false);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let project = greeting();
    for arguments in [
        words("explain"),
        words("schema --language"),
        words("run greeting.yaml --input name=Ada --offline"),
    ] {
        let mut child = flowmill(project.root(), &arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        drop(child.stdout.take());
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .expect("piped")
            .read_to_string(&mut stderr)
            .expect("UTF-8");
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "{arguments:?}: {stderr}");
        assert!(
            !stderr.contains("panicked") && !stderr.contains("error"),
            "{arguments:?}: {stderr}"
        );
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("Linux has it");
    let output = flowmill(greeting().root(), ["explain"])
        .stdout(full)
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("could not be written"));
}

#[test]
fn a_pipe_gets_plain_progress_lines_and_a_quiet_run_none() {
    let project = greeting();
    let ended = run_in(
        project.root(),
        words("run greeting.yaml --input name=Ada --offline"),
    )
    .exits(0);
    let ended = ended.says(&[
        "offline: the built-in model",
        "greet: done in ",
        "completed in ",
        "1 model call",
    ]);
    assert!(
        !ended.stderr.contains('\u{1b}') && !ended.stderr.contains('\r'),
        "{:?}",
        ended.stderr
    );
    let quiet = run_in(
        project.root(),
        words("run greeting.yaml --input name=Ada --offline --quiet"),
    )
    .exits(0);
    assert_eq!(
        quiet.stderr.lines().count(),
        1,
        "only who answered: {}",
        quiet.stderr
    );
}
