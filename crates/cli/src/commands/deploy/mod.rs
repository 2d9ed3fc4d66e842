//! `flowmill deploy`: from a workflow file to a running container. Everything is checked first; then the
//! package is written, the image built, the container started and waited for.

mod binary;
mod closing;
mod container;
pub(super) mod docker;
mod folder;
mod gates;
mod secrets;
mod steps;

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ::deploy::elf::Architecture;
use ::deploy::name::Name;
use ::deploy::package::Package;
use ::deploy::plan::{self, Answering, Attached, Plan, Purpose};
use ::deploy::variables;
use clap::ValueEnum;
use serde_json::Value;
use service::catalog::LoadedWorkflow;

use self::closing::Closing;
use self::container::Existing;
use self::docker::Compose;
use self::folder::Writing;
use self::secrets::Secrets;
use self::steps::Steps;
use super::Context;
use crate::config::log::Level;
use crate::config::models::Source;
use crate::config::serve::Host;
use crate::config::store::Store;
use crate::config::units::Time;
use crate::config::{models, text};
use crate::report::{self, Exit, Failure, Result};
use crate::{logging, printer, sample, workflow_file};

/// Deploy a workflow as a container: check it, package it, build its image, start it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowmill deploy greeting.yaml --offline
  flowmill deploy greeting.yaml --port 9000 --replace
  flowmill deploy greeting.yaml --generate --output-dir package
  flowmill deploy greeting.yaml --target kubernetes --registry ghcr.io/acme --push")]
pub(super) struct Args {
    /// Workflow file (.yaml, .yml, .json)
    file: PathBuf,

    /// Where the package is written
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "deploy",
        visible_alias = "output"
    )]
    output_dir: PathBuf,

    /// Name of the container, its image and its volume [default: made from the workflow's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// What is started: a container, a Compose project, or nothing, for Kubernetes
    #[arg(long, value_name = "TARGET", value_enum, default_value_t)]
    target: Target,

    /// Port of this machine
    #[arg(
        short,
        long,
        value_name = "PORT",
        default_value_t = 8000,
        visible_alias = "api-port"
    )]
    port: u16,

    /// Address of this machine that the port is published on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<Host>,

    /// Publish on an address that others can reach, although anyone who reaches it may run workflows
    #[arg(long)]
    insecure: bool,

    /// How long POST /run waits for its run before it answers 202 with a handle [default: 30s]
    #[arg(long, value_name = "TIME", visible_alias = "timeout")]
    sync_timeout: Option<Time>,

    /// How long runs in flight may go on when the container is stopped
    #[arg(long, value_name = "TIME", default_value = "30s")]
    drain_timeout: Time,

    /// Where jobs are kept in the container: sqlite:NAME.db in its volume, or memory to lose them [default:
    /// sqlite:flowmill.db]
    #[arg(long, value_name = "STORE")]
    store: Option<Store>,

    /// Start MLflow beside it (with --target compose)
    #[arg(long, conflicts_with = "no_mlflow")]
    mlflow: bool,

    /// Leave MLflow out of the Compose file
    #[arg(long)]
    no_mlflow: bool,

    /// Port of this machine for MLflow's page; 0 leaves MLflow out
    #[arg(long, value_name = "PORT", default_value_t = 5000)]
    mlflow_port: u16,

    /// File with the keys and addresses that the container gets [default: .env, if there is one]
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,

    /// Give the container no file of variables
    #[arg(long, conflicts_with = "env_file")]
    no_env_file: bool,

    /// Write the package and stop
    #[arg(long)]
    generate: bool,

    /// Overwrite files of the package that were changed by hand
    #[arg(short, long)]
    force: bool,

    /// Replace the container of that name; its runs may finish, its jobs are kept
    #[arg(long)]
    replace: bool,

    /// Platform of the image, linux/amd64 or linux/arm64 [default: the engine's]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Architecture>,

    /// Put this before the image's name, such as ghcr.io/acme
    #[arg(long, value_name = "REGISTRY")]
    registry: Option<String>,

    /// Push the image with `docker push`
    #[arg(long, requires = "registry")]
    push: bool,

    /// Static flowmill program for the image [default: this program, or one beside it]
    #[arg(long, value_name = "PATH", env = binary::VARIABLE)]
    binary: Option<PathBuf>,

    /// Store whose latest run the gates are checked against [default: that of `flowmill serve` here]
    #[arg(long, value_name = "STORE")]
    runs: Option<Store>,

    /// Deploy although a gate of the latest recorded run forbids it
    #[arg(long)]
    ignore_gates: bool,

    /// What stdout gets
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,

    #[command(flatten)]
    models: models::Options,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Target {
    /// A container of this machine's engine.
    #[default]
    Docker,
    /// A Compose project.
    Compose,
    /// The image, and what `kubectl apply` takes.
    Kubernetes,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Compose => "compose",
            Self::Kubernetes => "kubernetes",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// Where it is, how to call it and how to operate it.
    #[default]
    Text,
    /// One document: name, image, url, files, steps with their times.
    Json,
}

