//! What the program is made of: licences, sources, crates that are there twice, and the list of
//! crates that goes into every package's bill of materials.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use crate::support::root;

/// What images are made for.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Licences under which somebody else's code may be in the program, or in what builds and tests it.
const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    // Tables of characters.
    "Unicode-3.0",
    // The roots that TLS trusts.
    "CDLA-Permissive-2.0",
];

/// Crates in several versions, the number of them, and who keeps them apart. A new one needs a
/// reason; one that is gone goes from here.
const SEVERAL: &[(&str, usize, &str)] = &[
    ("base64", 2, "postgres-protocol is behind"),
    (
        "bit-set",
        2,
        "fancy-regex is behind; proptest is only for tests",
    ),
    ("bit-vec", 2, "comes with bit-set"),
    ("block-buffer", 2, "comes with digest"),
    ("const-oid", 2, "comes with digest"),
    (
        "cpufeatures",
        2,
        "sha2 0.10, which hmac 0.12 wants; chacha20 of rand",
    ),
    ("crypto-common", 2, "comes with digest"),
    ("digest", 2, "comes with sha2"),
    (
        "fallible-iterator",
        2,
        "postgres-protocol is behind; rusqlite is not",
    ),
    (
        "getrandom",
        3,
        "ring is two behind; ahash and opentelemetry_sdk's rand one",
    ),
    ("hmac", 2, "postgres-protocol has the next one, for SCRAM"),
    ("r-efi", 2, "comes with getrandom, for no target of ours"),
    ("rand", 2, "opentelemetry_sdk is behind; uuid is not"),
    ("rand_core", 2, "comes with rand"),
    (
        "sha2",
        2,
        "postgres-protocol and tokio-postgres-rustls have the next one",
    ),
    (
        "syn",
        2,
        "derive macros are on their way to 3; none is in the program",
    ),
    (
        "wasi",
        2,
        "comes with whoami of tokio-postgres, for no target of ours",
    ),
    ("windows-sys", 2, "ring is behind, for no target of ours"),
];

/// Every crate that any target of ours needs, for building and testing, too.
fn metadata() -> Metadata {
    let mut options = vec!["--offline".to_owned(), "--locked".to_owned()];
    for target in TARGETS {
        options.extend(["--filter-platform".to_owned(), target.to_owned()]);
    }
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(options)
        .exec()
        .expect("cargo metadata")
}

/// The packages of a lock file: name, version, source, checksum.
fn locked(path: &Path) -> Vec<toml::Table> {
    let text = std::fs::read_to_string(path).expect("the lock file is there");
    let table: toml::Table = toml::from_str(&text).expect("TOML");
    let packages = table["package"].as_array().expect("packages");
    let package = |package: &toml::Value| package.as_table().expect("a package").clone();
    packages.iter().map(package).collect()
}

fn text<'t>(package: &'t toml::Table, key: &str) -> Option<&'t str> {
    package.get(key).and_then(toml::Value::as_str)
}

