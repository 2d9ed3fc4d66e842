//! `flowmill deploy`: from a workflow file to a running container. Everything is checked first;
//! then the package is written, the image built, the container started and waited for.

mod access;
mod binary;
mod choices;
mod container;
pub(super) mod docker;
mod engine;
mod folder;
mod gates;
mod image;
mod options;
mod prepared;
mod secrets;
mod steps;
mod summary;

use ::deploy::elf::Architecture;
use ::deploy::image::Image;
use ::deploy::package::Package;
use ::deploy::plan::{Access, Plan};
use ::deploy::variables::API_KEYS;
use lang::workflow::Workflow;

use self::choices::{ChosenOptions, PreviousDeployment};
use self::docker::Container;
use self::engine::Engine;
use self::folder::PackageWriter;
pub(super) use self::options::Args;
use self::options::{Format, Target};
use self::prepared::Prepared;
use self::steps::Steps;
use self::summary::Summary;
use super::context::Context;
use crate::config::log::Level;
use crate::failure::{Exit, Failure, Result};
use crate::{printer, workflow_file};

pub(super) fn deploy(args: &Args, context: &Context) -> Result<Exit> {
    context.start_logging(Level::Warn);
    let mut steps = Steps::default();
    let loaded = steps.step(
        "validate",
        || workflow_file::load(&args.file),
        |(_, workflow)| {
            format!(
                "{} is valid: workflow `{}`",
                args.file.display(),
                workflow.name
            )
        },
    )?;
    let mut args = args.clone();
    let mut choices = ChosenOptions::given(&context.matches);
    let before = before(&args, &loaded.1)?;
    if let Some(before) = &before {
        let kept = before.keep(&mut args, &mut choices)?;
        if !kept.is_empty() {
            printer::note(&format!(
                "kept from the previous deployment: {}",
                kept.join(" ")
            ));
        }
    }
    let args = &args;
    options::check(args)?;
    let prepared = Prepared::of(args, loaded, &mut choices, before.as_ref(), context)?;
    let plan = prepared.plan(args, &choices)?;
    if let Some(before) = &before {
        refuse_less_protection(before, &plan, &choices)?;
        for change in before.changes(&plan) {
            printer::warning(&change);
        }
    }
    let image = plan.image();

    let engine = if args.generate {
        None
    } else {
        Some(Engine::check(args, &plan, &prepared, &mut steps)?)
    };
    let wanted = engine
        .as_ref()
        .and_then(|engine| engine.platform)
        .or(args.platform)
        .or(Architecture::own())
        .unwrap_or(Architecture::Amd64);
    let program = match binary::find(args.binary.as_deref(), wanted) {
        Ok(path) => Some(path),
        Err(failure) if args.generate && args.binary.is_none() => {
            printer::warning(&format!(
                "the package does not contain its program `flowmill`: {}",
                failure.message
            ));
            None
        }
        Err(failure) => return Err(failure),
    };

    let package = Package::of(&plan);
    let writing = PackageWriter::new(&args.output_dir, &package, args.force)?;
    steps.step(
        "package",
        || writing.write(program.as_deref()),
        |written| {
            format!(
                "package written to {} ({})",
                args.output_dir.display(),
                if *written == 0 {
                    "nothing changed".to_owned()
                } else {
                    workflow_file::many(*written, "file")
                }
            )
        },
    )?;

    let mut summary = Summary {
        plan: &plan,
        update: choices.update_command(&args.file, plan.name.as_str()),
        package: &package,
        folder: &args.output_dir,
        target: args.target.name(),
        compose: None,
        image: None,
        url: None,
        has_program: program.is_some(),
    };
    if let Some(engine) = engine {
        let folder = folder::absolute(&args.output_dir)?;
        let keys_before = if plan.secrets {
            prepared.secrets.write(&folder)?
        } else {
            None
        };
        let parts = Image::of(&plan, &package);
        let size = steps.step(
            "build",
            || image::build(&image, &folder, &parts, args.platform),
            |size| format!("image {image} built ({})", summary::megabytes(*size)),
        )?;
        summary.image = Some((image.clone(), size));
        if args.push {
            steps.step(
                "push",
                || docker::docker(["push", &image]),
                |_| format!("pushed {image}"),
            )?;
        }
        summary.compose = engine.compose;
        match args.target {
            Target::Kubernetes => {}
            Target::Docker => {
                let restore = || secrets::restore(&folder, keys_before.as_deref());
                container::start(
                    &plan,
                    &folder,
                    engine.existing,
                    args.platform,
                    restore,
                    &mut steps,
                )?;
                summary.url = Some(container::url(&plan));
            }
            Target::Compose => {
                let compose = engine.compose.expect("checked for this target");
                container::start_compose(&plan, &folder, compose, args.mlflow, &mut steps)?;
                summary.url = Some(container::url(&plan));
            }
        }
    }
    match args.format {
        Format::Text => printer::data(&summary.text())?,
        Format::Json => printer::data(&format!("{:#}", summary.json(&steps)))?,
    }
    Ok(Exit::Success)
}

/// The deployment whose container is to be replaced, if there is one.
fn before(args: &Args, workflow: &Workflow) -> Result<Option<PreviousDeployment>> {
    if !args.replace || args.generate || args.target == Target::Kubernetes {
        return Ok(None);
    }
    let name = prepared::name(args, workflow)?;
    // Fails with a helpful message if the engine does not answer.
    docker::platform_of_engine()?;
    Container::find(name.as_str())?
        .filter(Container::is_ours)
        .map(|container| PreviousDeployment::of(&container))
        .transpose()
}

/// Refuses to turn a server that requires keys into an open one unless this command asks for that.
fn refuse_less_protection(
    before: &PreviousDeployment,
    plan: &Plan<'_>,
    choices: &ChosenOptions,
) -> Result<()> {
    if !before.wants_keys() || plan.access == Access::Keys || choices.opens_now() {
        return Ok(());
    }
    let message =
        format!("the previous deployment requires an API key, but {API_KEYS} is not set now");
    Err(Failure::usage(message).hint(format!(
        "set {API_KEYS} in the file of variables or the shell, or add --insecure to let in everyone who can reach the server"
    )))
}
