//! The files of a package. Each follows from the plan alone.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::{Value, json};

use crate::dockerfile::{dockerfile, dockerignore};
use crate::examples;
use crate::plan::{Access, DATA, MEMORY_MB, ModelSource, PORT, Plan, Store, USER, written};
use crate::render::{Template, render};
use crate::sbom;
use crate::variables::{self, MACHINE};

/// The folder for keys in the package, which nobody else may read, and the file in it. They are no
/// part of the image and of no repository: the file is mounted when the container starts.
pub const SECRETS: (&str, &str) = ("secrets", "secrets/flowmill.env");

/// The label that marks our containers and images; its value is the name of the deployment.
pub const LABEL: &str = "io.flowmill.deployment";

/// The label with the options of a deployment, for the next deployment of the same name.
pub const OPTIONS_LABEL: &str = "io.flowmill.options";

/// A file of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedFile {
    /// The path below the package's folder, with `/`.
    pub path: &'static str,
    /// The contents: all files are text.
    pub text: String,
}

/// All files but the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The files in the order in which they are listed for the user.
    pub files: Vec<GeneratedFile>,
}

impl Package {
    /// The files of a plan.
    pub fn of(plan: &Plan<'_>) -> Self {
        let mut files = Vec::new();
        let mut add = |path, text| files.push(GeneratedFile { path, text });
        let context = Context::of(plan);
        add("Dockerfile", dockerfile(plan));
        add(".dockerignore", dockerignore(plan));
        add("docker-compose.yml", render(Template::Compose, &context));
        add("kubernetes.yaml", render(Template::Kubernetes, &context));
        add(".env.example", render(Template::Env, &context));
        add("README.md", render(Template::Readme, &context));
        add(plan.workflow_file(), plan.source.to_owned());
        if let Some(settings) = plan.settings {
            add("flowmill.toml", settings.to_owned());
        }
        for attached in &plan.attached {
            add(attached.purpose.path(), attached.text.clone());
        }
        add("openapi.json", format!("{:#}\n", plan.openapi));
        add(sbom::FILE, sbom::document(plan));
        add(".gitignore", include_str!("templates/gitignore").to_owned());
        add(
            "data/README",
            include_str!("templates/data-readme").to_owned(),
        );
        Self { files }
    }

    /// The text of a file.
    pub fn text(&self, path: &str) -> Option<&str> {
        let file = self.files.iter().find(|file| file.path == path)?;
        Some(&file.text)
    }
}

/// The values that the templates use.
#[derive(Serialize)]
struct Context<'a> {
    title: &'a str,
    version: Option<&'a str>,
    description: Option<&'a str>,
    flowmill: &'a str,
    name: &'a str,
    label: &'a str,
    options_label: &'static str,
    options: Option<&'a str>,
    image: String,
    port: u16,
    publish: String,
    publish_mlflow: Option<String>,
    mlflow_port: Option<u16>,
    mlflow_volume: String,
    inner_port: u16,
    user: u32,
    memory: String,
    memory_in_kubernetes: String,
    has_data: bool,
    is_shared: bool,
    services: Vec<Service>,
    several: Option<u16>,
    data: &'a str,
    store_path: Option<String>,
    volume: String,
    secrets: bool,
    wants_keys: bool,
    machine: Option<String>,
    stop: String,
    stop_seconds: u64,
    drain: String,
    variables: Vec<variables::Variable>,
    kubernetes: Kubernetes,
    url: String,
    is_local: bool,
    curl: String,
    curl_job: String,
    python: String,
    fields: Vec<Field>,
    secrets_file: &'a str,
    workflow_file: &'a str,
    answers: Option<&'a str>,
    settings: bool,
}

/// A server in the Compose file.
#[derive(Serialize)]
struct Service {
    number: usize,
    container: String,
    publish: String,
    is_first: bool,
}

/// The names and settings of the objects in Kubernetes.
#[derive(Serialize)]
struct Kubernetes {
    name: String,
    volume: String,
    secret: String,
    mounts_secret: bool,
    wants_keys: bool,
    arguments: Vec<String>,
    stop_seconds: u64,
    replicas: u16,
    max_replicas: Option<u16>,
}

/// An input, for the table of the README.
#[derive(Serialize)]
struct Field {
    name: String,
    kind: String,
    required: bool,
    default: Option<String>,
    description: String,
}

