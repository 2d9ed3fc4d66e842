//! The text at the end: the address, an example request that works as it is, and the next steps.

use std::fmt::Write as _;
use std::path::Path;

use ::deploy::examples;
use ::deploy::manifest;
use ::deploy::package::Package;
use ::deploy::plan::{Access, PROGRAM, Plan};
use ::deploy::shell;
use serde_json::{Value, json};

use super::docker::Compose;
use super::steps::Steps;

/// The result of a deployment.
pub(super) struct Summary<'a> {
    pub(super) plan: &'a Plan<'a>,
    /// The command that updates the deployment.
    pub(super) update: String,
    pub(super) package: &'a Package,
    pub(super) folder: &'a Path,
    pub(super) target: &'static str,
    pub(super) compose: Option<Compose>,
    /// The image, and its size in bytes.
    pub(super) image: Option<(String, u64)>,
    /// The server's address.
    pub(super) url: Option<String>,
    pub(super) has_program: bool,
}

impl Summary<'_> {
    pub(super) fn text(&self) -> String {
        let (name, folder) = (
            self.plan.name.as_str(),
            shell::word(&self.folder.display().to_string()),
        );
        let mut text = String::new();
        let mut line = |label: &str, value: &str| {
            let _ = writeln!(text, "  {label:<10} {value}");
        };
        match (&self.url, &self.image) {
            (Some(url), _) => {
                line("run", &format!("{url}/run"));
                line("reference", &format!("{url}/docs"));
                line("health", &format!("{url}/health/ready"));
                let keys = match self.plan.access {
                    Access::Keys => " --env FLOWMILL_API_KEY",
                    Access::Open => "",
                };
                let curl = examples::curl(url, "/run", self.plan.sample, self.plan.access);
                let _ = write!(text, "\n  {curl}\n\n");
                let mut line = |label: &str, value: &str| {
                    let _ = writeln!(text, "  {label:<10} {value}");
                };
                if self.plan.replicas > 1 && self.compose.is_some() {
                    let ports: Vec<String> =
                        self.plan.ports().map(|port| port.to_string()).collect();
                    line(
                        "replicas",
                        &format!("one on each of the ports {}", ports.join(", ")),
                    );
                }
                line("logs", &format!("docker logs --follow {name}"));
                line(
                    "jobs",
                    &format!("docker exec{keys} {name} /app/{PROGRAM} jobs list"),
                );
                match self.compose {
                    None => line("stop", &format!("docker stop {name}")),
                    Some(compose) => line(
                        "stop",
                        &format!(
                            "cd {folder} && {} --project-name {name} stop",
                            compose.shown()
                        ),
                    ),
                }
                line("update", &self.update);
                line("remove", &format!("flowmill undeploy {name}"));
            }
            (None, Some((image, bytes))) => {
                line("image", &format!("{image} ({})", megabytes(*bytes)));
                if self.plan.secrets || self.plan.in_cluster == Access::Keys {
                    let secret = format!("{}-env", self.plan.name.in_kubernetes());
                    line(
                        "keys",
                        &format!("kubectl create secret generic {secret} --from-file=.env=.env"),
                    );
                }
                line(
                    "apply",
                    &format!("kubectl apply -f {folder}/kubernetes.yaml"),
                );
            }
            (None, None) => {
                line("package", &folder);
                line("next", &format!("see {folder}/README.md"));
                line(
                    "build",
                    &format!("docker build --tag {} {folder}", self.plan.image()),
                );
            }
        }
        text.trim_end().to_owned()
    }

    pub(super) fn json(&self, steps: &Steps) -> Value {
        let mut files: Vec<&str> = self.package.files.iter().map(|file| file.path).collect();
        files.push(manifest::FILE);
        if self.has_program {
            files.push(PROGRAM);
        }
        json!({
            "name": self.plan.name.as_str(),
            "target": self.target,
            "folder": self.folder.display().to_string(),
            "files": files,
            "image": self.image.as_ref().map(|(image, _)| image),
            "image_bytes": self.image.as_ref().map(|(_, bytes)| bytes),
            "url": self.url,
            "update": self.update,
            "replicas": self.plan.replicas,
            "volume": self.plan.has_volume().then(|| self.plan.name.volume()),
            "steps": steps.to_json(),
        })
    }
}

/// A size in millions of bytes, as Docker counts.
pub(super) fn megabytes(bytes: u64) -> String {
    let tenths = bytes.div_ceil(100_000);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}
