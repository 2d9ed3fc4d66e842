//! The options of `flowmill deploy`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ::deploy::elf::Architecture;
use clap::ValueEnum;

use super::binary;
use crate::config::addresses::Host;
use crate::config::models;
use crate::config::store::Store;
use crate::config::units::PositiveDuration;
use crate::failure::{Failure, Result};

/// Deploy a workflow as a container: check it, package it, build its image, start it
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  flowmill deploy greeting.yaml --offline
  flowmill deploy greeting.yaml --port 9000 --replace
  flowmill deploy greeting.yaml --generate --output-dir package
  flowmill deploy greeting.yaml --target kubernetes --registry ghcr.io/acme --push")]
pub(in crate::commands) struct Args {
    /// Workflow file (.yaml, .yml, .json)
    pub(super) file: PathBuf,

    /// Where the package is written
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "deploy",
        visible_alias = "output"
    )]
    pub(super) output_dir: PathBuf,

    /// Name of the container, its image and its volume [default: made from the workflow's name]
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,

    /// What is started: a container, a Compose project, or nothing, for Kubernetes
    #[arg(long, value_name = "TARGET", value_enum, default_value_t)]
    pub(super) target: Target,

    /// Port of this machine
    #[arg(
        short,
        long,
        value_name = "PORT",
        default_value_t = 8000,
        visible_alias = "api-port"
    )]
    pub(super) port: u16,

    /// Address of this machine that the port is published on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) host: Option<Host>,

    /// Let others reach it though there are no API keys: anyone who does may run workflows
    #[arg(long)]
    pub(super) insecure: bool,

    /// How long POST /run waits for its run before it answers 202 with a handle [default: 30s]
    #[arg(long, value_name = "TIME", visible_alias = "timeout")]
    pub(super) sync_timeout: Option<PositiveDuration>,

    /// How long runs in flight may go on when the container is stopped
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub(super) drain_timeout: PositiveDuration,

    /// Where jobs are kept in the container: sqlite:NAME.db in its volume, or memory to lose them [default:
    /// sqlite:flowmill.db]
    #[arg(long, value_name = "STORE")]
    pub(super) store: Option<Store>,

    /// Start MLflow beside it (with --target compose)
    #[arg(long, conflicts_with = "no_mlflow")]
    pub(super) mlflow: bool,

    /// Leave MLflow out of the Compose file
    #[arg(long)]
    pub(super) no_mlflow: bool,

    /// Port of this machine for MLflow's page; 0 leaves MLflow out
    #[arg(long, value_name = "PORT", default_value_t = 5000)]
    pub(super) mlflow_port: u16,

    /// File with the keys and addresses that the container gets [default: .env, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(super) env_file: Option<PathBuf>,

    /// Give the container no file of variables
    #[arg(long, conflicts_with = "env_file")]
    pub(super) no_env_file: bool,

    /// Write the package and stop
    #[arg(long)]
    pub(super) generate: bool,

    /// Overwrite files of the package that were changed by hand
    #[arg(short, long)]
    pub(super) force: bool,

    /// Replace the container of that name with what was chosen for it, except for the options given now; its
    /// runs may finish, its jobs are kept
    #[arg(long)]
    pub(super) replace: bool,

    /// Platform of the image, linux/amd64 or linux/arm64 [default: the engine's]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    pub(super) platform: Option<Architecture>,

    /// Put this before the image's name, such as ghcr.io/acme
    #[arg(long, value_name = "REGISTRY")]
    pub(super) registry: Option<String>,

    /// Push the image with `docker push`
    #[arg(long, requires = "registry")]
    pub(super) push: bool,

    /// Static flowmill program for the image [default: this program, or one beside it]
    #[arg(long, value_name = "PATH", env = binary::VARIABLE)]
    pub(super) binary: Option<PathBuf>,

    /// Store whose latest run the gates are checked against [default: that of `flowmill serve` here]
    #[arg(long, value_name = "STORE")]
    pub(super) runs: Option<Store>,

    /// Deploy although a gate of the latest recorded run forbids it
    #[arg(long)]
    pub(super) ignore_gates: bool,

    /// What stdout gets
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(super) format: Format,

    #[command(flatten)]
    pub(super) models: models::Options,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Target {
    /// A container of this machine's engine.
    #[default]
    Docker,
    /// A Compose project.
    Compose,
    /// The image, and what `kubectl apply` takes.
    Kubernetes,
}

impl Target {
    /// As it is written.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Compose => "compose",
            Self::Kubernetes => "kubernetes",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    /// Where it is, how to call it and how to operate it.
    #[default]
    Text,
    /// One document: name, image, url, files, steps with their times.
    Json,
}

/// Reads a platform that images are made for.
pub(super) fn platform(text: &str) -> Result<Architecture, String> {
    match text {
        "linux/amd64" => Ok(Architecture::Amd64),
        "linux/arm64" => Ok(Architecture::Arm64),
        _ => Err(format!(
            "`{text}` is none that images are made for; use linux/amd64 or linux/arm64"
        )),
    }
}

/// What clap cannot say.
pub(super) fn check(args: &Args) -> Result<()> {
    if args.mlflow && args.target != Target::Compose {
        return Err(
            Failure::usage("--mlflow starts a second container beside the workflow's")
                .hint("add --target compose"),
        );
    }
    if args.mlflow && args.mlflow_port == 0 {
        return Err(Failure::usage(
            "--mlflow and --mlflow-port 0 contradict each other",
        ));
    }
    if args.port == 0 {
        return Err(Failure::usage(
            "a deployment needs a port of its own, not 0",
        ));
    }
    Ok(())
}

/// Where the port is published.
pub(super) fn host(args: &Args) -> IpAddr {
    args.host
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |host| host.0)
}
