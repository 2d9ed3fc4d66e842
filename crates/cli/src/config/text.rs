//! Reading and writing text files, with messages a user can act on.

use std::fs::{self, File};
use std::io::{self, ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use lang::source::Source;

use crate::failure::{Exit, Failure, Result};
use crate::printer;

/// Longest file that is read, in bytes: more than any workflow, inputs or cassette needs.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Reads a UTF-8 file.
pub(crate) fn read(path: &Path) -> Result<String> {
    let shown = path.display();
    let unreadable = |error: &io::Error| match error.kind() {
        ErrorKind::NotFound => Failure::new(Exit::Io, format!("`{shown}` does not exist")),
        ErrorKind::PermissionDenied => Failure::new(
            Exit::Io,
            format!("`{shown}` cannot be read: permission denied"),
        ),
        ErrorKind::IsADirectory => {
            Failure::new(Exit::Io, format!("`{shown}` is a directory, not a file"))
        }
        _ => Failure::unreadable(path, error),
    };
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let bytes = read_bounded(file).map_err(|error| unreadable(&error))?;
    decode(bytes, &format!("`{shown}`"))
}

/// Reads stdin to its end.
pub(crate) fn read_stdin() -> Result<String> {
    let bytes = read_bounded(io::stdin().lock())
        .map_err(|error| Failure::new(Exit::Io, format!("stdin could not be read: {error}")))?;
    decode(bytes, "stdin")
}

/// Asks a yes-or-no question. `None` if stdin or stderr is not a terminal.
pub(crate) fn ask(question: &str) -> Result<Option<bool>> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    printer::note(&format!("{question} [y/N]"));
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::new(Exit::Io, format!("stdin could not be read: {error}")))?;
    Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes")))
}

/// Reads the text of a workflow file; `lang` checks it.
pub(crate) fn read_workflow(path: &Path) -> Result<Source> {
    let text = read(path).map_err(|failure| {
        if path.is_dir() {
            failure.hint(format!(
                "give the workflow file in it, such as `{}`",
                path.join("workflow.yaml").display()
            ))
        } else if !path.exists() {
            failure.hint("`flowmill init` writes a workflow to start from")
        } else {
            failure
        }
    })?;
    Ok(Source {
        name: path.display().to_string().into(),
        text: text.into(),
    })
}

/// Creates a file with that text. An existing file is replaced only with `overwrite`.
pub(crate) fn write_new(path: &Path, text: &str, overwrite: bool) -> Result<()> {
    let shown = path.display();
    let unwritable = |error: &io::Error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(Exit::Io, format!("`{shown}` exists already"))
            .hint("choose another name, or add --force to overwrite it"),
        _ => Failure::unwritable(path, error),
    };
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder).map_err(|error| unwritable(&error))?;
    }
    let mut options = fs::OpenOptions::new();
    options.write(true);
    if overwrite {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut file = options.open(path).map_err(|error| unwritable(&error))?;
    file.write_all(text.as_bytes())
        .map_err(|error| unwritable(&error))
}

/// Reads to the end, or fails beyond [`MAX_BYTES`]: a device or a mistaken name must not fill the
/// memory.
fn read_bounded(reader: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            "it is larger than 64 MiB",
        ));
    }
    Ok(bytes)
}

fn decode(bytes: Vec<u8>, shown: &str) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..at];
        let line = before.split(|byte| *byte == b'\n').count();
        let seems = match error.as_bytes() {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it seems to be UTF-16".to_owned(),
            _ => format!("line {line} has another encoding, such as Latin-1"),
        };
        Failure::new(Exit::Io, format!("{shown} is not UTF-8 text (byte {at})"))
            .hint(format!("save it as UTF-8; {seems}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_reader_is_refused() {
        let error = read_bounded(io::repeat(b'x')).expect_err("endless");
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn bad_utf8_is_named_with_its_place() {
        let failure = decode(b"ab\xff".to_vec(), "`x.yaml`").expect_err("not UTF-8");
        assert_eq!(failure.message, "`x.yaml` is not UTF-8 text (byte 2)");
    }
}
