//! A directory with files that goes away when the test ends.

use std::fs;
use std::path::{Path, PathBuf};

/// A temporary directory. Removed on drop.
#[derive(Debug)]
pub struct TempProject {
    root: tempfile::TempDir,
}

impl TempProject {
    /// An empty project.
    ///
    /// # Panics
    /// When the system's temporary directory cannot be written.
    #[expect(
        clippy::new_without_default,
        reason = "creating a directory is no default"
    )]
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("the temporary directory can be written");
        Self { root }
    }

    /// A project that holds one file.
    ///
    /// # Panics
    /// As [`TempProject::write`].
    pub fn with_file(name: impl AsRef<Path>, text: impl AsRef<[u8]>) -> Self {
        let project = Self::new();
        project.write(name, text);
        project
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where a file of the project is, or would be.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes a file, with the folders it needs, and gives its path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: impl AsRef<Path>, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        let folder = path
            .parent()
            .expect("a path inside the project has a parent");
        fs::create_dir_all(folder).expect("the project's folder can be made");
        fs::write(&path, text).expect("the project's file can be written");
        path
    }

    /// The text of a file.
    ///
    /// # Panics
    /// When there is no such file, or it is not UTF-8.
    pub fn read(&self, name: impl AsRef<Path>) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_into_folders_and_go_away() {
        let project = TempProject::with_file("a.yaml", "a: 1");
        let nested = project.write("deep/er/b.yaml", "b: 2");

        assert_eq!(project.read("a.yaml"), "a: 1");
        assert_eq!(fs::read_to_string(&nested).unwrap(), "b: 2");
        let root = project.root().to_owned();
        drop(project);
        assert!(!root.exists());
    }
}
