//! `flowmill init`: a commented workflow to start from.

use std::path::{Path, PathBuf};

use deploy::shell;

use crate::config::text;
use crate::failure::{Exit, Failure, Result};
use crate::printer;

/// The workflow that is written; [`NAME`] is the placeholder for its name.
const STARTER: &str = include_str!("starter.yaml");

/// The starter's own name, so that the template is itself a valid workflow.
const NAME: &str = "starter";

/// Placeholder for the file's path.
const FILE: &str = "THIS_FILE";

/// Write a commented workflow to start from
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  flowmill init\n  flowmill init greeter\n  flowmill init workflows/greeter.yaml"
)]
pub(super) struct Args {
    /// Name of the workflow, file to write, or folder for `workflow.yaml`
    #[arg(value_name = "NAME|FILE|FOLDER", default_value = "workflow")]
    target: String,

    /// Overwrite the file if it exists
    #[arg(short, long)]
    force: bool,
}

pub(super) fn init(args: &Args) -> Result<Exit> {
    let file = file_of(&args.target)?;
    let name = name_of(&file)?;
    let shown = shell::word(&file.display().to_string());
    text::write_new(&file, &starter(&name, &shown), args.force)?;
    printer::note(&format!(
        "wrote {shown}; next:\n  flowmill validate {shown}\n  flowmill run {shown} --input topic=bees --offline\n  flowmill serve {shown} --offline"
    ));
    Ok(Exit::Success)
}

/// A bare name becomes `NAME.yaml`; a file name is kept if its extension is that of a workflow
/// file.
fn file_of(target: &str) -> Result<PathBuf> {
    let path = PathBuf::from(target);
    if !target.is_empty() && (target.ends_with('/') || path.is_dir()) {
        return Ok(path.join("workflow.yaml"));
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some(extension)
            if extension.eq_ignore_ascii_case("yaml") || extension.eq_ignore_ascii_case("yml") =>
        {
            Ok(path)
        }
        Some(extension) => Err(Failure::usage(format!(
            "a workflow file ends in .yaml or .yml, not .{extension}"
        ))
        .hint(format!(
            "flowmill init {}",
            path.with_extension("yaml").display()
        ))),
        None if target.is_empty() => {
            Err(Failure::usage("the file needs a name").hint("flowmill init greeter"))
        }
        None => Ok(PathBuf::from(format!("{target}.yaml"))),
    }
}

/// The workflow's name: that of its file, without the extension.
fn name_of(file: &Path) -> Result<String> {
    let is_readable = file
        .to_str()
        .is_some_and(|path| !path.chars().any(char::is_control));
    let stem = file
        .file_stem()
        .and_then(|stem| stem.to_str())
        .map(str::trim)
        .unwrap_or_default();
    if stem.is_empty() || !is_readable {
        return Err(Failure::usage(format!(
            "`{}` does not give the workflow a readable name",
            file.display()
        )));
    }
    Ok(stem.to_owned())
}

/// The starter with that name and file. The name is quoted as JSON, which is also valid YAML.
fn starter(name: &str, file: &str) -> String {
    let name = serde_json::Value::from(name);
    STARTER
        .replacen(&format!("name: {NAME}\n"), &format!("name: {name}\n"), 1)
        .replace(FILE, file)
}

#[cfg(test)]
mod tests {
    use lang::source::Source;

    use super::*;

    #[test]
    fn the_starter_is_valid_without_a_warning_under_any_name() {
        for name in ["greeter", "yes", "2024", "my flow", "a: b", "it's \"it\""] {
            let checked = lang::check(&Source::new("starter.yaml", starter(name, "x.yaml")));
            assert_eq!(checked.diagnostics, [], "{name}");
            assert_eq!(checked.workflow.expect("no error").name, name);
        }
    }

    #[test]
    fn a_name_or_a_file_may_be_given() {
        let check = |target: &str, file: Option<&str>| {
            assert_eq!(file_of(target).ok(), file.map(PathBuf::from), "{target}");
        };
        check("greeter", Some("greeter.yaml"));
        check("flows/greeter", Some("flows/greeter.yaml"));
        check("greeter.yml", Some("greeter.yml"));
        check("greeter.txt", None);
        check("flows/", Some("flows/workflow.yaml"));
        check("src", Some("src/workflow.yaml"));
        check(".", Some("./workflow.yaml"));
        check("", None);
    }
}
