//! Every decision about a deployment. A [`Package`](crate::package::Package) follows from it.

use std::net::IpAddr;
use std::time::Duration;

use lang::workflow::Workflow;
use llm::model::ModelSpec;
use serde_json::Value;

use crate::name::Name;

/// The program in the package: the one file that is copied and not generated.
pub const PROGRAM: &str = "flowmill";

/// The port inside the container, whichever port is published.
pub const PORT: u16 = 8000;

/// The user and group inside the container.
pub const USER: u32 = 65532;

/// Where jobs are kept inside the container.
pub const DATA: &str = "/data";

/// The most memory of the container.
pub const MEMORY_MB: u32 = 512;

/// The time between the end of the drain and the kill: answers are sent and the store is closed.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// In a cluster, how long requests still reach a server that is stopping: until every node of the
/// cluster has learnt of it.
const CLUSTER_DRAIN_DELAY: Duration = Duration::from_secs(5);

/// What is deployed, and how.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// The name of the container, its image and its volume.
    pub name: Name,
    /// The workflow that is served.
    pub workflow: &'a Workflow,
    /// The workflow's file, byte for byte.
    pub source: &'a str,
    /// Whether the workflow's file is JSON and not YAML.
    pub is_json: bool,
    /// `flowmill.toml`, byte for byte, where the project has one.
    pub settings: Option<&'a str>,
    /// Where the answers to prompts come from.
    pub model_source: ModelSource,
    /// The files that the options of the server name.
    pub attached: Vec<Attached>,
    /// The document that the server serves at `/openapi.json`.
    pub openapi: &'a Value,
    /// Valid inputs, for the examples.
    pub sample: &'a Value,
    /// Where jobs are kept.
    pub store: Store,
    /// How many servers there are in a Compose project and in a cluster. More than one need a shared
    /// store.
    pub replicas: u16,
    /// Up to how many servers a cluster may start when jobs wait; `None`: always the same number.
    pub max_replicas: Option<u16>,
    /// How long a request waits for its run; `None` leaves it to the settings.
    pub sync_timeout: Option<Duration>,
    /// How long a server that stops waits for its runs.
    pub drain_timeout: Duration,
    /// The address of this machine on which the port is published.
    pub host: IpAddr,
    /// The port of this machine.
    pub port: u16,
    /// The port of this machine for MLflow's page; `None` leaves MLflow out of the compose file.
    pub mlflow: Option<u16>,
    /// Whether a file with keys is mounted.
    pub secrets: bool,
    /// Who may call the server on this machine.
    pub access: Access,
    /// Who may call it in a cluster, where others can reach it.
    pub in_cluster: Access,
    /// The options that were given, for a label of the container; `None` where no container is
    /// started.
    pub options: Option<String>,
    /// What an `api_base` in the workflow may reach; `None` leaves it to the settings.
    pub model_allow: Option<String>,
    /// Where images are pushed to, such as `ghcr.io/acme`.
    pub registry: Option<String>,
    /// This program's version.
    pub version: &'a str,
}

/// Who may call the server in the container. It listens on all addresses of the container, so
/// without keys it must be told that something else protects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Callers with a key. Without any the server does not start.
    Keys,
    /// Where there are no keys, everyone who reaches it.
    Open,
}

/// Where the answers to prompts come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The models that the nodes name.
    Workflow,
    /// One model for all nodes.
    Model(ModelSpec),
    /// The built-in model, which needs no network.
    Offline,
    /// A cassette, which is attached.
    Replay,
    /// A script, which is attached.
    Replies,
}

/// A file for one of the server's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// What it is for.
    pub purpose: Purpose,
    /// The contents of the file.
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
    /// A PostgreSQL database, whose URL is among the variables.
    Postgres,
}

/// Why a store cannot be used in a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` would not outlive the container: jobs are kept in its volume; write sqlite:NAME.db, or memory to lose them"
)]
pub struct StoreError(String);

impl Store {
    /// A file in the volume, by its path in it or by its path in the container.
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
    /// Whether jobs are in a volume.
    pub fn has_volume(&self) -> bool {
        matches!(self.store, Store::File(_))
    }

    /// The ports of this machine on which the servers of a Compose project are published, one each.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        (self.port..=u16::MAX).take(self.replicas.into())
    }

    /// The name of a server's container, the first of which is 0.
    pub fn container(&self, index: usize) -> String {
        match index {
            0 => self.name.to_string(),
            _ => format!("{}-{}", self.name, index + 1),
        }
    }

    /// How long after SIGTERM the container may be killed.
    pub fn stop_timeout(&self) -> Duration {
        // Container engines count in whole seconds.
        let drain = self.drain_timeout.as_secs() + u64::from(self.drain_timeout.subsec_nanos() > 0);
        Duration::from_secs(drain) + STOP_MARGIN
    }

    /// The same in a cluster, where requests still arrive for a while.
    pub(crate) fn cluster_stop_timeout(&self) -> Duration {
        CLUSTER_DRAIN_DELAY + self.stop_timeout()
    }

    /// The store as the server's argument names it.
    pub fn store_argument(&self) -> String {
        match &self.store {
            Store::Memory => "memory".to_owned(),
            Store::File(name) => format!("sqlite:{DATA}/{name}"),
            // The URL is in the mounted file of variables.
            Store::Postgres => "postgres".to_owned(),
        }
    }

    /// Whether the container may have to reach this machine, where a model server or the database may run.
    pub fn reaches_host(&self) -> bool {
        let asks_no_model = matches!(
            self.model_source,
            ModelSource::Offline | ModelSource::Replay | ModelSource::Replies
        );
        !asks_no_model || self.store == Store::Postgres
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

    /// Options on the command line, because they win over a `.env` that was written for this
    /// machine.
    fn server_arguments(&self, access: Access, drain_delay: Option<Duration>) -> Vec<String> {
        let mut arguments = vec!["serve".to_owned(), self.workflow_file().to_owned()];
        let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        option("--host", "0.0.0.0".to_owned());
        option("--port", PORT.to_string());
        option("--store", self.store_argument());
        if self.has_volume() {
            option("--data-dir", DATA.to_owned());
        }
        option("--drain-timeout", written(self.drain_timeout));
        if let Some(delay) = drain_delay {
            option("--drain-delay", written(delay));
        }
        if let Some(timeout) = self.sync_timeout {
            option("--sync-timeout", written(timeout));
        }
        if let ModelSource::Model(spec) = &self.model_source {
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
        if self.model_source == ModelSource::Offline {
            arguments.push("--offline".to_owned());
        }
        // On the network of the container, the published port decides who can reach the server.
        if access == Access::Open {
            arguments.push("--insecure".to_owned());
        }
        arguments
    }
}

/// A duration in a form that flowmill, Docker and Kubernetes all read.
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