impl<'a> Context<'a> {
    fn of(plan: &'a Plan<'a>) -> Self {
        let workflow = plan.workflow;
        let host = host_text(plan.host);
        // The reader of the README is on this machine.
        let reachable = match plan.host {
            host if !host.is_unspecified() => host_text(host),
            IpAddr::V4(_) => "127.0.0.1".to_owned(),
            IpAddr::V6(_) => "[::1]".to_owned(),
        };
        let url = format!("http://{reachable}:{}", plan.port);
        let in_kubernetes = plan.name.in_kubernetes();
        Self {
            title: &workflow.name,
            version: workflow.version.as_deref(),
            description: workflow.description.as_deref(),
            flowmill: plan.version,
            name: plan.name.as_str(),
            label: LABEL,
            options_label: OPTIONS_LABEL,
            options: plan.options.as_deref(),
            image: plan.image(),
            port: plan.port,
            publish: format!("{host}:{}:{PORT}", plan.port),
            // MLflow has no access control, so it is published on this machine only.
            publish_mlflow: plan.mlflow.map(|port| {
                let host = if plan.host.is_loopback() {
                    &host
                } else {
                    "127.0.0.1"
                };
                format!("{host}:{port}:5000")
            }),
            mlflow_port: plan.mlflow,
            mlflow_volume: format!("{}-mlflow", plan.name),
            inner_port: PORT,
            user: USER,
            memory: format!("{MEMORY_MB}m"),
            memory_in_kubernetes: format!("{MEMORY_MB}Mi"),
            has_data: plan.has_volume(),
            is_shared: plan.store == Store::Postgres,
            services: services(plan, &host),
            several: (plan.replicas > 1).then_some(plan.replicas),
            data: DATA,
            store_path: match &plan.store {
                Store::Memory | Store::Postgres => None,
                Store::File(name) => Some(format!("{DATA}/{name}")),
            },
            volume: plan.name.volume(),
            secrets: plan.secrets,
            wants_keys: plan.access == Access::Keys,
            machine: plan
                .reaches_host()
                .then(|| format!("{MACHINE}:host-gateway")),
            stop: written(plan.stop_timeout()),
            stop_seconds: plan.stop_timeout().as_secs(),
            drain: written(plan.drain_timeout),
            variables: variables::of(workflow, &plan.model_source),
            kubernetes: Kubernetes {
                volume: format!("{in_kubernetes}-data"),
                secret: format!("{in_kubernetes}-env"),
                mounts_secret: plan.secrets || plan.in_cluster == Access::Keys,
                wants_keys: plan.in_cluster == Access::Keys,
                arguments: plan.cluster_arguments(),
                stop_seconds: plan.cluster_stop_timeout().as_secs(),
                replicas: plan.replicas,
                max_replicas: plan.max_replicas,
                name: in_kubernetes,
            },
            curl: examples::curl(&url, "/run", plan.sample, plan.access),
            curl_job: examples::curl(
                &url,
                "/jobs",
                &json!({ "inputs": plan.sample }),
                plan.access,
            ),
            python: examples::python(&url, plan.sample, plan.access),
            url,
            is_local: plan.host.is_loopback(),
            fields: fields(plan),
            secrets_file: SECRETS.1,
            workflow_file: plan.workflow_file(),
            answers: match &plan.model_source {
                ModelSource::Workflow => None,
                ModelSource::Model(_) => {
                    Some("Every node asks one model, whatever the workflow says")
                }
                ModelSource::Offline => {
                    Some("The built-in model makes the answers up; no model is called")
                }
                ModelSource::Replay => Some("The answers come from a cassette; no model is called"),
                ModelSource::Replies => Some("The answers come from a script; no model is called"),
            },
            settings: plan.settings.is_some(),
        }
    }
}

/// The name of a server in the Compose file, the first of which is 0.
pub fn service_key(index: usize) -> String {
    match index {
        0 => "flowmill".to_owned(),
        _ => format!("flowmill-{}", index + 1),
    }
}

/// The servers of the Compose file, each on a port of its own.
fn services(plan: &Plan<'_>, host: &str) -> Vec<Service> {
    let service = |(index, port)| Service {
        number: index + 1,
        container: plan.container(index),
        publish: format!("{host}:{port}:{PORT}"),
        is_first: index == 0,
    };
    plan.ports().enumerate().map(service).collect()
}

fn host_text(host: IpAddr) -> String {
    match host {
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => format!("[{host}]"),
    }
}

/// The inputs a caller may give, the required ones first.
fn fields(plan: &Plan<'_>) -> Vec<Field> {
    let is_input = |field: &&lang::workflow::Field| field.required || field.written_by.is_empty();
    let mut fields: Vec<Field> = plan
        .workflow
        .fields
        .iter()
        .filter(is_input)
        .map(|field| Field {
            name: field.name.clone(),
            kind: field.ty.to_string(),
            required: field.required,
            default: field.default.as_ref().map(Value::to_string),
            description: field.description.clone().unwrap_or_default(),
        })
        .collect();
    fields.sort_by_key(|field| !field.required);
    fields
}
