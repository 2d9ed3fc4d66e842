//! The only writer to stdout and stderr. Data goes to stdout, everything else to stderr.
//!
//! Colour follows the stream: there is none in a pipe, with `NO_COLOR`, or with `TERM=dumb`;
//! `CLICOLOR`, `CLICOLOR_FORCE` and `--color` are honoured. A reader that closes the pipe (`|
//! head`) is not an error.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use lang::visible;

use crate::failure::{Exit, Failure, Result, render_warning};

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless the environment says otherwise.
    #[default]
    Auto,
    /// Always, also into pipes.
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

/// Writes data to stdout: `text` and a line end. In a pipe or a file it stands unchanged; on a
/// terminal, control characters are escaped as in JSON.
pub(crate) fn data(text: &str) -> Result<()> {
    let out = io::stdout();
    if out.is_terminal() {
        write(out.lock(), &visible::escaped(text))
    } else {
        write(out.lock(), text)
    }
}

/// Writes text for people to stdout, with a line end. It may contain our own colours.
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

/// Writes a line for people to stderr. A failure to do so is ignored: there is no other place to
/// report it.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", visible::escaped(text));
}

/// Writes a text with colours to stderr. Everything in it that others wrote must be escaped
/// already.
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

/// Prints clap's message: help to stdout, errors to stderr.
pub(crate) fn usage(error: &clap::Error) {
    let text = visible::escaped_but_styles(&error.render().ansi().to_string());
    let _ = if error.use_stderr() {
        write!(anstream::stderr().lock(), "{text}")
    } else {
        write!(anstream::stdout().lock(), "{text}")
    };
}

/// What stdout can show.
pub(crate) fn stdout_look() -> Look {
    Look::of(
        anstream::AutoStream::choice(&io::stdout()),
        io::stdout().is_terminal(),
    )
}

/// What stderr can show.
pub(crate) fn stderr_look() -> Look {
    Look::of(
        anstream::AutoStream::choice(&io::stderr()),
        io::stderr().is_terminal(),
    )
}

/// What a stream can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Colours are shown.
    pub color: bool,
    /// The stream is a terminal.
    pub terminal: bool,
    /// Width in columns.
    pub width: usize,
}

impl Look {
    /// Text in a pipe or a file is not fitted to a window.
    const UNBOUNDED: usize = 140;

    /// Plain, and not fitted to a window.
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