fn platform(text: &str) -> Result<Architecture, String> {
    match text {
        "linux/amd64" => Ok(Architecture::Amd64),
        "linux/arm64" => Ok(Architecture::Arm64),
        _ => Err(format!(
            "`{text}` is none that images are made for; use linux/amd64 or linux/arm64"
        )),
    }
}

pub(super) fn deploy(args: &Args, context: &Context) -> Result<Exit> {
    logging::start(
        &context.log,
        context.environment.rust_log().as_deref(),
        Level::Warn,
    );
    check_options(args)?;
    let mut steps = Steps::default();
    let prepared = Prepared::of(args, context, &mut steps)?;
    let plan = prepared.plan(args)?;
    let image = plan.image();

    let engine = if args.generate {
        None
    } else {
        Some(Engine::check(args, &plan, &prepared, &mut steps)?)
    };
    let wanted = engine
        .as_ref()
        .and_then(|engine| engine.platform)
        .or(args.platform)
        .or(Architecture::own())
        .unwrap_or(Architecture::Amd64);
    let program = match binary::find(args.binary.as_deref(), wanted) {
        Ok(path) => Some(path),
        Err(failure) if args.generate && args.binary.is_none() => {
            report::warning(&format!(
                "the package lacks its program `flowmill`: {}",
                failure.message
            ));
            None
        }
        Err(failure) => return Err(failure),
    };

    let package = Package::of(&plan);
    let writing = Writing::new(&args.output_dir, &package, args.force)?;
    steps.step(
        "package",
        || writing.write(program.as_deref()),
        |written| {
            format!(
                "package written to {} ({})",
                args.output_dir.display(),
                if *written == 0 {
                    "nothing changed".to_owned()
                } else {
                    workflow_file::many(*written, "file")
                }
            )
        },
    )?;

    let mut closing = Closing {
        plan: &plan,
        package: &package,
        folder: &args.output_dir,
        target: args.target.name(),
        compose: None,
        image: None,
        url: None,
        has_program: program.is_some(),
    };
    if let Some(engine) = engine {
        let folder = folder::absolute(&args.output_dir)?;
        if plan.secrets {
            prepared.secrets.write(&folder)?;
        }
        let size = build(&image, &folder, args.platform, &mut steps)?;
        closing.image = Some((image.clone(), size));
        if args.push {
            steps.step(
                "push",
                || docker::docker(["push", &image]),
                |_| format!("pushed {image}"),
            )?;
        }
        closing.compose = engine.compose;
        match args.target {
            Target::Kubernetes => {}
            Target::Docker => {
                container::start(&plan, &folder, engine.existing, args.platform, &mut steps)?;
                closing.url = Some(container::url(&plan));
            }
            Target::Compose => {
                let compose = engine.compose.expect("checked for this target");
                container::start_compose(&plan, &folder, compose, args.mlflow, &mut steps)?;
                closing.url = Some(container::url(&plan));
            }
        }
    }
    match args.format {
        Format::Text => printer::data(&closing.text())?,
        Format::Json => printer::data(&format!("{:#}", closing.json(&steps)))?,
    }
    Ok(Exit::Success)
}

