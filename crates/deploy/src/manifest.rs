//! A record of the files that were written, so that a file that was changed by hand is not lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::package::Package;

/// The path of the manifest in the package.
pub const FILE: &str = "flowmill-package.json";

/// The hash of every file that was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// SHA-256 in hex, by path.
    files: BTreeMap<String, String>,
}

impl Manifest {
    /// The manifest of a package that is about to be written.
    pub fn of(package: &Package) -> Self {
        let files = package.files.iter();
        Self {
            files: files
                .map(|file| (file.path.to_owned(), hash(file.text.as_bytes())))
                .collect(),
        }
    }

    /// Reads a manifest. A text that is not one counts as a manifest without files.
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The text of the manifest's file.
    pub fn to_text(&self) -> String {
        format!("{:#}\n", serde_json::json!(self))
    }
}

/// What is to be changed in the folder. Paths are those of the package.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files that are new or differ from the folder's.
    pub write: Vec<String>,
    /// Those of them whose file in the folder was changed since it was written.
    pub changed_by_hand: Vec<String>,
    /// Files that were written earlier, are unchanged, and are no longer part of the package.
    pub remove: Vec<String>,
}

impl Changes {
    /// Compares the package with the folder; `read` gives a file's bytes if it is there.
    pub fn between(
        package: &Package,
        before: &Manifest,
        read: impl Fn(&str) -> Option<Vec<u8>>,
    ) -> Self {
        let mut changes = Self::default();
        for file in &package.files {
            let there = read(file.path);
            if there.as_deref() == Some(file.text.as_bytes()) {
                continue;
            }
            changes.write.push(file.path.to_owned());
            let is_as_written =
                there.is_none_or(|there| before.files.get(file.path) == Some(&hash(&there)));
            if !is_as_written {
                changes.changed_by_hand.push(file.path.to_owned());
            }
        }
        for (path, written) in &before.files {
            let is_gone = package.files.iter().all(|file| file.path != path);
            // Anybody can edit the manifest, so a path that leaves the folder is ignored.
            let is_inside = path
                .split('/')
                .all(|part| !part.is_empty() && part != ".." && part != ".");
            if is_gone && is_inside && read(path).is_some_and(|there| hash(&there) == *written) {
                changes.remove.push(path.clone());
            }
        }
        changes
    }
}

fn hash(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::GeneratedFile;

    fn package(files: &[(&'static str, &str)]) -> Package {
        Package {
            files: files
                .iter()
                .map(|(path, text)| GeneratedFile {
                    path,
                    text: (*text).to_owned(),
                })
                .collect(),
        }
    }

    #[track_caller]
    fn check(there: &[(&str, &str)], write: &[&str], by_hand: &[&str], remove: &[&str]) {
        let before = Manifest::of(&package(&[("same", "1"), ("new", "old"), ("gone", "x")]));
        let before = Manifest::parse(&before.to_text());
        let now = package(&[("same", "1"), ("new", "2")]);
        let changes = Changes::between(&now, &before, |path| {
            let (_, text) = there.iter().find(|(there, _)| *there == path)?;
            Some(text.as_bytes().to_vec())
        });
        let owned = |paths: &[&str]| {
            paths
                .iter()
                .map(|&path| path.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(changes.write, owned(write));
        assert_eq!(changes.changed_by_hand, owned(by_hand));
        assert_eq!(changes.remove, owned(remove));
    }

    #[test]
    fn files_are_written_unless_they_are_there() {
        check(&[], &["same", "new"], &[], &[]);
        check(&[("same", "1"), ("new", "2")], &[], &[], &[]);
    }

    #[test]
    fn what_was_written_before_may_be_replaced_and_removed() {
        check(
            &[("same", "1"), ("new", "old"), ("gone", "x")],
            &["new"],
            &[],
            &["gone"],
        );
    }

    #[test]
    fn what_was_changed_by_hand_is_told_and_stays() {
        check(
            &[("same", "mine"), ("new", "mine"), ("gone", "mine")],
            &["same", "new"],
            &["same", "new"],
            &[],
        );
    }

    #[test]
    fn a_manifest_cannot_point_outside() {
        let before = Manifest::parse(&format!(
            r#"{{"files": {{"../x": "{0}", "/x": "{0}", "a/../../x": "{0}"}}}}"#,
            hash(b"x")
        ));
        let changes = Changes::between(&package(&[]), &before, |_| Some(b"x".to_vec()));
        assert_eq!(changes, Changes::default());
        assert_eq!(Manifest::parse("no JSON"), Manifest::default());
    }
}
