//! Writes the package without losing changes that were made by hand.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use deploy::manifest::{self, Changes, Manifest};
use deploy::package::Package;
use deploy::plan::PROGRAM;

use crate::config::text;
use crate::failure::{Exit, Failure, Result};

/// The changes to be made in the folder.
#[derive(Debug)]
pub(super) struct PackageWriter<'a> {
    folder: &'a Path,
    package: &'a Package,
    changes: Changes,
}

impl<'a> PackageWriter<'a> {
    /// Compares the package with the folder. Files that were changed by hand are overwritten only
    /// with `force`, or if the user agrees at the terminal.
    pub(super) fn new(folder: &'a Path, package: &'a Package, force: bool) -> Result<Self> {
        if folder.exists() && !folder.is_dir() {
            return Err(Failure::new(
                Exit::Io,
                format!("`{}` is a file, not a folder", folder.display()),
            )
            .hint("choose another folder with --output-dir"));
        }
        let before = match fs::read_to_string(folder.join(manifest::FILE)) {
            Ok(text) => Manifest::parse(&text),
            Err(_) => Manifest::default(),
        };
        let mut changes =
            Changes::between(package, &before, |path| fs::read(folder.join(path)).ok());
        if is_no_program(&folder.join(PROGRAM)) {
            changes.changed_by_hand.push(PROGRAM.to_owned());
        }
        if !changes.changed_by_hand.is_empty() && !force {
            let files = changes.changed_by_hand.join(", ");
            let question = format!(
                "changed by hand in {}: {files}\noverwrite?",
                folder.display()
            );
            if text::ask(&question)? != Some(true) {
                return Err(Failure::new(
                    Exit::Io,
                    format!(
                        "these files in {} were not written by flowmill, or were changed by hand: {files}",
                        folder.display()
                    ),
                )
                .hint("add --force to overwrite them, or choose another folder with --output-dir"));
            }
        }
        Ok(Self {
            folder,
            package,
            changes,
        })
    }

    /// Writes new files and the program, and removes old files. Returns the number of files
    /// written.
    pub(super) fn write(&self, program: Option<&Path>) -> Result<usize> {
        let mut written = 0;
        for file in &self.package.files {
            if self.changes.write.iter().any(|path| path == file.path) {
                self.put(file.path, file.text.as_bytes())?;
                written += 1;
            }
        }
        for path in &self.changes.remove {
            let path = self.folder.join(path);
            fs::remove_file(&path).map_err(|error| Failure::unwritable(&path, &error))?;
        }
        if let Some(program) = program {
            written += usize::from(self.copy_program(program)?);
        }
        self.put(
            manifest::FILE,
            Manifest::of(self.package).to_text().as_bytes(),
        )?;
        Ok(written)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(path);
        let write = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&path, bytes)
        };
        write().map_err(|error| Failure::unwritable(&path, &error))
    }

    /// Copies the program unless it is there already; returns whether it was copied.
    fn copy_program(&self, program: &Path) -> Result<bool> {
        let to = self.folder.join(PROGRAM);
        if fs::canonicalize(&to).ok() == fs::canonicalize(program).ok() {
            return Ok(false);
        }
        let copy = || {
            // Under another name first: an incomplete copy must not be taken for the program.
            let part = self.folder.join(format!("{PROGRAM}.part"));
            match fs::remove_file(&part) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::copy(program, &part)?;
            fs::set_permissions(&part, fs::Permissions::from_mode(0o755))?;
            fs::rename(&part, &to)
        };
        copy().map_err(|error| Failure::unwritable(&to, &error))?;
        Ok(true)
    }
}

/// Whether a file with the program's name exists that no deployment has written, such as a script.
fn is_no_program(path: &Path) -> bool {
    let mut magic = [0; 4];
    match fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) => magic != *b"\x7fELF",
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

/// The folder without links and `..`, as mounts need it.
pub(super) fn absolute(folder: &Path) -> Result<PathBuf> {
    fs::canonicalize(folder).map_err(|error| Failure::unwritable(folder, &error))
}
