//! `flowmill validate`: reports every fault of workflow files before any model call is paid for.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use lang::diagnostic::render;
use serde_json::{Value, json};

use crate::failure::{Exit, Failure, Result};
use crate::printer;
use crate::workflow_file::{self, CheckedFile, Counts, many};

/// Check workflow files and report every fault in one pass
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exits with 0 if all files are valid, 3 if one is not, and 4 if one cannot be read."
)]
pub(super) struct Args {
    /// Workflow files (.yaml, .yml, .json), or folders: their .yaml and .yml files
    #[arg(required = true)]
    files: Vec<PathBuf>,

    /// Format of the report
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// Source excerpts, for people
    #[default]
    Human,
    /// One line per diagnostic, beginning with its position
    Short,
    /// {"valid", "diagnostics": [{"code", "severity", "path", "message", "suggestion", "span"}]}
    Json,
}

pub(super) fn validate(args: &Args) -> Result<Exit> {
    let mut exit = Exit::Success;
    let mut document = json!({ "valid": true, "diagnostics": [] });
    let add = |document: &mut Value, findings: Value| {
        if let (Value::Array(all), Value::Array(these)) = (&mut document["diagnostics"], findings) {
            all.extend(these);
        }
    };
    let reports = args.files.iter().flat_map(|path| match files_of(path) {
        Ok(files) => files
            .into_iter()
            .map(|file| (CheckedFile::read(&file), file))
            .collect(),
        Err(failure) => vec![(Err(failure), path.clone())],
    });
    for (report, file) in reports {
        let report = match report {
            Ok(report) => report,
            // The other files are still checked; the command exits with the worst code.
            Err(failure) => {
                printer::failure(&failure);
                exit = exit.max(failure.exit);
                document["valid"] = Value::Bool(false);
                add(&mut document, json!([unreadable(&file, &failure)]));
                continue;
            }
        };
        let valid = report.is_valid(args.strict);
        if !valid {
            exit = exit.max(Exit::Invalid);
        }
        match args.format {
            Format::Human => print_human(&report, valid)?,
            Format::Short => {
                let text = render::short(&report.source, &report.checked.diagnostics);
                if !text.is_empty() {
                    printer::readable(text.trim_end())?;
                }
            }
            Format::Json => {
                let mut one = render::json(&report.source, &report.checked.diagnostics);
                if !valid {
                    document["valid"] = Value::Bool(false);
                }
                add(&mut document, one["diagnostics"].take());
            }
        }
    }
    if args.format == Format::Json {
        printer::data(&format!("{document:#}"))?;
    }
    Ok(exit)
}

/// The workflow files in a folder, or the file itself.
fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let shown = path.display();
    let unreadable = |error: std::io::Error| Failure::unreadable(path, &error);
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let is_yaml = file.extension().is_some_and(|extension| {
            extension.eq_ignore_ascii_case("yaml") || extension.eq_ignore_ascii_case("yml")
        });
        if is_yaml && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Failure::new(
            Exit::Io,
            format!("there is no .yaml or .yml file in `{shown}`"),
        )
        .hint("`flowmill init` writes a workflow to start from"));
    }
    files.sort();
    Ok(files)
}

/// A diagnostic for a file that could not be read, so that a program does not take the file for
/// valid.
fn unreadable(file: &Path, failure: &Failure) -> Value {
    json!({
        "code": null,
        "severity": "error",
        "path": "",
        "message": failure.message,
        "suggestion": failure.hint,
        "span": {
            "file": file.display().to_string(), "line": 1, "column": 1, "end_line": 1, "end_column": 1,
        },
    })
}

/// Prints the diagnostics to stdout and the verdict to stderr.
fn print_human(report: &CheckedFile, valid: bool) -> Result<()> {
    let look = printer::stdout_look();
    let findings = workflow_file::render_human(&report.source, &report.checked.diagnostics, look);
    if !findings.is_empty() {
        printer::readable(&findings)?;
    }
    let name = &report.source.name;
    let counts = Counts::of(&report.checked.diagnostics);
    let verdict = match (&report.checked.workflow, valid) {
        (Some(workflow), true) => {
            let nodes = workflow.nodes.len();
            let fields = workflow.fields.len();
            let warnings = if counts.warnings == 0 {
                String::new()
            } else {
                format!(", {counts}")
            };
            format!(
                "{name} is valid: workflow `{}`, {}, {}{warnings}",
                workflow.name,
                many(fields, "field"),
                many(nodes, "node")
            )
        }
        (Some(_), false) => format!("{name} is refused (--strict): {counts}"),
        (None, _) => format!("{name} is not valid: {counts}"),
    };
    printer::note(&verdict);
    Ok(())
}
