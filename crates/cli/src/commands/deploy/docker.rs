//! The `docker` program: the commands that we run, and what their failures mean.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use deploy::package::LABEL;
use serde_json::Value;

use crate::failure::{Exit, Failure, Result};

/// Longest time for the engine to answer; a hanging engine counts as not running.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Runs `docker`. Returns its standard output, or a failure with the end of its error output.
pub(in crate::commands) fn docker<const N: usize>(arguments: [&str; N]) -> Result<String> {
    run(Command::new("docker").args(arguments), "docker")
}

/// Runs any program in the same way.
pub(super) fn run(command: &mut Command, name: &str) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| not_started(name, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let what = command
        .get_args()
        .next()
        .map(|argument| argument.to_string_lossy().into_owned())
        .unwrap_or_default();
    Err(refused(&format!("{name} {what}"), &output))
}

pub(super) fn not_started(name: &str, error: &std::io::Error) -> Failure {
    if error.kind() == ErrorKind::NotFound {
        Failure::new(
            Exit::NotReady,
            format!("`{name}` is not installed, or not on the PATH"),
        )
        .hint("install Docker Engine (https://docs.docker.com/engine/install), or add --generate to write the files only")
    } else {
        Failure::new(
            Exit::NotReady,
            format!("`{name}` cannot be started: {error}"),
        )
    }
}

pub(super) fn refused(what: &str, output: &Output) -> Failure {
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = said.len().saturating_sub(12);
    Failure::new(Exit::Failed, format!("`{what}` failed"))
        .details(said[last..].iter().map(|&line| line.to_owned()).collect())
}

/// The engine's platform, such as `linux/amd64`. Fails if the engine does not answer.
pub(super) fn platform_of_engine() -> Result<String> {
    let child = Command::new("docker")
        .args(["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| not_started("docker", &error))?;
    let output = within(child, ANSWER_TIME)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let hint = if said.contains("permission denied") {
        "add yourself to the group `docker`, or use a rootless engine; --generate writes the files only"
    } else {
        "start it (`sudo systemctl start docker`, or Docker Desktop), or add --generate to write the files only"
    };
    Err(Failure::new(
        Exit::NotReady,
        "Docker is installed, but its engine does not answer",
    )
    .details(said.lines().map(str::to_owned).collect())
    .hint(hint))
}

/// Waits for a process, and kills it if it takes too long.
fn within(mut child: Child, time: Duration) -> Result<Output> {
    let deadline = Instant::now() + time;
    let failed = |error: std::io::Error| Failure::new(Exit::NotReady, format!("`docker`: {error}"));
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Failure::new(
                Exit::NotReady,
                format!(
                    "the Docker engine has not answered for {} s",
                    time.as_secs()
                ),
            )
            .hint("restart it, or add --generate to write the files only"));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let read = |stream: Option<&mut dyn Read>| {
        let mut bytes = Vec::new();
        stream
            .map_or(Ok(0), |stream| stream.read_to_end(&mut bytes))
            .map(|_| bytes)
    };
    Ok(Output {
        status,
        stdout: read(child.stdout.as_mut().map(|stream| stream as _)).map_err(failed)?,
        stderr: read(child.stderr.as_mut().map(|stream| stream as _)).map_err(failed)?,
    })
}

/// A container as the engine describes it.
#[derive(Debug)]
pub(in crate::commands) struct Container(Value);

impl Container {
    /// Finds the container of that name.
    pub(in crate::commands) fn find(name: &str) -> Result<Option<Self>> {
        let names = docker(["ps", "--all", "--format", "{{.Names}}"])?;
        if !names.lines().any(|known| known == name) {
            return Ok(None);
        }
        let text = docker(["container", "inspect", "--format", "{{json .}}", name])?;
        let value = serde_json::from_str(&text).map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("`docker container inspect` did not return JSON: {error}"),
            )
        })?;
        Ok(Some(Self(value)))
    }

    /// Whether `flowmill deploy` created it.
    pub(in crate::commands) fn is_ours(&self) -> bool {
        self.0["Config"]["Labels"][LABEL].is_string()
    }

    #[cfg(test)]
    pub(super) fn described(description: Value) -> Self {
        Self(description)
    }

    /// A label's value.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.0["Config"]["Labels"][name].as_str()
    }

    /// The arguments of its program.
    pub(in crate::commands) fn arguments(&self) -> Vec<String> {
        let words = self.0["Config"]["Cmd"].as_array().into_iter().flatten();
        words
            .filter_map(|word| Some(word.as_str()?.to_owned()))
            .collect()
    }

    /// The address and port of this machine on which it is published.
    pub(super) fn published(&self) -> Option<(IpAddr, u16)> {
        let bindings = self.0["HostConfig"]["PortBindings"].as_object()?;
        let binding = bindings.values().find_map(|bindings| bindings.get(0))?;
        let host = match binding["HostIp"].as_str() {
            Some(host) if !host.is_empty() => host.parse().ok()?,
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        Some((host, binding["HostPort"].as_str()?.parse().ok()?))
    }

    /// The file of this machine that is mounted at that path.
    pub(super) fn mounted(&self, path: &str) -> Option<PathBuf> {
        let mut mounts = self.0["Mounts"].as_array().into_iter().flatten();
        let mount = mounts.find(|mount| mount["Destination"] == path)?;
        mount["Source"].as_str().map(PathBuf::from)
    }

    /// Whether its first process is still running: an exited one may have been restarted.
    pub(super) fn is_running(&self) -> bool {
        let state = &self.0["State"];
        state["Running"] == Value::Bool(true)
            && state["Restarting"] != Value::Bool(true)
            && self.0["RestartCount"].as_u64().unwrap_or_default() == 0
    }

    /// The name of its image.
    pub(in crate::commands) fn image(&self) -> &str {
        self.0["Config"]["Image"].as_str().unwrap_or_default()
    }

    /// The id of its image, which stays when the name goes to another one.
    pub(super) fn image_id(&self) -> &str {
        self.0["Image"].as_str().unwrap_or_default()
    }

    /// The names of its volumes.
    pub(in crate::commands) fn volumes(&self) -> Vec<String> {
        let mounts = self.0["Mounts"].as_array().into_iter().flatten();
        mounts
            .filter(|mount| mount["Type"] == "volume")
            .filter_map(|mount| Some(mount["Name"].as_str()?.to_owned()))
            .collect()
    }

    /// The Compose project that it belongs to.
    pub(in crate::commands) fn compose_project(&self) -> Option<&str> {
        self.0["Config"]["Labels"]["com.docker.compose.project"].as_str()
    }

    /// Whether it is published on that port of this machine.
    pub(super) fn publishes(&self, port: u16) -> bool {
        let bindings = self.0["HostConfig"]["PortBindings"].as_object();
        bindings
            .into_iter()
            .flat_map(|bindings| bindings.values())
            .filter_map(Value::as_array)
            .flatten()
            .filter_map(|binding| binding["HostPort"].as_str())
            .any(|bound| bound.parse() == Ok(port))
    }
}

