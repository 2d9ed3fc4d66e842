//! Improves clap's error messages: a value from an environment variable is reported under the
//! variable's name, and advice that cannot help is removed.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error};

use crate::config::environment::Environment;

/// Improves clap's message about a command line that `command` refuses.
pub(super) fn explain(error: &mut Error, environment: &Environment, command: Command) {
    match error.kind() {
        // If no option is similar, clap suggests `--`, which would turn the option into a file
        // name.
        ErrorKind::UnknownArgument if error.get(ContextKind::SuggestedArg).is_none() => {
            error.remove(ContextKind::Suggested);
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            if let Some(name) = variable_of(error, environment, command) {
                error.insert(ContextKind::InvalidArg, ContextValue::String(name));
            }
        }
        _ => {}
    }
}

/// The variable that an invalid value came from: it belongs to the option and is set to that value,
/// and the option is not on the command line.
fn variable_of(error: &Error, environment: &Environment, mut command: Command) -> Option<String> {
    let ContextValue::String(shown) = error.get(ContextKind::InvalidArg)? else {
        return None;
    };
    let ContextValue::String(value) = error.get(ContextKind::InvalidValue)? else {
        return None;
    };
    command.build();
    let arg = find(&command, shown)?;
    let is_on_the_line = std::env::args_os().skip(1).any(|word| names(&arg, &word));
    let name = arg.get_env()?.to_str()?;
    let is_its_value = environment
        .variable(name)
        .is_some_and(|set| set.contains(value.as_str()));
    (is_its_value && !is_on_the_line).then(|| name.to_owned())
}

/// The option that clap displays as `shown`, in any command.
fn find(command: &Command, shown: &str) -> Option<Arg> {
    let here = command.get_arguments().find(|arg| arg.to_string() == shown);
    here.cloned().or_else(|| {
        command
            .get_subcommands()
            .find_map(|command| find(command, shown))
    })
}

/// Whether a word of the command line is this option, with or without a value.
fn names(arg: &Arg, word: &OsString) -> bool {
    let word = word.to_string_lossy();
    let long = arg.get_long().is_some_and(|long| {
        word.strip_prefix("--")
            .is_some_and(|rest| rest == long || rest.starts_with(&format!("{long}=")))
    });
    let short = arg
        .get_short()
        .is_some_and(|short| word.starts_with(&format!("-{short}")));
    long || short
}
