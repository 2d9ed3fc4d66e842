//! Puts `shim.c` between a server and the system: it makes the server die at a certain write, or
//! sets its clock.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testing::{TempProject, rigs};

/// Lets the server that a command starts be preloaded with the shim, with one setting of it. `None`
/// where that cannot be built; why was said.
pub(crate) fn preload<'a>(
    server: &'a mut Command,
    setting: &str,
    value: impl AsRef<OsStr>,
) -> Option<&'a mut Command> {
    let library = library()?;
    Some(server.env("LD_PRELOAD", library).env(setting, value))
}

/// Built by the C compiler that built SQLite.
fn library() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/durable/shim.c");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = folder.join("flowmill_test_shim.so");
    let time = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    if time(&library).is_some_and(|built| time(&source).is_some_and(|written| built > written)) {
        return Some(library);
    }
    // Other tests may build it at the same time.
    let scratch = TempProject::new();
    let fresh = scratch.path("shim.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&fresh, &source])
        .output();
    let built = match built {
        Ok(built) => built,
        Err(error) => {
            return rigs::skip(
                "servers that die at a certain write",
                &format!("cc: {error}"),
            );
        }
    };
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let beside = folder.join(format!("flowmill_test_shim.{}", std::process::id()));
    fs::copy(&fresh, &beside).expect("the folder for tests can be written");
    fs::rename(&beside, &library).expect("a file can be replaced");
    Some(library)
}
