//! Finding the program that goes into the image. It has to be static: the image holds nothing else.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use deploy::elf::{Architecture, HEAD, Program};

use crate::failure::{Exit, Failure, Result};

/// Names the program; below `--binary`.
pub(super) const VARIABLE: &str = "FLOWMILL_BINARY";

/// The program named, or the first fitting one of this program itself and those beside it.
pub(super) fn find(named: Option<&Path>, wanted: Architecture) -> Result<PathBuf> {
    if let Some(path) = named {
        return match kind(path)? {
            Some(program) if !program.is_static => Err(unfit(
                path,
                "is dynamically linked: the image holds no libraries for it",
            )),
            Some(program) if program.architecture != Some(wanted) => {
                Err(unfit(path, &format!("is not made for linux/{wanted}")))
            }
            Some(_) => Ok(path.to_owned()),
            None => Err(unfit(path, "is no Linux program")),
        };
    }
    let own = std::env::current_exe().map_err(|error| {
        Failure::new(
            Exit::NotReady,
            format!("this program cannot tell where it is: {error}"),
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
            "the image needs a static flowmill for linux/{wanted}, and neither this one nor one beside it ({}) is that",
            sibling(wanted)
        ),
    )
    .hint(format!(
        "in a checkout of flowmill, `scripts/dist` builds one; name it with --binary PATH or {VARIABLE}"
    )))
}

/// Where one may be, best first: this program; one installed beside it; what `scripts/dist` built in the
/// checkout that this program was built in.
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
