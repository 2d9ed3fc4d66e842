//! Finds the program for the image. It must be statically linked: the image contains nothing else.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use deploy::elf::{Architecture, HEAD, Program};

use crate::failure::{Exit, Failure, Result};

/// The variable that names the program if `--binary` does not.
pub(super) const VARIABLE: &str = "FLOWMILL_BINARY";

/// The named program, or the first suitable one among this program and those next to it.
pub(super) fn find(named: Option<&Path>, wanted: Architecture) -> Result<PathBuf> {
    if let Some(path) = named {
        return match kind(path)? {
            Some(program) if !program.is_static => Err(unfit(
                path,
                "is dynamically linked, and the image contains no libraries",
            )),
            Some(program) if program.architecture != Some(wanted) => {
                Err(unfit(path, &format!("is not built for linux/{wanted}")))
            }
            Some(_) => Ok(path.to_owned()),
            None => Err(unfit(path, "is not a Linux program")),
        };
    }
    let own = std::env::current_exe().map_err(|error| {
        Failure::new(
            Exit::NotReady,
            format!("cannot determine the path of this program: {error}"),
        )
    })?;
    for path in candidates(&own, wanted) {
        let fits = Program {
            architecture: Some(wanted),
            is_static: true,
        };
        if kind(&path).ok().flatten() == Some(fits) {
            return Ok(path);
        }
    }
    Err(Failure::new(
        Exit::NotReady,
        format!(
            "the image needs a static flowmill for linux/{wanted}, and neither this program nor one next to it ({}) is suitable",
            sibling(wanted)
        ),
    )
    .hint(format!(
        "in a checkout of flowmill, `scripts/dist` builds one; name it with --binary PATH or {VARIABLE}"
    )))
}

/// Where a suitable program may be, best first: this program; one installed next to it; the one
/// that `scripts/dist` built in the checkout that this program was built in.
fn candidates(own: &Path, wanted: Architecture) -> Vec<PathBuf> {
    let mut paths = vec![own.to_owned()];
    if let Some(folder) = own.parent() {
        paths.push(folder.join(sibling(wanted)));
        paths.push(folder.join("flowmill-static"));
        if let Some(target) = folder.parent() {
            paths.push(
                target
                    .join(format!("{}-unknown-linux-gnu", wanted.of_target()))
                    .join("dist/flowmill"),
            );
        }
    }
    paths
}

fn sibling(wanted: Architecture) -> String {
    format!("flowmill-static-{}", wanted.of_target())
}

fn kind(path: &Path) -> Result<Option<Program>> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD as u64).read_to_end(&mut head));
    match read {
        Ok(_) => Ok(Program::of(&head)),
        Err(error) => Err(Failure::new(
            Exit::Io,
            format!("`{}` cannot be read: {error}", path.display()),
        )),
    }
}

fn unfit(path: &Path, why: &str) -> Failure {
    Failure::new(Exit::NotReady, format!("`{}` {why}", path.display()))
        .hint("in a checkout of flowmill, `scripts/dist` builds a static one")
}
