//! The inputs of a run: `--inputs` and `--input`, typed by the workflow's schema.
//!
//! Owns how text becomes a value; whether the value fits is for `lang` to say.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lang::types::Type;
use lang::workflow::{AdditionalInputs, Workflow};
use lang::{json, suggest};
use serde_json::{Map, Value};

use crate::config::text;
use crate::failure::{Exit, Failure, Result};
use crate::printer;

/// How inputs are given.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Inputs")]
#[group(skip)]
pub(super) struct Args {
    /// One input, typed by the workflow: text as it is; lists, dicts and objects as JSON;
    /// NAME=@FILE takes the file's content (NAME=@- stdin's), NAME=@@… a text that begins with @
    #[arg(short, long = "input", value_name = "NAME=VALUE")]
    input: Vec<String>,

    /// All inputs from a JSON or YAML file, or from stdin with -; --input goes over it
    #[arg(long, value_name = "FILE")]
    inputs: Option<PathBuf>,
}

/// Why an integer is refused rather than rounded.
const TOO_LARGE: &str =
    "an integer beyond 64 bits cannot be kept exactly; give it as text, in quotes";

/// What was given, not yet checked against the workflow.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// By name.
    pub values: Map<String, Value>,
    /// Inputs whose text is not the JSON it has to be: name and reason.
    pub unreadable: Vec<(String, String)>,
}

/// Reads what was given. Names the workflow does not know are pointed out when it would silently
/// drop them.
pub(super) fn read(args: &Args, workflow: &Workflow) -> Result<Given> {
    let mut given = Given::default();
    if let Some(path) = &args.inputs {
        given = read_all(path)?;
    }
    for input in &args.input {
        let Some((name, text)) = input.split_once('=') else {
            return Err(
                Failure::usage(format!("`--input {input}` is not NAME=VALUE")).hint(
                    "write for example --input topic=bees, or give a file with --inputs FILE",
                ),
            );
        };
        let name = name.trim();
        let (text, file) = content(name, text)?;
        let field = workflow.fields.iter().find(|field| field.name == name);
        match typed(text, file.as_deref(), field.map(|field| &field.ty)) {
            Ok(value) => {
                given.values.insert(name.to_owned(), value);
            }
            Err(reason) => given.unreadable.push((name.to_owned(), reason)),
        }
    }
    if workflow.additional_inputs == AdditionalInputs::Allow {
        for name in given.values.keys() {
            if let Some(way_out) = unknown(name, workflow) {
                printer::warning(&format!(
                    "the workflow has no input `{name}`, so it is ignored; {way_out}"
                ));
            }
        }
    }
    Ok(given)
}

/// The way out for an input name that is no field; `None` for one that is.
pub(super) fn unknown(name: &str, workflow: &Workflow) -> Option<String> {
    let known = workflow.fields.iter().map(|field| field.name.as_str());
    if known.clone().any(|field| field == name) {
        return None;
    }
    suggest::Suggestion::among(name, known).map(|suggestion| suggestion.text)
}

/// Resolves `@file`, `@-` and `@@`; returns the file for its extension.
fn content(name: &str, text: &str) -> Result<(String, Option<PathBuf>)> {
    match text.strip_prefix('@') {
        None => Ok((text.to_owned(), None)),
        Some(rest) if rest.starts_with('@') => Ok((rest.to_owned(), None)),
        Some("-") => Ok((text::read_stdin()?, None)),
        Some(path) => {
            let read = text::read(Path::new(path));
            let text = read.map_err(|failure| {
                failure.hint(format!(
                    "for a text that begins with @, write {name}=@@{path}"
                ))
            })?;
            Ok((text, Some(PathBuf::from(path))))
        }
    }
}

