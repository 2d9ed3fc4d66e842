//! Software we did not write, to test against, where it is installed.
//!
//! The environment variable `FLOWMILL_RIGS` names a folder of Python virtual environments, one per
//! rig. Without it the tests that need a rig say so and pass; where `CI=true` they fail instead, so
//! that a rig that went missing is noticed. What is skipped is also written to the file that
//! `FLOWMILL_SKIP_LOG` names, because the test runner hides what passing tests print.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The program `program` (such as `python` or `llmock`) of the virtual environment `rig`.
///
/// `None` means the test should return; why was printed.
///
/// # Panics
/// When the program is not installed and `CI=true`.
pub fn program(rig: &str, program: &str) -> Option<PathBuf> {
    let folder = env::var_os("FLOWMILL_RIGS").map(PathBuf::from);
    match find(folder.as_deref(), rig, program) {
        Ok(path) => Some(path),
        Err(why) => skip(rig, &why),
    }
}

/// A file or folder that lies outside the project and may be absent, such as a shared set of cases.
///
/// `None` means the test should return; why was printed.
pub fn outside(what: &str, path: &Path) -> Option<PathBuf> {
    if path.exists() {
        return Some(path.to_owned());
    }
    tell_skipped(what, "it lies outside the project and is not there");
    None
}

/// The static flowmill for images, where a Docker Engine is installed to make some of.
///
/// `None` means the test should return; why was printed. Only a machine without an engine may skip
/// these tests: one with an engine has to run them.
///
/// # Panics
/// When there is an engine and `FLOWMILL_STATIC` names no program while `CI=true`.
pub fn static_program() -> Option<PathBuf> {
    const WHAT: &str = "deployments";
    let path = env::var_os("PATH").unwrap_or_default();
    let has_engine = env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .any(|folder| folder.join("dockerd").is_file());
    if !has_engine {
        tell_skipped(WHAT, "Docker Engine (dockerd) is not installed");
        return None;
    }
    match env::var_os("FLOWMILL_STATIC").map(PathBuf::from) {
        Some(program) if program.is_file() => Some(program),
        _ => skip(
            WHAT,
            "FLOWMILL_STATIC names no static flowmill; scripts/test builds one",
        ),
    }
}

/// A program that the project does not install, such as `node`, where the machine has it.
///
/// `None` means the test should return; why was printed. As with Docker Engine, only a machine
/// without the program may skip, with `CI=true` too: one that has it has to run the test.
pub fn of_the_machine(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        tell_skipped(program, "it is not installed on this machine");
    }
    found
}

fn find(folder: Option<&Path>, rig: &str, program: &str) -> Result<PathBuf, String> {
    let folder = folder.ok_or("FLOWMILL_RIGS is not set; it names the folder of the rigs")?;
    let path = folder.join(rig).join("bin").join(program);
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("FLOWMILL_RIGS holds no {rig}/bin/{program}"))
    }
}

/// Tells why `what` is skipped, for a test to pass over it.
///
/// # Panics
/// When `CI=true`: nothing of the project's own is skipped there.
pub fn skip<T>(what: &str, why: &str) -> Option<T> {
    assert!(
        env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{what}: {why}"
    );
    tell_skipped(what, why);
    None
}

/// Tells why `what` cannot be tried on this machine, such as for want of a privilege. Not a failure
/// where `CI=true`: no installation would help.
pub fn cannot<T>(what: &str, why: &str) -> Option<T> {
    tell_skipped(what, why);
    None
}

#[expect(
    clippy::print_stderr,
    reason = "whoever runs the tests must see what did not run"
)]
fn tell_skipped(what: &str, why: &str) {
    eprintln!("skipped: {what}: {why}");
    if let Some(log) = env::var_os("FLOWMILL_SKIP_LOG") {
        let written = OpenOptions::new()
            .append(true)
            .create(true)
            .open(log)
            .and_then(|mut log| writeln!(log, "{what}: {why}"));
        written.expect("the file for what is skipped can be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TempProject;

    #[test]
    fn finds_the_program_of_a_rig() {
        let rigs = TempProject::with_file("v-llm/bin/python", "");
        assert_eq!(
            find(Some(rigs.root()), "v-llm", "python"),
            Ok(rigs.path("v-llm/bin/python"))
        );
    }

    #[test]
    fn says_what_is_missing() {
        let rigs = TempProject::new();
        let check = |folder, expected: &str| {
            let why = find(folder, "v-llm", "python").unwrap_err();
            assert!(why.contains(expected), "{why}");
        };
        check(None, "FLOWMILL_RIGS is not set");
        check(Some(rigs.root()), "holds no v-llm/bin/python");
    }
}
