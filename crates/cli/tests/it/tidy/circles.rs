//! Files of a crate that import each other, directly or by way of others. A file in a circle cannot
//! be read or changed without the rest of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::imports::{Import, Sources, imports};
use crate::support::root;

#[test]
fn no_files_of_a_crate_import_each_other_in_circles() {
    let mut crates: Vec<_> = fs::read_dir(root().join("crates"))
        .expect("the crates are there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    crates.sort();
    assert!(crates.len() > 5, "{crates:?}");
    let mut found = String::new();
    for path in crates {
        let name = path.display();
        let mut sources = Sources::new();
        read(&path, Path::new("src"), &mut sources);
        let main = ["src/lib.rs", "src/main.rs"]
            .into_iter()
            .find(|file| sources.contains_key(*file))
            .expect("a crate begins with one of them");
        let imports = imports(main, &sources);
        assert!(!imports.is_empty(), "{name}");
        let circles = circles(&imports);
        if !circles.is_empty() {
            let _ = write!(found, "{name}\n{}", shown(&circles, &imports));
        }
    }
    assert!(found.is_empty(), "files import each other:\n{found}");
}

/// Adds the files of a folder.
fn read(crate_path: &Path, folder: &Path, sources: &mut Sources) {
    for entry in fs::read_dir(crate_path.join(folder)).expect("the folder is readable") {
        let path = folder.join(entry.expect("readable").file_name());
        let full = crate_path.join(&path);
        if full.is_dir() {
            read(crate_path, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(full).expect("the source is readable");
            sources.insert(path.to_str().expect("a plain path").to_owned(), text);
        }
    }
}

/// The files of each circle: each of them leads to all others.
fn circles(imports: &[Import]) -> Vec<BTreeSet<&str>> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for import in imports {
        next.entry(&import.from).or_default().push(&import.to);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> = next
        .keys()
        .map(|file| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![*file]);
            while let Some(file) = open.pop() {
                let targets = next.get(file).into_iter().flatten();
                open.extend(targets.filter(|target| seen.insert(**target)));
            }
            (*file, seen)
        })
        .collect();
    let mut circles = BTreeSet::new();
    for (file, targets) in &reached {
        let leads_back =
            |target: &&&str| reached.get(**target).is_some_and(|all| all.contains(file));
        let circle: BTreeSet<&str> = targets.iter().filter(leads_back).copied().collect();
        if !circle.is_empty() {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

/// Each circle with the imports that close it.
fn shown(circles: &[BTreeSet<&str>], imports: &[Import]) -> String {
    let mut text = String::new();
    for (number, circle) in circles.iter().enumerate() {
        let _ = writeln!(text, "  circle {} of {} files", number + 1, circle.len());
        for import in imports {
            if circle.contains(&*import.from) && circle.contains(&*import.to) {
                let _ = writeln!(
                    text,
                    "    {}:{} imports {} ({})",
                    import.from, import.line, import.to, import.path
                );
            }
        }
    }
    text
}

#[track_caller]
fn check(files: &[(&str, &str)], expected: &[&[&str]]) {
    let sources = files
        .iter()
        .map(|(file, text)| (format!("src/{file}.rs"), (*text).to_owned()))
        .collect();
    let imports = imports("src/lib.rs", &sources);
    let found: Vec<Vec<&str>> = circles(&imports)
        .into_iter()
        .map(|circle| circle.into_iter().collect())
        .collect();
    let expected: Vec<Vec<String>> = expected
        .iter()
        .map(|circle| circle.iter().map(|file| format!("src/{file}.rs")).collect())
        .collect();
    assert_eq!(found, expected, "{imports:#?}");
}

#[test]
fn two_files_that_import_each_other_are_a_circle() {
    check(
        &[
            ("lib", "mod a; mod b; mod c;"),
            ("a", "use crate::b::B; pub struct A;"),
            ("b", "use super::a; pub struct B(a::A);"),
            ("c", "use crate::{a::A, b::B};"),
        ],
        &[&["a", "b"]],
    );
}

#[test]
fn a_parent_that_uses_its_child_is_in_a_circle_with_it() {
    check(
        &[
            ("lib", "mod a; pub struct Context; fn f() { a::g(); }"),
            ("a", "use crate::Context; pub fn g() {}"),
        ],
        &[&["a", "lib"]],
    );
}

#[test]
fn a_declaration_and_a_reexport_are_no_imports() {
    check(
        &[
            (
                "lib",
                "mod a; mod b; pub use a::A; pub use a::*; pub struct Context;",
            ),
            ("a", "use crate::Context; pub struct A;"),
            ("b", "use crate::{A, Context};"),
        ],
        &[],
    );
}

#[test]
fn a_reexport_leads_to_the_file_that_defines_the_item() {
    check(
        &[
            ("lib", "mod a; mod b;"),
            ("a", "mod inner; pub use inner::Inner; use crate::b::B;"),
            ("a/inner", "pub struct Inner;"),
            ("b", "use crate::a::Inner; pub struct B;"),
        ],
        &[],
    );
    check(
        &[
            ("lib", "mod a; mod b;"),
            ("a", "mod inner; pub use inner::*;"),
            ("a/inner", "use crate::b::B; pub struct Inner;"),
            ("b", "use crate::a::Inner; pub struct B;"),
        ],
        &[&["a/inner", "b"]],
    );
}

#[test]
fn a_path_in_a_macro_is_an_import() {
    check(
        &[
            ("lib", "mod a; mod b;"),
            (
                "a",
                "fn f() { println!(\"{}\", [crate::b::f()]); } pub const A: u8 = 0;",
            ),
            ("b", "pub fn f() -> u8 { crate::a::A }"),
        ],
        &[&["a", "b"]],
    );
}

#[test]
fn tests_comments_and_other_crates_do_not_count() {
    check(
        &[
            ("lib", "mod a; mod b;"),
            (
                "a",
                "use b::x; use ::b::y; /// [`crate::b::B`]\npub struct A;",
            ),
            (
                "b",
                "use crate::a::A; pub struct B; #[cfg(test)] mod tests { use crate::a; }",
            ),
        ],
        &[],
    );
}
