//! The image as `docker import` takes it: the files of its one layer, and what its `Dockerfile`
//! says beside them. The engine makes that in one step, where `docker build` takes one for each
//! instruction.

use std::borrow::Cow;

use crate::dockerfile::in_app;
use crate::package::Package;
use crate::plan::{DATA, PROGRAM, Plan, USER};

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image<'a> {
    /// The files and folders of its layer; each folder comes before its contents.
    pub entries: Vec<Entry<'a>>,
    /// Instructions for `docker import --change`.
    pub changes: Vec<String>,
}

/// A file or folder of the layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The path from the root, without a leading slash.
    pub path: Cow<'static, str>,
    /// The id of its user and of its group.
    pub owner: u32,
    /// What is at the path.
    pub content: Content<'a>,
}

/// What is at the path of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// A folder.
    Folder,
    /// The program of the package.
    Program,
    /// A file of the package.
    Text(&'a str),
}

impl Content<'_> {
    /// The permissions of the file.
    pub fn mode(self) -> u32 {
        match self {
            Self::Folder | Self::Program => 0o755,
            Self::Text(_) => 0o644,
        }
    }
}

impl<'a> Image<'a> {
    /// The image that the `Dockerfile` of the package would make.
    ///
    /// # Panics
    /// If the package was not made from the plan.
    pub fn of(plan: &Plan<'_>, package: &'a Package) -> Self {
        let of_root = |path, content| Entry {
            path,
            owner: 0,
            content,
        };
        let file = |path: &str| {
            let content = match path {
                PROGRAM => Content::Program,
                _ => Content::Text(package.text(path).expect("a file of this plan")),
            };
            of_root(format!("app/{path}").into(), content)
        };
        let mut entries = vec![of_root("app".into(), Content::Folder)];
        entries.extend(in_app(plan).into_iter().map(file));
        if !plan.attached.is_empty() {
            entries.push(of_root("app/files".into(), Content::Folder));
        }
        let attached = plan.attached.iter();
        entries.extend(attached.map(|attached| file(attached.purpose.path())));
        if plan.has_volume() {
            entries.push(Entry {
                path: DATA.trim_start_matches('/').into(),
                owner: USER,
                content: Content::Folder,
            });
        }
        Self {
            entries,
            changes: changes(package.text("Dockerfile").expect("each package has one")),
        }
    }
}

/// The instructions that do not bring files, each on one line.
fn changes(dockerfile: &str) -> Vec<String> {
    let mut changes = Vec::new();
    let mut lines = dockerfile.lines().filter(|line| !line.starts_with('#'));
    while let Some(line) = lines.next() {
        let mut instruction = line.to_owned();
        while let Some(begun) = instruction.strip_suffix('\\') {
            instruction = begun.to_owned() + lines.next().unwrap_or_default();
        }
        if !(instruction.starts_with("FROM ") || instruction.starts_with("COPY ")) {
            changes.push(instruction);
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_brings_files_and_comments_are_left_out_and_long_instructions_joined() {
        let dockerfile = "# By flowmill\nFROM scratch\nLABEL a=\"b\" \\\n      c=\"d\"\nCOPY [\"x\",\"/\"]\nUSER 1:1\n";
        assert_eq!(
            changes(dockerfile),
            ["LABEL a=\"b\"       c=\"d\"", "USER 1:1"]
        );
    }
}
