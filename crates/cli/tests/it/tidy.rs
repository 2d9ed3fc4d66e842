//! The project's own order: layers, circles of files, diagnostic codes, what its texts may not say.

mod circles;
mod imports;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::examples::examples;
use crate::support::root;

/// What a crate could use by its layer, and does not: telemetry learns of model calls from the
/// engine.
const AVOIDED: &[(&str, &str)] = &[("telemetry", "llm")];

/// Layer by crate, from the map in `ARCHITECTURE.md`: a line with a number names the crates of that
/// layer.
fn layers() -> HashMap<String, u8> {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the map is there");
    let map = document
        .split("```")
        .nth(1)
        .expect("the map is the first block");
    let mut layers = HashMap::new();
    for line in map.lines() {
        let Some((number, rest)) = line.split_once("  ") else {
            continue;
        };
        let Ok(layer) = number.trim().parse::<u8>() else {
            continue;
        };
        let names = rest.split("   ").next().expect("split gives one at least");
        layers.extend(names.split('·').map(|name| (name.trim().to_owned(), layer)));
    }
    layers
}

#[test]
fn crates_use_lower_layers_only() {
    let layers = layers();
    assert_eq!(layers.len(), 10, "{layers:?}");
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo metadata");
    let short = |name: &str| {
        if name == "flowmill" {
            "cli".to_owned()
        } else {
            name.trim_start_matches("flowmill-").to_owned()
        }
    };
    let ours: HashSet<String> = metadata
        .packages
        .iter()
        .map(|package| short(&package.name))
        .collect();
    for name in layers.keys() {
        assert!(
            ours.contains(name),
            "{name} is on the map and not in the workspace"
        );
    }
    let mut problems = Vec::new();
    for package in &metadata.packages {
        let name = short(&package.name);
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some())
        {
            let used = short(&dependency.name);
            let allowed = match (layers.get(&name), layers.get(&used)) {
                (Some(layer), Some(below)) => below < layer,
                // Test support is for tests, and starts databases for the benchmark.
                (_, None) => {
                    used == "testing"
                        && (name == "bench" || dependency.kind == DependencyKind::Development)
                }
                // Test support and the benchmark stand beside the product and use nothing of it.
                (None, Some(_)) => false,
            };
            if !allowed || AVOIDED.contains(&(name.as_str(), used.as_str())) {
                problems.push(format!("{name} uses {used}"));
            }
        }
        if !layers.contains_key(&name) && name != "testing" && name != "bench" {
            problems.push(format!("{name} is in the workspace and not on the map"));
        }
    }
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn every_diagnostic_code_has_a_page_and_a_fixture() {
    let lang = root().join("crates/lang");
    let codes = names(&lang.join("src/diagnostic/codes"));
    let fixtures = names(&lang.join("tests/fixtures"));
    // The faults of texts too long to keep are made by the test of the fixtures.
    let made =
        fs::read_to_string(lang.join("tests/it/fixtures.rs")).expect("the test of the fixtures");
    assert!(codes.len() > 40, "{codes:?}");
    let mut missing = Vec::new();
    for code in &codes {
        let page = fs::read_to_string(lang.join(format!("src/diagnostic/codes/{code}.md")))
            .expect("the page");
        if page.lines().filter(|line| !line.trim().is_empty()).count() < 2 {
            missing.push(format!("{code}: a page that explains it"));
        }
        if !fixtures.contains(code) && !made.contains(&format!("\"{code}\" =>")) {
            missing.push(format!("{code}: a fixture"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// File names of a folder, without extensions.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("readable").path())
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

#[test]
fn every_example_is_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README is there");
    for example in examples() {
        let name = example
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        assert!(readme.contains(&format!("examples/{name}")), "{name}");
        assert!(
            root()
                .join("examples/inputs")
                .join(name)
                .with_extension("json")
                .is_file(),
            "inputs for {name}"
        );
    }
}

#[test]
fn no_text_names_a_path_of_somebodys_machine() {
    // Put together here, so that this file does not hold them.
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let mut found = Vec::new();
    for file in texts(&root()) {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if paths.iter().any(|path| line.contains(path)) {
                found.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Every file of the project, what is built or fetched left out.
fn texts(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let entry = entry.expect("readable");
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == ".git"
            || name.starts_with("target")
            || name == "node_modules"
            || name == "corpus"
        {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(texts(&entry.path())),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}

#[test]
fn every_reader_that_is_fuzzed_is_shown_to_take_linear_work() {
    let mut missing = Vec::new();
    for target in names(&root().join("fuzz/fuzz_targets")) {
        let file = root().join(format!("fuzz/fuzz_targets/{target}.rs"));
        let text = fs::read_to_string(file).expect("a target");
        let owner = text
            .split_once("::fuzzing::")
            .and_then(|(before, _)| before.rsplit([' ', '|']).next())
            .expect("it names its crate");
        let file = root().join(format!("crates/{owner}/src/fuzzing.rs"));
        let text = fs::read_to_string(file).expect("the crate's readers");
        let tests = text.split_once("mod tests {").expect("it has tests").1;
        let linear: Vec<&str> = tests
            .split("#[test]")
            .filter(|test| test.contains("grows_linearly") || test.contains("are_linear("))
            .collect();
        if !linear.iter().any(|test| test.contains(&target)) {
            missing.push(format!("{owner}: {target}"));
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}
