//! The options of `flowmill deploy`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ::deploy::elf::Architecture;
use clap::{ValueEnum, value_parser};

use super::binary;
use crate::config::addresses::Host;
use crate::config::models;
use crate::config::secret::Secret;
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

    /// Folder to write the package to
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "deploy",
        visible_alias = "output"
    )]
    pub(super) output_dir: PathBuf,

    /// Name of the container, its image and its volume [default: derived from the workflow's name]
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,

    /// What to start: a container, a Compose project, or nothing, for Kubernetes
    #[arg(long, value_name = "TARGET", value_enum, default_value_t)]
    pub(super) target: Target,

    /// Port on this machine
    #[arg(
        short,
        long,
        value_name = "PORT",
        default_value_t = 8000,
        visible_alias = "api-port"
    )]
    pub(super) port: u16,

    /// Address of this machine on which the port is published [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) host: Option<Host>,

    /// Allow access from other machines even without API keys: anyone who can reach the server may
    /// run workflows
    #[arg(long)]
    pub(super) insecure: bool,

    /// How long POST /run waits for its run to end before it answers 202 with the job's id
    /// [default: 30s]
    #[arg(long, value_name = "TIME", visible_alias = "timeout")]
    pub(super) sync_timeout: Option<PositiveDuration>,

    /// How long running jobs may continue when the container is stopped
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub(super) drain_timeout: PositiveDuration,

    /// Job store in the container: `sqlite:NAME.db` in its volume; `postgres://USER@HOST/DATABASE`,
    /// which replicas share; or memory, which loses all jobs when the container stops. `postgres`
    /// alone takes the URL from `FLOWMILL_STORE` in the file of variables or the shell [default:
    /// sqlite:flowmill.db]
    #[arg(long, value_name = "STORE")]
    pub(super) store: Option<Secret>,

    /// File that holds the URL of the PostgreSQL database
    #[arg(long, value_name = "FILE")]
    pub(super) store_file: Option<PathBuf>,

    /// Number of servers that share the PostgreSQL database, with --target compose and kubernetes
    /// [default: 2 with --store postgres, else 1]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1000))]
    pub(super) replicas: Option<u16>,

    /// Let the cluster start up to so many servers while jobs wait for a free slot (with --target
    /// kubernetes); --replicas is how many there are at least
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1000))]
    pub(super) max_replicas: Option<u16>,

    /// Also start MLflow (with --target compose)
    #[arg(long, conflicts_with = "no_mlflow")]
    pub(super) mlflow: bool,

    /// Leave MLflow out of the Compose file
    #[arg(long)]
    pub(super) no_mlflow: bool,

    /// Port on this machine for MLflow's web page; 0 leaves MLflow out
    #[arg(long, value_name = "PORT", default_value_t = 5000)]
    pub(super) mlflow_port: u16,

    /// File with the variables (keys and addresses) for the container [default: .env, if there is
    /// one]
    #[arg(long, value_name = "FILE")]
    pub(super) env_file: Option<PathBuf>,

    /// Give the container no file of variables
    #[arg(long, conflicts_with = "env_file")]
    pub(super) no_env_file: bool,

    /// Only write the package
    #[arg(long)]
    pub(super) generate: bool,

    /// Overwrite package files that were changed by hand
    #[arg(short, long)]
    pub(super) force: bool,

    /// Replace the existing container and keep its options, except for those given now; running
    /// jobs may finish, jobs are kept
    #[arg(long)]
    pub(super) replace: bool,

    /// Platform of the image, linux/amd64 or linux/arm64 [default: the engine's]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    pub(super) platform: Option<Architecture>,

    /// Registry and path before the image's name, such as ghcr.io/acme
    #[arg(long, value_name = "REGISTRY")]
    pub(super) registry: Option<String>,

    /// Push the image with `docker push`
    #[arg(long, requires = "registry")]
    pub(super) push: bool,

    /// Static flowmill program for the image [default: this program, or one next to it]
    #[arg(long, value_name = "PATH", env = binary::VARIABLE)]
    pub(super) binary: Option<PathBuf>,

    /// Store whose latest run the gates are checked against [default: that of `flowmill serve`
    /// here]
    #[arg(long, value_name = "STORE")]
    pub(super) runs: Option<Secret>,

    /// Deploy even if a gate of the latest recorded run forbids it
    #[arg(long)]
    pub(super) ignore_gates: bool,

    /// Format of stdout
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(super) format: Format,

    #[command(flatten)]
    pub(super) models: models::Options,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Target {
    /// A container on this machine.
    #[default]
    Docker,
    /// A Compose project.
    Compose,
    /// The image, and a manifest for `kubectl apply`.
    Kubernetes,
}

impl Target {
    /// The target as it is written on the command line.
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
    /// How to reach and operate the deployment, as text.
    #[default]
    Text,
    /// One JSON document: name, image, url, files, steps with their times.
    Json,
}

/// Parses a platform that images can be built for.
pub(super) fn platform(text: &str) -> Result<Architecture, String> {
    match text {
        "linux/amd64" => Ok(Architecture::Amd64),
        "linux/arm64" => Ok(Architecture::Arm64),
        _ => Err(format!(
            "`{text}` is not a supported platform; use linux/amd64 or linux/arm64"
        )),
    }
}

/// Checks that clap cannot express.
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
    if args.target == Target::Docker && !args.generate && args.replicas.is_some_and(|n| n > 1) {
        return Err(Failure::usage(
            "--target docker starts one container, so it has no --replicas",
        )
        .hint("add --target compose or --target kubernetes"));
    }
    if args.max_replicas.is_some() && args.target != Target::Kubernetes && !args.generate {
        return Err(
            Failure::usage("only a cluster starts further servers by itself")
                .hint("add --target kubernetes, or leave out --max-replicas"),
        );
    }
    Ok(())
}

/// The address on which the port is published.
pub(super) fn host(args: &Args) -> IpAddr {
    args.host
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |host| host.0)
}