/// What clap cannot say.
fn check_options(args: &Args) -> Result<()> {
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
    let host = host(args);
    if !host.is_loopback() && !args.insecure {
        return Err(Failure::usage(format!(
            "{host} can be reached by others, and no API keys are set up: anyone could run workflows at your expense"
        ))
        .hint("leave --host out to publish on 127.0.0.1, or add --insecure if something else guards the port"));
    }
    Ok(())
}

fn host(args: &Args) -> IpAddr {
    args.host
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |host| host.0)
}

/// What was read and found to be in order.
struct Prepared<'a> {
    source: lang::source::Source,
    loaded: LoadedWorkflow,
    settings: Option<&'a str>,
    answering: Answering,
    attached: Vec<Attached>,
    secrets: Secrets,
    openapi: Value,
    sample: Value,
}

impl<'a> Prepared<'a> {
    fn of(args: &Args, context: &'a Context, steps: &mut Steps) -> Result<Self> {
        let (source, workflow) = steps.step(
            "validate",
            || workflow_file::load(&args.file),
            |(_, workflow)| {
                format!(
                    "{} is valid: workflow `{}`",
                    args.file.display(),
                    workflow.name
                )
            },
        )?;
        if !args.ignore_gates {
            gates::check(&workflow, &gate_store(args, context))?;
        }
        let layers = args
            .models
            .clone()
            .layers(|id| context.is_flag(id), context.project.models.clone());
        let models = models::Options::settle(layers)?;
        let (answering, attached) = answering(&models)?;
        let loaded = LoadedWorkflow::new(&source, Arc::clone(&workflow));

        let mut secrets =
            Secrets::read(args.env_file.as_deref(), args.no_env_file || args.generate)?;
        let wanted = variables::of(&workflow, &answering);
        if !args.generate {
            secrets.add_from_shell(&wanted);
            secrets.check(&wanted)?;
            secrets
                .warnings(&wanted)
                .iter()
                .for_each(|warning| report::warning(warning));
            preflight(&loaded, &answering, &secrets)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|error| {
                Failure::new(Exit::Io, format!("the runtime could not start: {error}"))
            })?;
        Ok(Self {
            openapi: server::openapi_document(&loaded),
            sample: runtime.block_on(sample::of(&loaded.input_schema)),
            settings: context.project.text.as_deref(),
            source,
            loaded,
            answering,
            attached,
            secrets,
        })
    }

    fn plan(&'a self, args: &Args) -> Result<Plan<'a>> {
        let workflow = &*self.loaded.workflow;
        let name = match &args.name {
            None => Name::near(&workflow.name),
            Some(name) => Name::parse(name).map_err(|error| {
                Failure::usage(error.to_string()).hint(format!("--name {}", error.suggestion))
            })?,
        };
        let store = match &args.store {
            None => plan::Store::default(),
            Some(Store::Memory) => plan::Store::Memory,
            Some(Store::Sqlite(path)) => plan::Store::file(&path.to_string_lossy())
                .map_err(|error| Failure::usage(error.to_string()))?,
        };
        // Without Docker nobody knows yet what there will be; whoever asks for keys gets a place for them.
        let needs_any = variables::of(workflow, &self.answering)
            .iter()
            .any(|variable| variable.required);
        Ok(Plan {
            name,
            workflow,
            source: &self.source.text,
            is_json: args
                .file
                .extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case("json")),
            settings: self.settings,
            answering: self.answering.clone(),
            attached: self.attached.clone(),
            openapi: &self.openapi,
            sample: &self.sample,
            store,
            sync_timeout: args.sync_timeout.map(|time| time.0),
            drain_timeout: args.drain_timeout.0,
            host: host(args),
            port: args.port,
            mlflow: (!args.no_mlflow && args.mlflow_port != 0).then_some(args.mlflow_port),
            secrets: !self.secrets.is_empty() || needs_any,
            registry: args.registry.clone(),
            version: env!("CARGO_PKG_VERSION"),
        })
    }
}

