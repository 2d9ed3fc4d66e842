//! `flowmill undeploy`: removes a deployment. Its jobs are kept unless their removal is requested.

use clap::ValueEnum;
use serde_json::json;

use super::deploy::docker::{Container, docker};
use crate::failure::{Exit, Failure, Result};
use crate::printer;

/// Remove a deployment; its jobs are kept
#[derive(Debug, clap::Args)]
#[command(after_help = "Running jobs may finish first, within the deployment's drain timeout.")]
pub(super) struct Args {
    /// Name of the deployment, which is also that of its container
    name: String,

    /// Also remove the volume with its jobs
    #[arg(long)]
    volumes: bool,

    /// Format of stdout
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// Sentences.
    #[default]
    Text,
    /// One document: name, what was removed, what was kept.
    Json,
}

pub(super) fn undeploy(args: &Args) -> Result<Exit> {
    let name = args.name.as_str();
    let Some(container) = Container::find(name)? else {
        return Err(
            Failure::new(Exit::Failed, format!("no container is named `{name}`")).hint(
                "`docker ps --all --filter label=io.flowmill.deployment` lists the deployments",
            ),
        );
    };
    if !container.is_ours() {
        return Err(Failure::new(
            Exit::Failed,
            format!("the container `{name}` was not created by flowmill, so it is not removed"),
        ));
    }
    let mut volumes = container.volumes();
    docker(["stop", name])?;
    match container.compose_project() {
        None => {
            // Anonymous volumes, which nobody could find again.
            docker(["rm", "--volumes", name])?;
        }
        // The project's network and MLflow are removed with it.
        Some(project) => volumes = remove_project(project)?,
    }
    let arguments = container.arguments();
    let stored_in_database = arguments
        .windows(2)
        .any(|pair| pair == ["--store", "postgres"]);
    let image = container.image();
    // It stays if another container uses it.
    let image_removed = docker(["image", "rm", image]).is_ok();
    if args.volumes {
        for volume in &volumes {
            docker(["volume", "rm", volume])?;
        }
    }
    match args.format {
        Format::Json => printer::data(
            &json!({
                "name": name,
                "image": image,
                "image_removed": image_removed,
                "volumes": volumes,
                "volumes_removed": args.volumes,
            })
            .to_string(),
        )?,
        Format::Text => {
            printer::data(&format!("{name} is removed"))?;
            if stored_in_database {
                printer::data("its jobs stay in the database")?;
            }
            for volume in &volumes {
                printer::data(&if args.volumes {
                    format!("its volume {volume} is removed, and the jobs in it")
                } else {
                    format!(
                        "its jobs are kept in the volume {volume}; `docker volume rm {volume}` removes them"
                    )
                })?;
            }
        }
    }
    Ok(Exit::Success)
}

/// Removes the containers and networks of a project by label, since the Compose file or Compose
/// itself may be gone. Returns the names of the project's volumes.
fn remove_project(project: &str) -> Result<Vec<String>> {
    let label = format!("label=com.docker.compose.project={project}");
    let containers = docker(["ps", "--all", "--quiet", "--filter", &label])?;
    for container in containers.lines() {
        docker(["stop", container])?;
        docker(["rm", "--volumes", container])?;
    }
    let networks = docker(["network", "ls", "--quiet", "--filter", &label])?;
    for network in networks.lines() {
        docker(["network", "rm", network])?;
    }
    let volumes = docker(["volume", "ls", "--quiet", "--filter", &label])?;
    Ok(volumes.lines().map(str::to_owned).collect())
}