#[test]
fn every_licence_is_one_that_we_take() {
    let mut refused = Vec::new();
    let metadata = metadata();
    assert!(metadata.packages.len() > 200, "{}", metadata.packages.len());
    for package in &metadata.packages {
        let licence = package.license.as_deref().unwrap_or_default();
        if !is_met(licence) {
            refused.push(format!("{} {}: {licence}", package.name, package.version));
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

/// Whether an expression can be met with licences of the list.
fn is_met(expression: &str) -> bool {
    let spaced = written_out(expression)
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any_of(&mut words).is_some_and(|met| met && words.peek().is_none())
}

/// The old way to write `OR`.
fn written_out(expression: &str) -> String {
    let parts: Vec<&str> = expression.split('/').map(str::trim).collect();
    parts.join(" OR ")
}

type Words<'w> = std::iter::Peekable<std::str::SplitWhitespace<'w>>;

fn any_of(words: &mut Words<'_>) -> Option<bool> {
    let mut met = all_of(words)?;
    while words.next_if_eq(&"OR").is_some() {
        met |= all_of(words)?;
    }
    Some(met)
}

fn all_of(words: &mut Words<'_>) -> Option<bool> {
    let mut met = one(words)?;
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words)?;
    }
    Some(met)
}

fn one(words: &mut Words<'_>) -> Option<bool> {
    let word = words.next()?;
    if word == "(" {
        let met = any_of(words)?;
        return (words.next()? == ")").then_some(met);
    }
    let mut met = LICENCES.contains(&word);
    if words.next_if_eq(&"WITH").is_some() {
        // It only allows more.
        met &= words.next()? == "LLVM-exception";
    }
    Some(met)
}

#[test]
fn expressions_of_licences_are_understood() {
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("", false),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("MIT AND (GPL-3.0 OR ISC)", true),
        ("(MIT OR ISC) AND GPL-3.0", false),
        ("GPL-3.0 AND ISC OR MIT", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0 WITH other-exception", false),
        ("MIT GPL-3.0", false),
        ("(MIT", false),
    ] {
        assert_eq!(is_met(expression), expected, "{expression}");
    }
}

#[test]
fn every_crate_is_from_crates_io_and_cannot_be_exchanged() {
    for file in ["Cargo.lock", "fuzz/Cargo.lock"] {
        for package in locked(&root().join(file)) {
            let Some(source) = text(&package, "source") else {
                // Ours; that it lies in the project is held by the next test.
                continue;
            };
            assert_eq!(source, CRATES_IO, "{file}: {package:?}");
            let checksum = text(&package, "checksum").unwrap_or_default();
            assert_eq!(checksum.len(), 64, "{file}: {package:?}");
        }
    }
}

#[test]
fn what_has_no_source_lies_in_the_project() {
    let root = root();
    for package in metadata().packages {
        if package.source.is_none() {
            let path = package.manifest_path.as_std_path();
            assert!(path.starts_with(&root), "{}", path.display());
        }
    }
}

#[test]
fn crates_in_several_versions_have_a_reason() {
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for package in locked(&root().join("Cargo.lock")) {
        let name = text(&package, "name").expect("a name").to_owned();
        *versions.entry(name).or_default() += 1;
    }
    versions.retain(|_, count| *count > 1);
    let expected: BTreeMap<String, usize> = SEVERAL
        .iter()
        .map(|(name, count, reason)| {
            assert!(!reason.is_empty(), "{name}");
            ((*name).to_owned(), *count)
        })
        .collect();
    assert_eq!(versions, expected, "see SEVERAL in supply.rs");
}

/// Name and version of every crate that is linked into the program, on any target.
fn linked() -> BTreeSet<(String, String)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root())
        .args(["tree", "--package", "flowmill", "--edges"])
        .args(["normal,no-proc-macro", "--prefix", "none"])
        .args(["--format", "{p}", "--offline", "--locked"]);
    for target in TARGETS {
        command.args(["--target", target]);
    }
    let output = command.output().expect("cargo is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        // A target's tree begins with a blank line.
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().expect("split gives one at least");
            let version = words.next().expect("a version");
            (name.to_owned(), version.trim_start_matches('v').to_owned())
        })
        .collect()
}

/// The list, as `deploy` embeds it.
fn list() -> String {
    let (linked, metadata) = (linked(), metadata());
    let key = |package: &Package| (package.name.to_string(), package.version.to_string());
    let by_id: HashMap<_, _> = metadata.packages.iter().map(|p| (&p.id, p)).collect();
    let checksums: HashMap<_, _> = locked(&root().join("Cargo.lock"))
        .into_iter()
        .filter_map(|package| {
            let part = |key| text(&package, key).map(str::to_owned);
            Some(((part("name")?, part("version")?), part("checksum")?))
        })
        .collect();
    let resolved = metadata.resolve.as_ref().expect("a graph");
    let mut lines = BTreeSet::new();
    for node in &resolved.nodes {
        let package = by_id[&node.id];
        if !linked.contains(&key(package)) {
            continue;
        }
        let needed: BTreeSet<String> = node
            .deps
            .iter()
            .filter(|dependency| {
                let mut kinds = dependency.dep_kinds.iter();
                kinds.any(|kind| kind.kind == DependencyKind::Normal)
            })
            .map(|dependency| key(by_id[&dependency.pkg]))
            .filter(|needed| linked.contains(needed))
            .map(|(name, version)| format!("{name}@{version}"))
            .collect();
        let (name, version) = key(package);
        let licence = written_out(package.license.as_deref().unwrap_or_default());
        let checksum = checksums.get(&(name.clone(), version.clone()));
        let checksum = checksum.map_or("-", String::as_str);
        let needed = needed.into_iter().collect::<Vec<_>>().join(" ");
        lines.insert(format!(
            "{name}\t{version}\t{checksum}\t{licence}\t{needed}"
        ));
    }
    assert_eq!(lines.len(), linked.len(), "every crate is found");
    lines.iter().fold(String::new(), |mut list, line| {
        let _ = writeln!(list, "{line}");
        list
    })
}

#[test]
fn the_bill_of_materials_lists_what_is_linked() {
    let path = root().join("crates/deploy/src/sbom/crates.tsv");
    let list = list();
    if std::env::var_os("FLOWMILL_UPDATE").is_some() {
        std::fs::write(&path, &list).expect("it can be written");
    }
    let written = std::fs::read_to_string(&path).expect("it is there");
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (written, list) = (lines(&written), lines(&list));
    let (gone, new): (Vec<_>, Vec<_>) = (
        written.difference(&list).collect(),
        list.difference(&written).collect(),
    );
    assert!(
        gone.is_empty() && new.is_empty(),
        "crates.tsv is old; FLOWMILL_UPDATE=1 writes it anew:\n- {gone:#?}\n+ {new:#?}"
    );
}