/// Removes the image of a replaced container if the new image has taken its name. It stays if it
/// has another name, and Docker refuses to remove it while another container uses it.
pub(super) fn remove_unnamed_image(id: &str) {
    let names = docker(["image", "inspect", "--format", "{{len .RepoTags}}", id]);
    if names.is_ok_and(|names| names == "0") {
        let _ = docker(["image", "rm", id]);
    }
}

/// Docker Compose: the plugin, or the standalone program that preceded it.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) enum Compose {
    Plugin,
    Program,
}

impl Compose {
    pub(in crate::commands) fn find() -> Result<Self> {
        if docker(["compose", "version"]).is_ok() {
            return Ok(Self::Plugin);
        }
        match run(
            Command::new("docker-compose").arg("version"),
            "docker-compose",
        ) {
            Ok(_) => Ok(Self::Program),
            Err(_) => Err(
                Failure::new(Exit::NotReady, "Docker Compose is not installed")
                    .hint("install docker-compose-plugin, or deploy without --target compose"),
            ),
        }
    }

    /// The command as it is typed.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Plugin => "docker compose",
            Self::Program => "docker-compose",
        }
    }

    pub(in crate::commands) fn run(
        self,
        folder: Option<&Path>,
        arguments: &[&str],
    ) -> Result<String> {
        let mut command = match self {
            Self::Plugin => {
                let mut command = Command::new("docker");
                command.arg("compose");
                command
            }
            Self::Program => Command::new("docker-compose"),
        };
        if let Some(folder) = folder {
            command.current_dir(folder);
        }
        run(command.args(arguments), self.shown())
    }
}
