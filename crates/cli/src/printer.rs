//! The only writer to stdout and stderr. Data goes to stdout, everything else to stderr.
//!
//! Colour follows the stream: none when it is piped, when `NO_COLOR` is set or `TERM=dumb`; `CLICOLOR`,
//! `CLICOLOR_FORCE` and `--color` are honoured. A reader that went away (`| head`) is no error.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use lang::visible;

use crate::failure::{Exit, Failure, Result, render_warning};

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless the environment says otherwise.
    #[default]
    Auto,
    /// Also into pipes.
    Always,
    /// Never.
    Never,
}

/// Applies `--color` to the whole process.
pub(crate) fn set_color(color: Color) {
    match color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// Writes data to stdout: `text` and a line end. Into a pipe or a file it goes exactly as it is; on a
/// terminal, characters that it would not show but act on are escaped as in JSON.
pub(crate) fn data(text: &str) -> Result<()> {
    let out = io::stdout();
    if out.is_terminal() {
        write(out.lock(), &visible::escaped(text))
    } else {
        write(out.lock(), text)
    }
}

/// Writes what only people read to stdout, and may have colours of ours: a line end follows.
pub(crate) fn readable(text: &str) -> Result<()> {
    write(
        anstream::stdout().lock(),
        &visible::escaped_but_styles(text),
    )
}

fn write(mut out: impl io::Write, text: &str) -> Result<()> {
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Io,
            format!("the output could not be written: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Writes a line for people to stderr. There is nobody left to tell when that fails.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", visible::escaped(text));
}

/// The same of a text that has colours, in which everything that others wrote is escaped already.
pub(crate) fn styled_note(text: &str) {
    let text = visible::escaped_but_styles(text);
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Prints why a command failed to stderr.
pub(crate) fn failure(failure: &Failure) {
    styled_note(&failure.render());
}

/// Prints a warning to stderr.
pub(crate) fn warning(message: &str) {
    styled_note(&render_warning(message));
}

/// Writes what clap has to say: help to stdout, mistakes to stderr.
pub(crate) fn usage(error: &clap::Error) {
    let text = visible::escaped_but_styles(&error.render().ansi().to_string());
    let _ = if error.use_stderr() {
        write!(anstream::stderr().lock(), "{text}")
    } else {
        write!(anstream::stdout().lock(), "{text}")
    };
}

/// How rich stdout is.
pub(crate) fn stdout_look() -> Look {
    Look::of(
        anstream::AutoStream::choice(&io::stdout()),
        io::stdout().is_terminal(),
    )
}

/// How rich stderr is.
pub(crate) fn stderr_look() -> Look {
    Look::of(
        anstream::AutoStream::choice(&io::stderr()),
        io::stderr().is_terminal(),
    )
}

/// What a stream can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Styled text is shown as such.
    pub color: bool,
    /// A person watches.
    pub terminal: bool,
    /// Columns.
    pub width: usize,
}

impl Look {
    /// Text in a pipe or a file is not fitted to anybody's window.
    const UNBOUNDED: usize = 140;

    /// Plain, and not fitted.
    #[cfg(test)]
    pub(crate) const PIPE: Self = Self {
        color: false,
        terminal: false,
        width: Self::UNBOUNDED,
    };

    fn of(choice: anstream::ColorChoice, terminal: bool) -> Self {
        let color = matches!(
            choice,
            anstream::ColorChoice::Always | anstream::ColorChoice::AlwaysAnsi
        );
        let width = if terminal {
            console::Term::stderr().size().1.into()
        } else {
            Self::UNBOUNDED
        };
        Self {
            color,
            terminal,
            width,
        }
    }
}
