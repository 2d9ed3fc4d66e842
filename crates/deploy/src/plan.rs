//! Every decision about a deployment. A [`Package`](crate::package::Package) follows from it.

use std::net::IpAddr;
use std::time::Duration;

use lang::workflow::Workflow;
use llm::model::ModelSpec;
use serde_json::Value;

use crate::name::Name;

/// The program in the package: the one file that is copied and not generated.
pub const PROGRAM: &str = "flowmill";

/// The port inside the container, whatever the port outside.
pub const PORT: u16 = 8000;

/// The user and group inside the container.
pub const USER: u32 = 65532;

/// Where jobs are kept inside the container.
pub const DATA: &str = "/data";

/// What the container may take.
pub const MEMORY_MB: u32 = 512;

/// Between the end of the drain and the kill: answers still go out, the store is closed.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// In a cluster, how long a server that is to stop is still reached: until every node knows of it.
const CLUSTER_DRAIN_DELAY: Duration = Duration::from_secs(5);

/// What is deployed, and how.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// Of the container, its image and its volume.
    pub name: Name,
    /// Checked.
    pub workflow: &'a Workflow,
    /// The workflow's file, byte for byte.
    pub source: &'a str,
    /// The workflow's file is JSON, not YAML.
    pub is_json: bool,
    /// `flowmill.toml`, byte for byte, where the project has one.
    pub settings: Option<&'a str>,
    /// Who answers.
    pub answering: Answering,
    /// Files that the server's options name.
    pub attached: Vec<Attached>,
    /// The document that the server serves at `/openapi.json`.
    pub openapi: &'a Value,
    /// Inputs that fit, for the examples.
    pub sample: &'a Value,
    /// Inside the container.
    pub store: Store,
    /// `None` leaves it to the settings.
    pub sync_timeout: Option<Duration>,
    /// For runs in flight, at the end.
    pub drain_timeout: Duration,
    /// Address of the machine that the port is published on.
    pub host: IpAddr,
    /// Port of the machine.
    pub port: u16,
    /// Port of the machine for MLflow's page; `None` leaves MLflow out of the compose file.
    pub mlflow: Option<u16>,
    /// A file with keys is mounted.
    pub secrets: bool,
    /// Whom the server lets in on this machine.
    pub access: Access,
    /// Whom it lets in in a cluster, where others reach it.
    pub in_cluster: Access,
    /// What was chosen, for a label of the container that is started; `None`: nobody starts one
    /// now.
    pub options: Option<String>,
    /// What an `api_base` in the workflow may reach; `None` leaves it to the settings.
    pub model_allow: Option<String>,
    /// Where images are pushed to, such as `ghcr.io/acme`.
    pub registry: Option<String>,
    /// This program's version.
    pub version: &'a str,
}

/// Whom the server in the container lets in. It listens on all of the container's addresses, so
/// without keys it has to be told that something else guards it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Callers with a key. Without any the server does not start.
    Keys,
    /// Where there are no keys, everyone who reaches it.
    Open,
}

/// Who answers the prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answering {
    /// The models that the nodes name.
    Workflow,
    /// One model for all nodes.
    Model(ModelSpec),
    /// The built-in model.
    Offline,
    /// A cassette, which is attached.
    Replay,
    /// A script, which is attached.
    Replies,
}

/// A file for one of the server's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Its purpose.
    pub purpose: Purpose,
    /// Its bytes.
    pub text: String,
}

/// What an attached file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `--replay`
    Cassette,
    /// `--replies`
    Replies,
    /// `--prices`
    Prices,
    /// `--ca`
    Certificates,
}

impl Purpose {
    fn option(self) -> &'static str {
        match self {
            Self::Cassette => "--replay",
            Self::Replies => "--replies",
            Self::Prices => "--prices",
            Self::Certificates => "--ca",
        }
    }

    /// Its path in the package, and below `/app` in the image.
    pub fn path(self) -> &'static str {
        match self {
            Self::Cassette => "files/cassette.jsonl",
            Self::Replies => "files/replies.json",
            Self::Prices => "files/prices.toml",
            Self::Certificates => "files/ca.pem",
        }
    }
}

/// Where jobs are kept inside the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// Lost when the container ends.
    Memory,
    /// A file in the volume.
    File(String),
}

