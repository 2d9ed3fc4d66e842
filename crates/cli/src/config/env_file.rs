//! Files of variables: `.env` of the working directory, and what `deploy --env-file` names.
//!
//! A line that cannot be read is an error, never skipped: it may hold the API keys without which a
//! server would be open to everyone.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use lang::workflow::is_variable_name;

use super::secret::Secret;
use super::text;
use crate::failure::{Failure, Result};

/// The file that is read by default.
pub(crate) const DEFAULT: &str = ".env";

/// Every Python virtual environment has this file, and such a folder is often called `.env`.
const VIRTUAL_ENVIRONMENT: &str = "pyvenv.cfg";

/// Prefix of the variables that are flowmill's own.
const OWN: &str = "FLOWMILL_";

/// A file of variables, read and parsed.
pub(crate) struct EnvFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) variables: HashMap<String, Secret>,
}

impl EnvFile {
    /// Reads `.env`; `None` if there is no such file, or if it is a Python virtual environment.
    pub(crate) fn find() -> Result<Option<Self>> {
        let path = Path::new(DEFAULT);
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            _ if path.join(VIRTUAL_ENVIRONMENT).is_file() => Ok(None),
            _ => Self::read(path).map(Some),
        }
    }

    /// Reads a file. The error names every line that cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = text::read(path)?;
        let variables = parse(&text).map_err(|problems| {
            let shown = path.display();
            Failure::usage(format!("`{shown}` cannot be read as variables"))
                .details(problems)
                .hint(
                    "write one NAME=value per line, and quote values that contain spaces, quotes or #",
                )
        })?;
        Ok(Self {
            path: path.to_owned(),
            text,
            variables,
        })
    }
}

/// Parses variables. Error messages never contain any part of a value, which may be a secret.
pub(crate) fn parse(text: &str) -> Result<HashMap<String, Secret>, Vec<String>> {
    // Accept a byte order mark, as editors on Windows write it, and line ends of every kind.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut text = text.replace("\r\n", "\n").replace('\r', "\n");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let delivered = Cell::new(0);
    let lines = Lines {
        rest: text.as_bytes(),
        delivered: &delivered,
    };
    let all: Vec<&str> = text.lines().collect();
    let (mut variables, mut problems) = (HashMap::new(), Vec::new());
    for entry in dotenvy::from_read_iter(lines) {
        let last = delivered.get();
        match entry {
            Ok((name, value)) => {
                problems.extend(swallowed(&name, &value, last));
                let line = all.get(last - 1).copied().unwrap_or_default();
                if value.trim().is_empty() && line.contains('$') {
                    problems.push(format!(
                        "line {last}: the value of {name} is empty because it refers with `$` to a variable that is not set; write `\\$` for a dollar sign"
                    ));
                }
                // The last line wins, as in a shell.
                variables.insert(name, Secret::from(value));
            }
            Err(error) => problems.push(unreadable(&error, &all, last)),
        }
    }
    if problems.is_empty() {
        Ok(variables)
    } else {
        Err(problems)
    }
}

/// Finds a flowmill variable inside the quotes of another value: a closing quote was forgotten, and
/// the variable would not be set.
fn swallowed(name: &str, value: &str, last: usize) -> Option<String> {
    let first = last.saturating_sub(value.matches('\n').count());
    let inner = value.lines().skip(1).find_map(|line| {
        let (inner, _) = line.split_once('=')?;
        let inner = inner.trim().trim_start_matches("export ").trim();
        (inner.starts_with(OWN) && is_variable_name(inner)).then(|| inner.to_owned())
    })?;
    Some(format!(
        "line {first}: the quotes in the value of {name} are closed only after {inner}, so {inner} is not set; close them on the same line"
    ))
}

