//! README.md and docs/*.md run as written: each document's commands in order in a folder of its
//! own, its YAML through `validate`, its samples against what the program really sends.
//!
//! What a document cannot show is said in HTML comments, which its readers do not see:
//!
//! | comment | |
//! | --- | --- |
//! | `<!-- run: COMMAND -->` | is run here, such as a server that a sample needs |
//! | `<!-- file: NAME -->` | the next block is written to that file |
//! | `<!-- from: COMMAND -->` | the next block is what this prints, `…` standing for anything |
//! | `<!-- inputs: JSON -->` | the next workflow runs with these inputs |
//! | `<!-- not run: REASON -->` | the next block cannot run in a test; its options are looked up |
//!
//! A block of `yaml fragment` is a part of a workflow and is checked inside a whole one. Where a
//! command needs a program that the machine lacks (`node`, `sqlite3`), the rest of its document is
//! skipped, which is told.

mod blocks;
mod clients;
mod fragment;
mod metrics;
mod places;
mod sample;
mod sentences;
mod session;
mod tables;
mod usage;

use std::path::{Path, PathBuf};

use serde_json::Value;
use testing::TempProject;

use self::blocks::{Block, Part};
use self::session::Session;
use crate::support::{in_parallel, root, run_in};

/// The documents by name: those that are added are found.
fn documents() -> Vec<PathBuf> {
    let mut documents = vec![PathBuf::from("README.md")];
    for entry in std::fs::read_dir(root().join("docs")).expect("the folder is there") {
        let name = PathBuf::from(entry.expect("readable").file_name());
        if name.extension().is_some_and(|extension| extension == "md") {
            documents.push(PathBuf::from("docs").join(name));
        }
    }
    documents
}

/// Those, and the others whose links are followed: what is for people who change the program.
fn linking_documents() -> Vec<PathBuf> {
    let mut documents = documents();
    for name in [
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "bench/README.md",
    ] {
        documents.push(PathBuf::from(name));
    }
    let decisions = Path::new("docs/decisions");
    for entry in std::fs::read_dir(root().join(decisions)).expect("the folder is there") {
        documents.push(decisions.join(entry.expect("readable").file_name()));
    }
    documents
}

fn text_of(document: &Path) -> String {
    std::fs::read_to_string(root().join(document)).expect("readable")
}

#[test]
fn every_command_and_example_runs_as_written() {
    in_parallel(&documents(), |document| {
        let mut session = Session::start();
        for part in blocks::read(&text_of(document)) {
            let (line, outcome) = match part {
                Part::Run { line, command } => (line, session.run(&command).map(drop)),
                Part::Block(block) => (block.line, check(&block, &mut session)),
            };
            outcome.map_err(|problem| format!("{}:{line}: {problem}", document.display()))?;
            if session.lacks_a_program() {
                break;
            }
        }
        Ok(())
    });
}

/// What holds for one block.
fn check(block: &Block, session: &mut Session) -> Result<(), String> {
    if let Some(reason) = block.directive("not run") {
        if reason.is_empty() {
            return Err("why is it not run?".to_owned());
        }
        return usage::check_all(&block.text);
    }
    if let Some(name) = block.directive("file") {
        session.write(name, &block.text);
    }
    match block.info.as_str() {
        "console" => session.console(&block.text),
        "yaml" => session.workflow("document.yaml", &block.text, block.directive("inputs")),
        "yaml fragment" => {
            let whole = fragment::within_a_workflow(&block.text)?;
            session.workflow("document.json", &whole, block.directive("inputs"))
        }
        "toml" => {
            session.write("flowmill.toml", &block.text);
            session
                .run("flowmill run greeting.yaml --input name=Ada --offline")
                .map(drop)
        }
        "json" | "http" => {
            let Some(command) = block.directive("from") else {
                return Err("nothing says where this sample comes from".to_owned());
            };
            let printed = session.print(command)?;
            match block.info.as_str() {
                "json" => sample::compare_json(&block.text, &printed),
                _ => sample::compare_http(&block.text, &printed),
            }
        }
        // A program that a later command runs; what is no file by itself is the receiver of webhooks.
        "python" | "ts" if block.directive("file").is_some() => Ok(()),
        "python" => session.python(&block.text),
        "" => usage::check_all(&block.text),
        other => Err(format!("nothing checks a block of `{other}`")),
    }
}

/// The pages of `flowmill explain`: what a page proposes is not answered with the page itself.
#[test]
fn what_the_pages_of_codes_propose_is_free_of_their_fault() {
    let project = TempProject::new();
    let list = run_in(project.root(), ["explain"]).exits(0).stdout;
    let codes: Vec<&str> = list
        .split_whitespace()
        .filter(|word| word.len() == 6 && word.starts_with("FM0"))
        .collect();
    assert!(codes.len() > 60, "{list}");
    in_parallel(&codes, |code| {
        let page = run_in(project.root(), ["explain", code]).exits(0).stdout;
        let (_, mended) = page.split_once("## How to fix it").ok_or("no way out")?;
        for part in blocks::read(mended) {
            let Part::Block(block) = part else { continue };
            if block.info != "yaml" {
                continue;
            }
            let whole = fragment::within_a_workflow(&block.text)
                .map_err(|problem| format!("{code}: {problem}"))?;
            let file = project.write(format!("{code}.json"), whole);
            let said = run_in(
                project.root(),
                ["validate", "--format", "short", &file.to_string_lossy()],
            );
            let said = said.stdout + &said.stderr;
            if said.contains(&format!("[{code}]")) {
                return Err(format!("{code}: {said}"));
            }
        }
        Ok(())
    });
}

#[test]
fn commands_in_running_text_are_written_with_options_that_exist() {
    in_parallel(&documents(), |document| {
        for (line, code) in blocks::code_spans(&text_of(document)) {
            usage::check(&code)
                .map_err(|problem| format!("{}:{line}: {problem}", document.display()))?;
        }
        Ok(())
    });
}

#[test]
fn links_lead_to_files_and_headings_that_are_there() {
    in_parallel(&linking_documents(), |document| {
        let folder = root().join(document.parent().expect("a file"));
        for (line, target) in blocks::links(&text_of(document)) {
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() {
                root().join(document)
            } else {
                folder.join(file)
            };
            let place = format!("{}:{line}: `{target}`", document.display());
            if !path.exists() {
                return Err(format!("{place} is not there"));
            }
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
                if !blocks::headings(&text).contains(&heading.to_owned()) {
                    return Err(format!("{place} names no heading"));
                }
            }
        }
        Ok(())
    });
}

/// A value in which `…` stands for anything.
fn read_sample(text: &str) -> Result<Value, String> {
    let json = text
        .replace("{…}", r#"{"…": "…"}"#)
        .replace("[…]", r#"["…"]"#);
    serde_json::from_str(&json).map_err(|error| format!("this is not JSON: {error}\n{json}"))
}
