//! `flowmill validate`: everything that is to be said of workflow files, before a token is paid for.

use std::path::PathBuf;

use clap::ValueEnum;
use lang::diagnostic::render;
use serde_json::{Value, json};

use crate::printer;
use crate::report::{self, Exit, Result};
use crate::workflow_file::{self, Counts, Report, many};

/// Check workflow files; every fault is reported in one pass
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exits with 0 when all files are valid, 3 when one is not, 4 when one cannot be read."
)]
pub(super) struct Args {
    /// Workflow files (.yaml, .yml, .json)
    #[arg(required = true)]
    files: Vec<PathBuf>,

    /// How to report
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Warnings fail, too
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// Source excerpts, for people
    #[default]
    Human,
    /// One line for each finding, led by its place
    Short,
    /// {"valid", "diagnostics": [{"code", "severity", "path", "message", "suggestion", "span"}]}
    Json,
}

pub(super) fn validate(args: &Args) -> Result<Exit> {
    let mut exit = Exit::Success;
    let mut document = json!({ "valid": true, "diagnostics": [] });
    for file in &args.files {
        let report = match Report::of(file) {
            Ok(report) => report,
            // The other files are still checked; the worst of the ends is how the command ends.
            Err(failure) => {
                report::failure(&failure);
                exit = exit.max(failure.exit);
                document["valid"] = Value::Bool(false);
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
                    printer::data(text.trim_end())?;
                }
            }
            Format::Json => {
                let mut one = render::json(&report.source, &report.checked.diagnostics);
                if !valid {
                    document["valid"] = Value::Bool(false);
                }
                if let (Value::Array(all), Value::Array(these)) =
                    (&mut document["diagnostics"], one["diagnostics"].take())
                {
                    all.extend(these);
                }
            }
        }
    }
    if args.format == Format::Json {
        printer::data(&format!("{document:#}"))?;
    }
    Ok(exit)
}

/// The findings on stdout, the verdict on stderr.
fn print_human(report: &Report, valid: bool) -> Result<()> {
    let look = printer::stdout_look();
    let findings = workflow_file::render_human(&report.source, &report.checked.diagnostics, look);
    if !findings.is_empty() {
        printer::data(&findings)?;
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