/// The message for a line that cannot be read: its number, and its variable if it names one.
fn unreadable(error: &dotenvy::Error, lines: &[&str], last: usize) -> String {
    // What could not be read, without what stands before it on its first line.
    let rest = match error {
        dotenvy::Error::LineParse(rest, _) => rest.strip_suffix('\n').unwrap_or(rest),
        _ => "",
    };
    let first = last.saturating_sub(rest.matches('\n').count()).max(1);
    let line = lines.get(first - 1).copied().unwrap_or_default();
    let name = line.split_once('=').map(|(name, _)| name.trim());
    let name = name.map(|name| name.trim_start_matches("export ").trim());
    match name.filter(|name| is_variable_name(name)) {
        Some(name) if rest.contains('\n') => {
            format!("line {first}: the quotes in the value of {name} are not closed")
        }
        Some(name) => {
            format!("line {first}: the value of {name} cannot be read; put it in quotes")
        }
        None => {
            format!(
                "line {first} is not NAME=value; correct it, or begin it with # to turn it into a comment"
            )
        }
    }
}

/// Delivers one line at a time, so that it is known how far a reader has come.
struct Lines<'a> {
    rest: &'a [u8],
    delivered: &'a Cell<usize>,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.rest.len().min(buffer.len());
        let line = self.rest[..most].iter().position(|byte| *byte == b'\n');
        let length = line.map_or(most, |end| end + 1);
        #[cfg(test)]
        testing::work::count(length);
        let (now, rest) = self.rest.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.rest = rest;
        if now.ends_with(b"\n") {
            self.delivered.set(self.delivered.get() + 1);
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_variables_take_linear_work() {
        for (begin, middle, end) in [
            ("", "A=1\n", ""),
            ("A=", "x", "\n"),
            ("A=\"", "x\n", "\"\n"),
            ("A=\"", "B=1\n", ""),
            ("", "# x\n", ""),
            ("", "no variable\n", ""),
            ("", "A=a b c\n", ""),
        ] {
            testing::work::grows_linearly(
                &format!("a file of {begin:?}, {middle:?}, {end:?}"),
                |times| format!("{begin}{}{end}", middle.repeat(times)),
                |text| match parse(&text) {
                    Ok(variables) => variables.len(),
                    Err(problems) => problems.iter().map(String::len).sum(),
                },
            );
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let variables = parse(text).expect(text);
        assert_eq!(variables.len(), expected.len(), "{text:?}");
        for (name, value) in expected {
            assert_eq!(variables[*name].reveal(), *value, "{text:?}");
        }
    }

    #[track_caller]
    fn check_problems(text: &str, expected: &[&str]) {
        let problems = parse(text).expect_err(text);
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.contains(expected), "{text:?}: {problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
    }

    #[test]
    fn a_byte_order_mark_does_not_hide_the_first_variable() {
        check(
            "\u{feff}FLOWMILL_API_KEYS=k\n",
            &[("FLOWMILL_API_KEYS", "k")],
        );
    }

    #[test]
    fn line_ends_of_every_kind_end_a_line() {
        check(
            "A=1\r\n# c\rB=2\rC=3",
            &[("A", "1"), ("B", "2"), ("C", "3")],
        );
        check("A=1 ", &[("A", "1")]);
        check("\n\n# only a comment", &[]);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_numbered() {
        check_problems(
            "# c\n\nGOOD=1\n  secret-alone\nBAD=a secret\nexport WORSE='secret\nMORE=1\n",
            &[
                "line 4 is not NAME=value",
                "line 5: the value of BAD cannot be read",
                "line 6: the quotes in the value of WORSE are not closed",
            ],
        );
    }

    #[test]
    fn keys_inside_the_quotes_of_another_value_are_missed() {
        check_problems(
            "A=1\nTITLE=it's\nFLOWMILL_API_KEYS=secret\nEND=it's\n",
            &["line 2: the quotes in the value of TITLE are closed only after FLOWMILL_API_KEYS"],
        );
        check("PEM=\"a\nb==\n\"\n", &[("PEM", "a\nb==\n")]);
    }

    #[test]
    fn a_value_that_comes_to_nothing_is_missed() {
        check_problems(
            "FLOWMILL_API_KEYS=$NOTSET\n",
            &["line 1: the value of FLOWMILL_API_KEYS is empty because"],
        );
        check("EMPTY=\n", &[("EMPTY", "")]);
    }
}
