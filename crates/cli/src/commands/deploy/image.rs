//! Creates the image: its one layer is passed to the engine as a tar archive.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use ::deploy::elf::Architecture;
use ::deploy::image::{Content, Entry, Image};
use ::deploy::plan::PROGRAM;
use tar::{Builder, EntryType, Header};

use super::docker::{docker, not_started, refused};
use crate::failure::{Exit, Failure, Result};

/// Creates the image of the package in a folder; returns its size in bytes.
pub(super) fn build(
    name: &str,
    folder: &Path,
    parts: &Image<'_>,
    platform: Option<Architecture>,
) -> Result<u64> {
    import(name, folder, parts, platform)?;
    let size = docker(["image", "inspect", "--format", "{{.Size}}", name])?;
    size.parse().map_err(|_| {
        Failure::new(
            Exit::Failed,
            format!("`docker image inspect` did not return a size: {size}"),
        )
    })
}

fn import(
    name: &str,
    folder: &Path,
    parts: &Image<'_>,
    platform: Option<Architecture>,
) -> Result<()> {
    let mut command = Command::new("docker");
    command.arg("import");
    for change in &parts.changes {
        command.arg("--change").arg(change);
    }
    if let Some(platform) = platform {
        command.arg("--platform").arg(format!("linux/{platform}"));
    }
    let mut child = command
        .args(["-", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| not_started("docker", &error))?;
    let input = child.stdin.take().expect("it is piped");
    let written = write_layer(input, folder, parts);
    let output = child
        .wait_with_output()
        .map_err(|error| not_started("docker", &error))?;
    // An engine that refuses stops reading; its own message says more.
    if !output.status.success() {
        return Err(refused("docker import", &output));
    }
    written.map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("could not pass the image to Docker: {error}"),
        )
    })
}

/// The same bytes for the same package: without times and user names.
fn write_layer(to: impl Write, folder: &Path, parts: &Image<'_>) -> io::Result<()> {
    let mut layer = Builder::new(to);
    for entry in &parts.entries {
        match entry.content {
            Content::Folder => append(&mut layer, entry, EntryType::Directory, 0, io::empty())?,
            Content::Text(text) => {
                let bytes = text.as_bytes();
                append(
                    &mut layer,
                    entry,
                    EntryType::Regular,
                    bytes.len() as u64,
                    bytes,
                )?;
            }
            Content::Program => {
                let program = File::open(folder.join(PROGRAM))?;
                let bytes = program.metadata()?.len();
                append(&mut layer, entry, EntryType::Regular, bytes, program)?;
            }
        }
    }
    layer.into_inner()?.flush()
}

fn append(
    layer: &mut Builder<impl Write>,
    entry: &Entry<'_>,
    kind: EntryType,
    bytes: u64,
    content: impl io::Read,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(entry.content.mode());
    header.set_uid(entry.owner.into());
    header.set_gid(entry.owner.into());
    header.set_mtime(0);
    header.set_size(bytes);
    layer.append_data(&mut header, &*entry.path, content)
}
