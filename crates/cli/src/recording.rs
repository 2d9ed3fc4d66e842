//! The cassette that `--record` names. It is written to a second file, which replaces the named one
//! only once it contains an answer, so that a run that never started destroys nothing.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use llm::cassette;

use crate::config::text;
use crate::failure::{Exit, Failure, Result};
use crate::printer;

/// When a recording replaces the named file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishAt {
    /// At the end of the run: one run is one cassette.
    RunEnd,
    /// At the first answer of a model: a server has no end to wait for.
    FirstReply,
}

/// A cassette that is being recorded. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Recording(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    file: File,
    /// The path as the user wrote it.
    shown: String,
    path: PathBuf,
    /// The file that is written first; `None` once it has replaced the named one, and for pipes and
    /// devices.
    part: Option<PathBuf>,
    publish_at: PublishAt,
    /// An existing cassette is replaced.
    is_replacement: bool,
    has_reply: bool,
}

impl Recording {
    /// Begins a cassette. An existing file must itself be a cassette; one that contains exchanges
    /// is replaced only with `force`, or if the user agrees at the terminal.
    pub(crate) fn begin(path: &Path, force: bool, publish_at: PublishAt) -> Result<Self> {
        let shown = path.display().to_string();
        // Follow a link: its target is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let existing = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                let message = format!("`{shown}` is a directory, not a file");
                return Err(Failure::new(Exit::Io, message));
            }
            Ok(metadata) if metadata.is_file() => Existing::of(&path)?,
            // A pipe or a device has no content to lose and is not replaced.
            Ok(_) => {
                let file = OpenOptions::new().write(true).open(&path);
                let file = file.map_err(|error| Failure::unwritable(&path, &error))?;
                return Ok(Self::new(file, shown, path, None, publish_at));
            }
            Err(_) => Existing::Nothing,
        };
        existing.may_be_replaced(&path, force)?;
        let part = part_of(&path);
        let file = open_part(&part)?;
        let recording = Self::new(file, shown, path, Some(part), publish_at);
        recording.state().is_replacement = existing == Existing::Exchanges;
        Ok(recording)
    }

    fn new(
        file: File,
        shown: String,
        path: PathBuf,
        part: Option<PathBuf>,
        publish_at: PublishAt,
    ) -> Self {
        Self(Arc::new(Mutex::new(State {
            file,
            shown,
            path,
            part,
            publish_at,
            is_replacement: false,
            has_reply: false,
        })))
    }

    /// Notes that the first answer of a model has been written.
    pub(crate) fn has_reply(&self) -> io::Result<()> {
        let mut state = self.state();
        state.has_reply = true;
        if state.publish_at == PublishAt::FirstReply {
            state.publish()?;
        }
        Ok(())
    }

    /// Ends the recording. Without any answer it is discarded; a failed run does not replace an
    /// existing cassette, and its recording remains in the second file.
    pub(crate) fn end(&self, is_success: bool) -> Result<()> {
        let mut state = self.state();
        let Some(part) = state.part.clone() else {
            return Ok(());
        };
        let path = state.shown.clone();
        if !state.has_reply {
            state.discard();
            printer::note(&format!(
                "nothing was recorded because no model answered; {path} is unchanged"
            ));
        } else if is_success || !state.is_replacement {
            state
                .publish()
                .map_err(|error| Failure::unwritable(&state.path, &error))?;
        } else {
            state.part = None;
            printer::note(&format!(
                "the run did not succeed: {path} is unchanged, the recording is in {}",
                part.display()
            ));
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Recording {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.state().file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.state().file.flush()
    }
}

impl State {
    fn publish(&mut self) -> io::Result<()> {
        if let Some(part) = &self.part {
            fs::rename(part, &self.path)?;
            self.part = None;
        }
        Ok(())
    }

    fn discard(&mut self) {
        if let Some(part) = self.part.take() {
            // A file that remains says by its name what it is.
            let _ = fs::remove_file(part);
        }
    }
}

impl Drop for State {
    /// A recording without any answer leaves nothing behind.
    fn drop(&mut self) {
        if !self.has_reply {
            self.discard();
        }
    }
}

/// What exists under the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    /// No file, or an empty one, or a cassette without exchanges.
    Nothing,
    /// A cassette.
    Exchanges,
    /// Anything else.
    NoCassette,
}

impl Existing {
    fn of(path: &Path) -> Result<Self> {
        let unreadable = |error: io::Error| Failure::unreadable(path, &error);
        let file = File::open(path).map_err(unreadable)?;
        let mut head = Vec::new();
        file.take(cassette::MAX_HEADER_BYTES + 1)
            .read_to_end(&mut head)
            .map_err(unreadable)?;
        let (first, rest) = match head.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&head[..end], &head[end..]),
            None => (&head[..], &[][..]),
        };
        Ok(if head.trim_ascii().is_empty() {
            Self::Nothing
        } else if !cassette::is_header(first) {
            Self::NoCassette
        } else if rest.trim_ascii().is_empty() {
            Self::Nothing
        } else {
            Self::Exchanges
        })
    }

    fn may_be_replaced(self, path: &Path, force: bool) -> Result<()> {
        let shown = path.display();
        match self {
            Self::Nothing => Ok(()),
            Self::NoCassette => Err(Failure::new(
                Exit::Io,
                format!("`{shown}` exists and is not a cassette: --record does not replace it"),
            )
            .hint("name a new file, such as `--record tape.jsonl`")),
            Self::Exchanges if force => Ok(()),
            Self::Exchanges => {
                let question = format!("{shown} is a cassette already\nreplace it?");
                if text::ask(&question)? == Some(true) {
                    return Ok(());
                }
                Err(
                    Failure::new(Exit::Io, format!("`{shown}` is a cassette already")).hint(
                        "name a new file, or add --force to replace it once the run succeeds",
                    ),
                )
            }
        }
    }
}

/// `tape.jsonl` → `tape.jsonl.part`
fn part_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".part");
    name.into()
}

/// Opens the second file, for one writer at a time.
fn open_part(part: &Path) -> Result<File> {
    let open = || {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(part)?;
        file.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::new(
                ErrorKind::ResourceBusy,
                "another process is recording to it",
            ),
            fs::TryLockError::Error(error) => error,
        })?;
        file.set_len(0)?;
        Ok(file)
    };
    open().map_err(|error: io::Error| Failure::unwritable(part, &error))
}
