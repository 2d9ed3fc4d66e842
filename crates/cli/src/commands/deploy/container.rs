//! Starts the container, in place of an existing one, and waits until it accepts requests.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ::deploy::package::{LABEL, OPTIONS_LABEL, SECRETS, service_key};
use ::deploy::plan::{DATA, MEMORY_MB, PORT, Plan};
use ::deploy::variables::MACHINE;
use reqwest::Url;

use super::docker::{Compose, Container, docker, remove_unnamed_image, run};
use super::steps::Steps;
use crate::failure::{Exit, Failure, Result};
use crate::health;

/// Longest time for a container to become ready: a large store takes a moment to open.
const START: Duration = Duration::from_secs(60);

/// Time between two checks of a starting container.
const PAUSE: Duration = Duration::from_millis(10);

/// An existing container with the deployment's name, which is to be replaced.
#[derive(Debug)]
pub(super) struct ReplacedContainer(Container);

impl ReplacedContainer {
    /// Finds the container of that name. Fails if it belongs to somebody else, or is not to be
    /// replaced.
    pub(super) fn find(name: &str, replace: bool) -> Result<Option<Self>> {
        let Some(container) = Container::find(name)? else {
            return Ok(None);
        };
        if !container.is_ours() {
            return Err(Failure::new(
                Exit::Io,
                format!("there is a container `{name}` that flowmill did not create"),
            )
            .hint("choose another name with --name, or remove it with `docker rm`"));
        }
        if !replace {
            return Err(
                Failure::new(Exit::Io, format!("there already is a container `{name}`")).hint(
                    "add --replace to replace it (running jobs may finish, jobs are kept), or choose another --name",
                ),
            );
        }
        Ok(Some(Self(container)))
    }

    pub(super) fn publishes(&self, port: u16) -> bool {
        self.0.publishes(port)
    }
}

/// The server's address on this machine: the first one's, of several.
pub(super) fn url(plan: &Plan<'_>) -> String {
    url_at(plan, plan.port)
}

fn url_at(plan: &Plan<'_>, port: u16) -> String {
    let host = match plan.host {
        IpAddr::V4(host) if host.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(host) if host.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => format!("[{host}]"),
    };
    format!("http://{host}:{port}")
}

/// Starts the container. A replaced one may finish its runs first, and is started again if the new
/// one does not become ready.
pub(super) fn start(
    plan: &Plan<'_>,
    folder: &Path,
    existing: Option<ReplacedContainer>,
    platform: Option<::deploy::elf::Architecture>,
    restore: impl FnOnce() -> Result<()>,
    steps: &mut Steps,
) -> Result<()> {
    let name = plan.name.as_str();
    let before = format!("{name}-before");
    if existing.is_some() {
        steps.step(
            "drain",
            || {
                if Container::find(&before)?.is_some_and(|container| container.is_ours()) {
                    docker(["rm", "--force", "--volumes", &before])?;
                }
                // Sends SIGTERM and waits for that container's stop timeout.
                docker(["stop", name])?;
                docker(["rename", name, &before])
            },
            |_| "the previous container has finished its runs".to_owned(),
        )?;
    }
    let created = steps.step(
        "create",
        || run(&mut creation(plan, folder, platform), "docker"),
        |_| format!("container {name} created"),
    );
    let started = created.and_then(|_| {
        steps.step(
            "start",
            || {
                docker(["start", name])?;
                wait(plan, name, plan.port).map_err(|failure| {
                    failure.hint("it was removed; the lines above are the last of its log")
                })
            },
            |()| format!("container {name} is ready"),
        )
    });
    match (started, existing) {
        (Ok(()), Some(ReplacedContainer(replaced))) => {
            docker(["rm", "--volumes", &before])?;
            remove_unnamed_image(replaced.image_id());
            Ok(())
        }
        (Ok(()), None) => Ok(()),
        (Err(failure), existing) => {
            // It may not exist (any more).
            let _ = docker(["rm", "--force", "--volumes", name]);
            if existing.is_none() {
                return Err(failure);
            }
            // With its previous keys: it mounts the same file.
            let back = restore()
                .and_then(|()| docker(["rename", &before, name]))
                .and_then(|_| docker(["start", name]));
            let hint = match back {
                Ok(_) => "the previous container was started again; nothing has changed".to_owned(),
                Err(_) => format!("start the previous container by hand: docker start {before}"),
            };
            Err(failure.hint(hint))
        }
    }
}

