//! `flowmill mlflow`: tests the server that `MLFLOW_TRACKING_URI` names, and registers workflows
//! there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use engine::host::Host;
use lang::visible;
use telemetry::mlflow::{Registered, Registry, check};

use super::context::Context;
use crate::config::log::Level;
use crate::failure::{Exit, Failure, Result};
use crate::system_host::SystemHost;
use crate::{printer, runtime, telemetry_setup, workflow_file};

/// Test the MLflow server; register workflows there
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  MLFLOW_TRACKING_URI=http://127.0.0.1:5000 flowmill mlflow check
  flowmill mlflow register greeting.yaml
  flowmill serve models:/greeting/1")]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,

    /// Certificates to trust besides the built-in roots (PEM)
    #[arg(long, value_name = "FILE", env = "FLOWMILL_CA", global = true)]
    ca: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Test whether the server answers and accepts runs, artifacts and traces
    Check,
    /// Register a workflow in the model registry as a new version, and its prompts in the prompt
    /// registry
    Register {
        /// Workflow file
        file: PathBuf,
    },
}

pub(super) fn mlflow(args: &Args, context: &Context) -> Result<Exit> {
    context.start_logging(Level::Warn);
    let host: Arc<dyn Host> = Arc::new(SystemHost::new());
    let ca = args
        .ca
        .clone()
        .or_else(|| context.project.models.ca.clone());
    match &args.verb {
        Verb::Check => try_server(ca.as_deref(), context, &host),
        Verb::Register { file } => register(file, ca.as_deref(), context, &host),
    }
}

fn try_server(ca: Option<&Path>, context: &Context, host: &Arc<dyn Host>) -> Result<Exit> {
    let client = telemetry_setup::mlflow(ca, &context.environment, host.clone())?;
    let tried = runtime::of_one_thread()?.block_on(check(&client, &**host));
    let mut faults = Vec::new();
    for checked in tried {
        match checked.result {
            Ok(found) => {
                let line = format!("{}: {found}", checked.what);
                printer::readable(&visible::escaped(&line))?;
            }
            Err(why) => faults.push(format!("{}: no: {why}", checked.what)),
        }
    }
    if faults.is_empty() {
        return Ok(Exit::Success);
    }
    let message = format!(
        "the MLflow server at {} cannot be used as it is",
        client.shown()
    );
    Err(Failure::new(Exit::Io, message).details(faults))
}

fn register(
    file: &Path,
    ca: Option<&Path>,
    context: &Context,
    host: &Arc<dyn Host>,
) -> Result<Exit> {
    let (source, workflow) = workflow_file::load(file)?;
    let client = telemetry_setup::mlflow(ca, &context.environment, host.clone())?;
    let shown = client.shown();
    let registry = Registry::new(client);
    let registered =
        runtime::of_one_thread()?.block_on(registry.register(&source, &workflow, &**host));
    let Registered {
        name,
        version,
        prompts,
    } = registered.map_err(|error| telemetry_setup::unreached(&shown, &error))?;
    printer::data(&format!("models:/{name}/{version}"))?;
    for (prompt, version) in prompts {
        printer::data(&format!("prompts:/{prompt}/{version}"))?;
    }
    Ok(Exit::Success)
}
