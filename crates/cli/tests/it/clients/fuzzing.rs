//! schemathesis makes requests of the served document, all its checks on, and finds nothing.
//!
//! In the suite a few requests for each operation, the same ones every time. The longer form takes
//! others each time and prints its seed: `cargo test --workspace --test it -- --ignored --nocapture
//! schemathesis_finds_nothing_in_a_long_time`, with `FLOWMILL_SCHEMATHESIS=EXAMPLES[:SEED]` for how
//! many and which.

use std::path::{Path, PathBuf};
use std::process::Command;

use testing::rigs;

use super::served::{KEY, Served, name, operations, run, serve};
use crate::examples::examples;
use crate::support::in_parallel;

const HOOKS: &str = include_str!("schemathesis_hooks.py");

/// Requests for each operation and phase, and what they are drawn from.
#[derive(Clone, Copy)]
struct Size {
    examples: usize,
    seed: u64,
}

const FEW: Size = Size {
    examples: 5,
    seed: 7,
};

#[test]
fn schemathesis_finds_nothing_in_any_example() {
    check_each(FEW);
}

#[test]
fn schemathesis_finds_nothing_where_several_are_served() {
    let served = serve(&examples(), true);
    check(&served, &[Some("triage")], FEW);
}

#[test]
fn schemathesis_finds_nothing_where_no_keys_are_in_use() {
    let files = examples();
    let greeting = files.iter().filter(|file| name(file) == "greeting");
    let served = serve(&greeting.cloned().collect::<Vec<_>>(), false);
    check(&served, &[None], FEW);
}

#[test]
#[ignore = "takes many minutes"]
fn schemathesis_finds_nothing_in_a_long_time() {
    let size = long();
    check_each(size);
    let files = examples();
    let served = serve(&files, true);
    let names: Vec<_> = files.iter().map(|file| Some(name(file))).collect();
    check(&served, &names, size);
}

#[expect(clippy::print_stderr, reason = "the seed has to be seen")]
#[expect(
    clippy::disallowed_methods,
    reason = "how long is up to who runs the tests"
)]
fn long() -> Size {
    let given = std::env::var("FLOWMILL_SCHEMATHESIS").unwrap_or_else(|_| "200".to_owned());
    let (examples, seed) = given.split_once(':').unwrap_or((&given, ""));
    let size = Size {
        examples: examples
            .parse()
            .expect("FLOWMILL_SCHEMATHESIS is EXAMPLES[:SEED]"),
        seed: seed.parse().unwrap_or_else(|_| std::process::id().into()),
    };
    eprintln!(
        "schemathesis: {} examples, seed {}",
        size.examples, size.seed
    );
    size
}

/// Each example on a server of its own.
#[track_caller]
fn check_each(size: Size) {
    let Some(program) = rigs::program("schemathesis", "schemathesis") else {
        return;
    };
    in_parallel(&examples(), |file: &PathBuf| {
        let served = serve(std::slice::from_ref(file), true);
        fuzz(&program, &served, None, size).map_err(|said| format!("{}: {said}", name(file)))
    });
}

#[track_caller]
fn check(served: &Served, workflows: &[Option<&str>], size: Size) {
    let Some(program) = rigs::program("schemathesis", "schemathesis") else {
        return;
    };
    for workflow in workflows {
        if let Err(said) = fuzz(&program, served, *workflow, size) {
            panic!("{workflow:?}: {said}");
        }
    }
}

fn fuzz(program: &Path, served: &Served, workflow: Option<&str>, size: Size) -> Result<(), String> {
    let document = served.write_document(workflow);
    let hooks = served.project.write("hooks.py", HOOKS);
    let said = run(Command::new(program)
        .current_dir(served.project.root())
        .env("SCHEMATHESIS_HOOKS", hooks)
        .env("FLOWMILL_TEST_RECEIVER", served.receiver.url())
        // By its file: what it reads from a server, it does not try.
        .arg("run")
        .arg(&document)
        .args(["--url", &served.url])
        .args(["--header", &format!("Authorization: Bearer {KEY}")])
        // Wrapped by checks of the hooks' own, which are among all.
        .args([
            "--checks",
            "all",
            "--exclude-checks",
            "positive_data_acceptance,negative_data_rejection",
        ])
        .args(["--max-examples", &size.examples.to_string()])
        .args(["--seed", &size.seed.to_string()])
        .args(["--generation-database", "none", "--no-color"])
        .args(["--output-truncate", "false", "--continue-on-failure"]))?;
    // All of it was tried.
    let tested = format!("Tested: {}\n", operations(&document));
    if said.contains(&tested) {
        Ok(())
    } else {
        Err(format!("it does not say `{tested}`:\n{said}"))
    }
}