/// The `docker run` command of the package's README, without starting the container.
fn creation(
    plan: &Plan<'_>,
    folder: &Path,
    platform: Option<::deploy::elf::Architecture>,
) -> Command {
    let mut command = Command::new("docker");
    let host = match plan.host {
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => format!("[{host}]"),
    };
    command.args(["create", "--name", plan.name.as_str()]);
    command.args([
        "--restart",
        "unless-stopped",
        "--read-only",
        "--cap-drop",
        "ALL",
    ]);
    command.args(["--security-opt", "no-new-privileges", "--pids-limit", "256"]);
    let mut option = |name: &str, value: String| {
        command.args([name, &value]);
    };
    option("--memory", format!("{MEMORY_MB}m"));
    option("--stop-timeout", plan.stop_timeout().as_secs().to_string());
    option("--publish", format!("{host}:{}:{PORT}", plan.port));
    option("--label", format!("{LABEL}={}", plan.name));
    if let Some(options) = &plan.options {
        option("--label", format!("{OPTIONS_LABEL}={options}"));
    }
    if plan.reaches_host() {
        option("--add-host", format!("{MACHINE}:host-gateway"));
    }
    if plan.has_volume() {
        let volume = plan.name.volume();
        option(
            "--mount",
            format!("type=volume,source={volume},target={DATA}"),
        );
    }
    if plan.secrets {
        let source = csv(&format!("source={}", folder.join(SECRETS.1).display()));
        option(
            "--mount",
            format!("type=bind,{source},target=/app/.env,readonly"),
        );
    }
    if let Some(platform) = platform {
        option("--platform", format!("linux/{platform}"));
    }
    command.arg(plan.image());
    command
}

/// Quotes a field of `--mount`, whose value is a line of CSV.
fn csv(field: &str) -> String {
    if field.contains([',', '"', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// Waits until the server at that port accepts requests, or until its container has exited.
fn wait(plan: &Plan<'_>, name: &str, port: u16) -> Result<()> {
    let url = format!("{}/health/ready", url_at(plan, port));
    let url = Url::parse(&url).expect("an address and a path");
    let deadline = Instant::now() + START;
    let mut look = Instant::now() + Duration::from_millis(500);
    loop {
        if matches!(health::status(&url, None, Duration::from_secs(2)), Ok(200)) {
            return Ok(());
        }
        if Instant::now() > look {
            look = Instant::now() + Duration::from_millis(500);
            let container = Container::find(name)?;
            if !container.as_ref().is_some_and(Container::is_running) {
                return Err(failed(name, "exited during startup"));
            }
        }
        if Instant::now() > deadline {
            let seconds = START.as_secs();
            return Err(failed(name, &format!("was not ready within {seconds} s")));
        }
        std::thread::sleep(PAUSE);
    }
}

/// A failure with the container's last log lines.
fn failed(name: &str, what: &str) -> Failure {
    let said = Command::new("docker")
        .args(["logs", "--tail", "12", name])
        .output();
    let said = said.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    );
    Failure::new(Exit::Failed, format!("the container {name} {what}"))
        .details(said.lines().map(str::to_owned).collect())
}

/// What Compose has made stays, and is started again.
fn stays(plan: &Plan<'_>, failure: Failure) -> Failure {
    failure.hint(format!(
        "Compose starts it again and again; the lines above are the last of its log. Deploy again, or \
         remove it with `flowmill undeploy {}`",
        plan.name
    ))
}

/// Starts the Compose project, which itself replaces the containers of an earlier deployment: of
/// several one after the other, so that the others go on answering.
pub(super) fn start_compose(
    plan: &Plan<'_>,
    folder: &Path,
    compose: Compose,
    mlflow: bool,
    steps: &mut Steps,
) -> Result<()> {
    let name = plan.name.as_str();
    steps.step(
        "start",
        || {
            let existing = Container::find(name)?;
            if let Some(container) = &existing {
                // Created without Compose: Compose would find the name taken.
                if container.compose_project().is_none() {
                    docker(["stop", name])?;
                    docker(["rm", name])?;
                }
            }
            let mut up = vec!["--project-name", name];
            if mlflow {
                up.extend(["--profile", "mlflow"]);
            }
            up.extend(["up", "--detach", "--no-build"]);
            for (index, port) in plan.ports().enumerate().skip(1) {
                let service = service_key(index);
                compose.run(
                    Some(folder),
                    &[up.as_slice(), &["--no-deps", &service]].concat(),
                )?;
                wait(plan, &plan.container(index), port).map_err(|failure| stays(plan, failure))?;
            }
            compose.run(Some(folder), &up)?;
            wait(plan, name, plan.port).map_err(|failure| stays(plan, failure))?;
            remove_surplus(plan)?;
            if let Some(container) = existing.filter(Container::is_ours) {
                remove_unnamed_image(container.image_id());
            }
            Ok(())
        },
        |()| match plan.replicas {
            1 => format!("container {name} is ready"),
            several => format!("{several} containers are ready, {name} and others"),
        },
    )
}

/// Removes the containers of an earlier deployment with more replicas.
fn remove_surplus(plan: &Plan<'_>) -> Result<()> {
    // The label alone comes with the image, too, to containers that are not the project's.
    let label = format!("label={LABEL}={}", plan.name);
    let project = format!("label=com.docker.compose.project={}", plan.name);
    let names = docker([
        "ps",
        "--all",
        "--format",
        "{{.Names}}",
        "--filter",
        &label,
        "--filter",
        &project,
    ])?;
    let wanted: Vec<String> = (0..plan.replicas.into())
        .map(|index| plan.container(index))
        .collect();
    for name in names
        .lines()
        .filter(|name| !wanted.iter().any(|wanted| wanted == name))
    {
        docker(["stop", name])?;
        docker(["rm", "--volumes", name])?;
    }
    Ok(())
}