/// Why a store cannot be used in a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` would not outlive the container: jobs are kept in its volume; write sqlite:NAME.db, or memory to lose them"
)]
pub struct StoreError(String);

impl Store {
    /// A file of that path: relative to the volume, or inside it.
    pub fn file(path: &str) -> Result<Self, StoreError> {
        let name = path
            .strip_prefix(DATA)
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or(path);
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.bytes().all(fits) && name.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
            Ok(Self::File(name.to_owned()))
        } else {
            Err(StoreError(path.to_owned()))
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::File("flowmill.db".to_owned())
    }
}

impl Plan<'_> {
    /// How long after SIGTERM the container may be killed.
    pub fn stop_timeout(&self) -> Duration {
        // Whole seconds are what container engines count in.
        let drain = self.drain_timeout.as_secs() + u64::from(self.drain_timeout.subsec_nanos() > 0);
        Duration::from_secs(drain) + STOP_MARGIN
    }

    /// The same in a cluster, where requests still come for a while.
    pub(crate) fn cluster_stop_timeout(&self) -> Duration {
        CLUSTER_DRAIN_DELAY + self.stop_timeout()
    }

    /// Whether the container may have to reach this machine: a model server of one's own.
    pub fn reaches_host(&self) -> bool {
        !matches!(
            self.answering,
            Answering::Offline | Answering::Replay | Answering::Replies
        )
    }

    /// The workflow's file in the package and below `/app`.
    pub fn workflow_file(&self) -> &'static str {
        if self.is_json {
            "workflow.json"
        } else {
            "workflow.yaml"
        }
    }

    /// The server's arguments in a container of this machine.
    pub(crate) fn arguments(&self) -> Vec<String> {
        self.server_arguments(self.access, None)
    }

    /// The same in a cluster.
    pub(crate) fn cluster_arguments(&self) -> Vec<String> {
        self.server_arguments(self.in_cluster, Some(CLUSTER_DRAIN_DELAY))
    }

    /// Flags, because they win over a `.env` that was written for this machine.
    fn server_arguments(&self, access: Access, drain_delay: Option<Duration>) -> Vec<String> {
        let mut arguments = vec!["serve".to_owned(), self.workflow_file().to_owned()];
        let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        option("--host", "0.0.0.0".to_owned());
        option("--port", PORT.to_string());
        let store = match &self.store {
            Store::Memory => "memory".to_owned(),
            Store::File(name) => format!("sqlite:{DATA}/{name}"),
        };
        option("--store", store);
        if self.store != Store::Memory {
            option("--data-dir", DATA.to_owned());
        }
        option("--drain-timeout", written(self.drain_timeout));
        if let Some(delay) = drain_delay {
            option("--drain-delay", written(delay));
        }
        if let Some(timeout) = self.sync_timeout {
            option("--sync-timeout", written(timeout));
        }
        if let Answering::Model(spec) = &self.answering {
            let parts = [spec.provider.as_deref(), spec.model.as_deref()];
            let parts: Vec<&str> = parts.into_iter().flatten().collect();
            option("--model", parts.join("/"));
        }
        if let Some(allow) = &self.model_allow {
            option("--model-allow", allow.clone());
        }
        for attached in &self.attached {
            option(
                attached.purpose.option(),
                attached.purpose.path().to_owned(),
            );
        }
        if self.answering == Answering::Offline {
            arguments.push("--offline".to_owned());
        }
        // The container's own network: who reaches it is decided by the port that is published.
        if access == Access::Open {
            arguments.push("--insecure".to_owned());
        }
        arguments
    }
}

/// A duration as flowmill, Docker and Kubernetes read it.
pub(crate) fn written(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_in_the_volume() {
        let file = |name: &str| Ok(Store::File(name.to_owned()));
        assert_eq!(Store::file("jobs.db"), file("jobs.db"));
        assert_eq!(Store::file("/data/jobs.db"), file("jobs.db"));
        for path in ["/var/jobs.db", "../jobs.db", "a/b.db", "/data/", "", "a b"] {
            assert!(Store::file(path).is_err(), "{path}");
        }
    }

    #[test]
    fn durations_are_whole_units() {
        assert_eq!(written(Duration::from_secs(90)), "90s");
        assert_eq!(written(Duration::from_millis(1500)), "1500ms");
    }
}