/// Text as a value of that type. Scalars stay text: `lang` coerces them as it does everywhere.
fn typed(text: String, file: Option<&Path>, ty: Option<&Type>) -> Result<Value, String> {
    match ty {
        None | Some(Type::Str) => Ok(Value::String(text)),
        Some(Type::Int | Type::Float | Type::Bool) if text.trim() == "null" => Ok(Value::Null),
        // A number in a file has a line end behind it.
        Some(Type::Int | Type::Float | Type::Bool) => Ok(Value::String(text.trim().to_owned())),
        Some(Type::List(_)) => structured(&text, file, "a list, such as [\"a\", \"b\"]"),
        Some(Type::Dict(_) | Type::Object(_)) => {
            structured(&text, file, "an object, such as {\"key\": \"value\"}")
        }
    }
}

fn structured(text: &str, file: Option<&Path>, example: &str) -> Result<Value, String> {
    if file.is_some_and(is_yaml) {
        return serde_norway::from_str(text).map_err(|error| format!("not YAML: {error}"));
    }
    json::read(text).map_err(|error| match error {
        json::Error::IntegersTooLarge { .. } => TOO_LARGE.to_owned(),
        error => format!("not JSON: {error}; write {example}"),
    })
}

/// A whole file of inputs. Its extension says what it is; without a telling one, what it begins
/// with does.
fn read_all(path: &Path) -> Result<Given> {
    let (text, shown) = if path == Path::new("-") {
        (text::read_stdin()?, "stdin".to_owned())
    } else {
        (text::read(path)?, format!("`{}`", path.display()))
    };
    let is_json = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let mut unreadable = Vec::new();
    let parsed = if is_json || (!is_yaml(path) && text.trim_start().starts_with(['{', '['])) {
        match json::read(&text) {
            Err(json::Error::IntegersTooLarge { integers, value }) => {
                integers.each(|path, _| {
                    let name = path.first().map(ToString::to_string).unwrap_or_default();
                    if unreadable.last().is_none_or(|(last, _)| *last != name) {
                        unreadable.push((name, TOO_LARGE.to_owned()));
                    }
                    ControlFlow::Continue(())
                });
                Ok(*value)
            }
            read => read.map_err(|error| format!("{shown} is not JSON: {error}")),
        }
    } else {
        serde_norway::from_str(&text).map_err(|error| format!("{shown} is not YAML: {error}"))
    };
    match parsed {
        Ok(Value::Object(values)) => Ok(Given { values, unreadable }),
        Ok(_) => Err(Failure::new(
            Exit::Invalid,
            format!("{shown} is not a mapping from input names to values"),
        )),
        Err(message) => Err(Failure::new(Exit::Invalid, message)),
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        extension.eq_ignore_ascii_case("yaml") || extension.eq_ignore_ascii_case("yml")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(ty: &Type, text: &str, expected: Value) {
        assert_eq!(
            typed(text.to_owned(), None, Some(ty)),
            Ok(expected),
            "{text} as {ty:?}"
        );
    }

    #[test]
    fn text_is_read_by_the_type_of_its_field() {
        check(&Type::Str, "5", json!("5"));
        check(&Type::Str, "null", json!("null"));
        check(&Type::Str, " [1] \n", json!(" [1] \n"));
        check(&Type::Int, "5\n", json!("5"));
        check(&Type::Float, "null", json!(null));
        check(&Type::List(None), "[1, \"a\"]", json!([1, "a"]));
        check(&Type::Dict(None), "{\"a\": {}}", json!({"a": {}}));
        check(&Type::Object(None), "{}", json!({}));
    }

    #[test]
    fn text_that_is_no_json_says_what_to_write() {
        let reason = typed("a, b".to_owned(), None, Some(&Type::List(None))).expect_err("no JSON");
        assert!(
            reason.starts_with("not JSON: ")
                && reason.ends_with("write a list, such as [\"a\", \"b\"]"),
            "{reason}"
        );
    }

    #[test]
    fn an_at_sign_can_be_escaped() {
        assert_eq!(content("x", "@@ada").expect("no file").0, "@ada");
        let failure = content("x", "@no-such-file").expect_err("no such file");
        assert_eq!(
            failure.hint.as_deref(),
            Some("for a text that begins with @, write x=@@no-such-file")
        );
    }
}