/// Where `flowmill serve` here keeps its jobs.
fn gate_store(args: &Args, context: &Context) -> Store {
    let serve = &context.project.serve;
    args.runs
        .clone()
        .or_else(|| context.environment.variable("FLOWMILL_STORE")?.parse().ok())
        .or_else(|| serve.store.clone())
        .unwrap_or_else(|| {
            let folder = context
                .environment
                .variable("FLOWMILL_DATA_DIR")
                .map(PathBuf::from);
            let folder = folder
                .or_else(|| serve.data_dir.clone())
                .unwrap_or_default();
            Store::default_in(&folder)
        })
}

/// Who answers, with the files that this takes.
fn answering(settings: &models::Settings) -> Result<(Answering, Vec<Attached>)> {
    if settings.record.is_some() {
        return Err(Failure::usage(
            "a deployment records no cassette: its file system is read-only",
        )
        .hint("leave --record and FLOWMILL_RECORD out"));
    }
    let mut attached = Vec::new();
    let mut attach = |purpose, path: &Path| -> Result<()> {
        attached.push(Attached {
            purpose,
            text: text::read(path)?,
        });
        Ok(())
    };
    let answering = match &settings.source {
        Source::Workflow => Answering::Workflow,
        Source::Override(spec) => Answering::Model(spec.clone()),
        Source::Offline => Answering::Offline,
        Source::Replay(path) => {
            attach(Purpose::Cassette, path)?;
            Answering::Replay
        }
        Source::Replies(path) => {
            attach(Purpose::Replies, path)?;
            Answering::Replies
        }
    };
    if let Some(path) = &settings.prices {
        attach(Purpose::Prices, path)?;
    }
    if let Some(path) = &settings.ca {
        attach(Purpose::Certificates, path)?;
    }
    Ok((answering, attached))
}

/// Finds out now what would keep the server from starting in the container.
fn preflight(loaded: &LoadedWorkflow, answering: &Answering, secrets: &Secrets) -> Result<()> {
    let models: Arc<dyn llm::model::Models> = match answering {
        Answering::Workflow => secrets.models(None)?,
        Answering::Model(spec) => secrets.models(Some(spec))?,
        // Whatever is asked for, they answer.
        Answering::Offline | Answering::Replay | Answering::Replies => {
            Arc::new(llm::offline::Offline)
        }
    };
    loaded.preflight(&*models).map_err(|failure| {
        Failure::new(
            Exit::NotReady,
            format!("not deployed: its runs would fail: {}", failure.message),
        )
    })
}

/// The engine and what was found on it.
struct Engine {
    platform: Option<Architecture>,
    compose: Option<Compose>,
    existing: Option<Existing>,
}

impl Engine {
    /// Everything that could be in the way, before anything is written.
    fn check(
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
                    let existing = match args.target {
                        Target::Kubernetes => None,
                        _ => Existing::find(plan, args.replace)?,
                    };
                    let is_ours = existing
                        .as_ref()
                        .is_some_and(|existing| existing.publishes(plan.port));
                    if args.target != Target::Kubernetes && !is_ours {
                        check_port(plan.host, plan.port, "--port")?;
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
    match TcpListener::bind((host, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(
                Failure::new(Exit::Io, format!("port {port} of {host} is in use")).hint(format!(
                    "choose another with {option}, or stop what listens there"
                )),
            )
        }
        // Privileges and addresses are the engine's business, not ours.
        Err(_) => Ok(()),
    }
}

/// Builds the image; its size in bytes.
fn build(
    image: &str,
    folder: &Path,
    platform: Option<Architecture>,
    steps: &mut Steps,
) -> Result<u64> {
    steps.step(
        "build",
        || {
            let mut command = Command::new("docker");
            command.args(["build", "--tag", image]);
            if let Some(platform) = platform {
                command.arg("--platform").arg(format!("linux/{platform}"));
            }
            docker::run(command.arg(folder), "docker")?;
            let size = docker::docker(["image", "inspect", "--format", "{{.Size}}", image])?;
            size.parse().map_err(|_| {
                Failure::new(
                    Exit::Failed,
                    format!("`docker image inspect` gave no size: {size}"),
                )
            })
        },
        |size| format!("image {image} built ({})", megabytes(*size)),
    )
}

/// In millions of bytes, as Docker counts.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes.div_ceil(100_000);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

/// Longest time until a container has to be ready: a large store takes a moment to open.
const START: Duration = Duration::from_secs(60);
