//! `flowmill schema`: JSON Schemas of a workflow's inputs and outputs, or of the file format
//! itself.

use std::path::PathBuf;

use serde_json::json;

use crate::failure::{Exit, Result};
use crate::printer;
use crate::workflow_file;

/// Print the JSON Schemas of a workflow's inputs and outputs, or of the workflow language
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowmill schema greeting.yaml                       {\"input\": …, \"output\": …}
  flowmill schema --language > workflow.schema.json   for editors that complete and check YAML")]
pub(super) struct Args {
    /// Workflow file
    #[arg(required_unless_present = "language")]
    file: Option<PathBuf>,

    /// The schema of the file format itself
    #[arg(long, conflicts_with = "file")]
    language: bool,
}

pub(super) fn schema(args: &Args) -> Result<Exit> {
    let schema = match &args.file {
        Some(file) => {
            let (_, workflow) = workflow_file::load(file)?;
            json!({ "input": workflow.input_schema(), "output": workflow.output_schema() })
        }
        None => lang::schema::language(),
    };
    printer::data(&format!("{schema:#}"))?;
    Ok(Exit::Success)
}
