//! Checks the engine: whether it answers, and whether anything on it is in the way.

use std::net::{IpAddr, TcpListener};

use ::deploy::elf::Architecture;
use ::deploy::plan::Plan;

use super::container::ReplacedContainer;
use super::docker::{self, Compose};
use super::options::{Args, Target, platform};
use super::prepared::Prepared;
use super::steps::Steps;
use crate::failure::{Exit, Failure, Result};

/// The engine and what was found there.
pub(super) struct Engine {
    /// The platform of its containers; `None` if it is one that no images are built for.
    pub(super) platform: Option<Architecture>,
    /// Compose, if the target needs it.
    pub(super) compose: Option<Compose>,
    /// The container to be replaced.
    pub(super) existing: Option<ReplacedContainer>,
}

impl Engine {
    /// Checks for everything that could be in the way, before anything is written.
    pub(super) fn check(
        args: &Args,
        plan: &Plan<'_>,
        prepared: &Prepared<'_>,
        steps: &mut Steps,
    ) -> Result<Self> {
        steps
            .step(
                "checks",
                || {
                    let engine = docker::platform_of_engine()?;
                    let platform = args.platform.or_else(|| platform(&engine).ok());
                    let compose = match args.target {
                        Target::Compose => Some(Compose::find()?),
                        _ => None,
                    };
                    let containers = match args.target {
                        Target::Kubernetes => 0,
                        Target::Docker => 1,
                        Target::Compose => plan.replicas.into(),
                    };
                    let mut existing = None;
                    for (index, port) in plan.ports().enumerate().take(containers) {
                        let found = ReplacedContainer::find(&plan.container(index), args.replace)?;
                        if !found.as_ref().is_some_and(|found| found.publishes(port)) {
                            check_port(plan.host, port, "--port")?;
                        }
                        if index == 0 {
                            existing = found;
                        }
                    }
                    if args.mlflow && existing.is_none() {
                        check_port(plan.host, args.mlflow_port, "--mlflow-port")?;
                    }
                    Ok((
                        engine,
                        Self {
                            platform,
                            compose,
                            existing,
                        },
                    ))
                },
                |(engine, _)| {
                    let from_shell = match prepared.secrets.from_shell.as_slice() {
                        [] => String::new(),
                        names => format!("; {} from the shell", names.join(", ")),
                    };
                    let from_file = match &prepared.secrets.file {
                        Some(file) => format!("; variables from {}", file.display()),
                        None => String::new(),
                    };
                    format!("Docker answers ({engine}){from_file}{from_shell}")
                },
            )
            .map(|(_, engine)| engine)
    }
}

fn check_port(host: IpAddr, port: u16, option: &str) -> Result<()> {
    // Other faults, such as privileges and addresses, are reported by the engine.
    let is_free = !TcpListener::bind((host, port))
        .is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse);
    if is_free {
        return Ok(());
    }
    Err(
        Failure::new(Exit::Io, format!("port {port} of {host} is in use")).hint(format!(
            "choose another with {option}, or stop the program that uses it"
        )),
    )
}
