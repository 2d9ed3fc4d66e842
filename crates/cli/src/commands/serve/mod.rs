//! `flowmill serve`: serves workflows as an HTTP API until it is stopped.

mod access;
mod banner;
mod tls;
mod watch;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ::telemetry::{CountedStore, Telemetry};
use engine::host::Host;
use lang::source::Source;
use lang::workflow::Workflow;
use service::catalog::LoadedWorkflow;
use service::webhooks::Webhooks;
use service::{Config, Service};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::watch::Watched;
use super::context::Context;
use crate::config::environment::Environment;
use crate::config::log::Level;
use crate::config::serve::{DEFAULT_PORT, Settings};
use crate::config::store::Store;
use crate::config::{models, serve, telemetry};
use crate::failure::{Exit, Failure, Result};
use crate::job_store::Opened;
use crate::recording::PublishAt;
use crate::signals::Signals;
use crate::system_host::SystemHost;
use crate::telemetry_setup::{self, CLOSE_LIMIT};
use crate::workflow_file::many;
use crate::{assemble, job_store, open_file_limit, printer, runtime, workflow_file};

/// Serve workflows as an HTTP API
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowmill serve greeting.yaml --offline
  flowmill serve greeting.yaml article.yaml --port 9000 --watch

The first Ctrl-C or SIGTERM lets runs in flight finish; the second ends the process.")]
pub(super) struct Args {
    /// Workflow files (.yaml, .yml, .json), or workflows in MLflow's registry:
    /// `models:/NAME/VERSION`, `models:/NAME@ALIAS`
    #[arg(required = true)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    serve: serve::Options,

    #[command(flatten)]
    models: models::Options,

    /// Replace the cassette that --record names
    #[arg(short, long, help_heading = "Models")]
    force: bool,

    #[command(flatten)]
    telemetry: telemetry::Options,
}

pub(super) fn serve(args: Args, context: &Context) -> Result<Exit> {
    context.start_logging(Level::Info);
    let is_flag = |id: &str| context.is_flag(id);
    let mut options = args.serve;
    for warning in options.exposed_passwords(is_flag) {
        printer::warning(warning);
    }
    options.prefer_flags(is_flag, &context.environment)?;
    let mut settings = options.settle(&context.project.serve)?;
    if settings.port.is_none() {
        settings.port = serve::platform_port()?;
    }
    access::refuse_early(&settings)?;
    let tls = settings.exposure.tls.as_ref();
    let tls = tls.map(tls::Watched::open).transpose()?;
    let layers = args
        .models
        .layers(|id| context.is_flag(id), context.project.models.clone());
    let models = models::Options::settle(layers)?;
    let host: Arc<dyn Host> = Arc::new(SystemHost::new());
    let read =
        |file: &PathBuf| Loaded::read(file, models.ca.as_deref(), &context.environment, &host);
    let loaded = match read_all(&args.files, read) {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    for loaded in &loaded {
        assemble::refuse_recording(models.record.as_deref(), &loaded.workflow)?;
    }
    let webhooks = assemble::webhooks(&settings.webhooks, models.ca.as_deref())?;
    let record_options = assemble::RecordOptions {
        force: args.force,
        publish_at: PublishAt::FirstReply,
    };
    let answering = assemble::models(&models, record_options, &context.environment)?;
    refuse_same_names(&loaded)?;
    let telemetry = telemetry_setup::start(
        args.telemetry.settle(&context.project.telemetry),
        models.ca.as_deref(),
        &context.environment,
        host.clone(),
    )?;
    let max_connections = open_file_limit::raise(settings.max_running);
    let port = Port {
        max_connections,
        tls,
    };
    let clients = Clients {
        answering,
        webhooks,
        ca: models.ca,
    };
    let runtime = runtime::of_all_cores()?;
    let exit = runtime.block_on(async {
        let exit = serve_until_told(settings, port, clients, loaded, &telemetry, host).await;
        if matches!(exit, Ok(Exit::Success)) {
            telemetry.close(CLOSE_LIMIT).await;
        }
        exit
    });
    // A hanging system call must not keep the process alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    exit
}

/// A workflow file that is being served.
#[derive(Debug)]
struct Loaded {
    path: PathBuf,
    source: Source,
    workflow: Arc<Workflow>,
}

impl Loaded {
    fn read(
        path: &Path,
        ca: Option<&Path>,
        environment: &Environment,
        host: &Arc<dyn Host>,
    ) -> Result<Self> {
        let (source, workflow) = match telemetry_setup::registered(path, ca, environment, host)? {
            Some(source) => workflow_file::load_text(source)?,
            None => workflow_file::load(path)?,
        };
        Ok(Self {
            path: path.to_owned(),
            source,
            workflow,
        })
    }
}

/// Reads every file and reports the faults of each. The command exits with the worst code.
fn read_all(
    files: &[PathBuf],
    read: impl Fn(&PathBuf) -> Result<Loaded>,
) -> Result<Vec<Loaded>, Exit> {
    let mut loaded = Vec::new();
    let mut worst = Exit::Success;
    for file in files {
        match read(file) {
            Ok(one) => loaded.push(one),
            Err(failure) => {
                printer::failure(&failure);
                worst = worst.max(failure.exit);
            }
        }
    }
    if worst == Exit::Success {
        Ok(loaded)
    } else {
        Err(worst)
    }
}

/// Requests name workflows, so names must be unique.
fn refuse_same_names(loaded: &[Loaded]) -> Result<()> {
    for (position, one) in loaded.iter().enumerate() {
        if let Some(other) = loaded[..position]
            .iter()
            .find(|other| other.workflow.name == one.workflow.name)
        {
            let message = format!(
                "{} and {} both have the name `{}`",
                other.path.display(),
                one.path.display(),
                one.workflow.name
            );
            return Err(Failure::new(Exit::Invalid, message).hint("give each its own flow.name"));
        }
    }
    Ok(())
}

/// What the port needs besides the settings.
#[derive(Debug)]
struct Port {
    /// Most connections, from the limit on open files.
    max_connections: Option<NonZeroUsize>,
    tls: Option<tls::Watched>,
}

/// What the server reaches others with.
struct Clients {
    answering: assemble::AssembledModels,
    webhooks: Webhooks,
    /// Certificates to trust besides the built-in roots.
    ca: Option<PathBuf>,
}

async fn serve_until_told(
    settings: Settings,
    port: Port,
    clients: Clients,
    loaded: Vec<Loaded>,
    telemetry: &Telemetry,
    host: Arc<dyn Host>,
) -> Result<Exit> {
    // Listen for signals before the server announces itself and somebody may stop it.
    let mut signals = Signals::listen()?.with_hang_up(port.tls.is_some())?;
    let Clients {
        answering,
        webhooks,
        ca,
    } = clients;
    let is_recording = answering.recording.is_some();
    let store = open_store(&settings, ca.as_deref(), &*host).await?;
    if let Some(database) = store.database {
        let metrics = telemetry.metrics();
        let signals = store.signals.clone();
        metrics.watch_database(move || (database.activity(), signals.reception()));
    }
    let replica_name = settings.replica_name.clone().unwrap_or_else(own_name);
    let key_stores = access::KeyStores {
        keys: store.keys,
        spend: store.spend,
        are_shared: store.jobs.is_shared(),
        signals: store.signals.clone(),
    };
    let access = access::open(&settings, key_stores, host.clone()).await?;
    let has_keys = access.as_ref().is_some_and(|access| access.is_in_use());
    let config = Config {
        store: Arc::new(CountedStore::new(
            store.jobs,
            host.clone(),
            telemetry.metrics(),
        )),
        signals: store.signals,
        models: answering.models,
        host,
        webhooks: Some(webhooks),
        accounts: access.as_ref().map(|access| access.accounts().clone()),
        settings: service_settings(&settings, &replica_name),
    };
    let (service, watched) = start_service(config, telemetry, loaded)?;
    if let Some(access) = &access {
        access::warn_of_unknown_workflows(access, &service).await;
    }
    let listener = bind(&settings)?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::new(Exit::Io, format!("the address is unknown: {error}")))?;
    let workflows = service.catalog().all();
    let notices = [answering.notice, telemetry.notice()];
    let notices: Vec<String> = notices.into_iter().flatten().collect();
    printer::note(
        &banner::banner(
            address,
            &notices,
            &workflows,
            &settings,
            &replica_name,
            has_keys,
        )
        .await,
    );

    let app = server::App::observed(
        service.clone(),
        server_settings(&settings, &port, has_keys),
        telemetry.clone(),
    )
    .guarded(access.clone());
    let stop = CancellationToken::new();
    let keeping = access.map(|access| {
        let stop = stop.clone();
        tokio::spawn(async move { access.keep(stop).await })
    });
    let renewing = port.tls.map(|tls| tokio::spawn(tls.watch(stop.clone())));
    let mut serving = tokio::spawn(server::serve(listener, app, stop.clone()));
    let watching = settings.watch.then(|| {
        tokio::spawn(watch::watch(
            service.clone(),
            watched,
            is_recording,
            stop.clone(),
        ))
    });

    tokio::select! {
        () = signals.next() => {}
        _ = &mut serving => return Err(Failure::new(Exit::Failed, "the server stopped unexpectedly")),
    }
    if drain(&service, &settings, &mut signals).await == Exit::Interrupted {
        printer::warning(match settings.store {
            Store::Memory => "stopped immediately; running jobs are lost",
            Store::Sqlite(_) => "stopped immediately; running jobs continue at the next start",
            Store::Postgres(_) => {
                "stopped immediately; running jobs continue on another replica once the lease has ended, or at the next start"
            }
        });
        return Ok(Exit::Interrupted);
    }
    stop.cancel();
    tokio::select! {
        _ = serving => {}
        () = signals.next() => return Ok(Exit::Interrupted),
    }
    // These tasks end by the same token.
    for task in [watching, keeping, renewing].into_iter().flatten() {
        let _ = task.await;
    }
    Ok(Exit::Success)
}

/// Starts the service with its workflows. A workflow that could only fail is reported now, not to
/// its first caller.
fn start_service(
    config: Config,
    telemetry: &Telemetry,
    loaded: Vec<Loaded>,
) -> Result<(Service, Vec<Watched>)> {
    let service = Service::observed(config, Some(Arc::new(telemetry.clone())));
    let mut watched = Vec::new();
    let mut failures = Vec::new();
    for Loaded {
        path,
        source,
        workflow,
    } in loaded
    {
        let workflow = service
            .catalog()
            .put(LoadedWorkflow::new(&source, workflow));
        if let Err(failure) = workflow.preflight(&**service.models()) {
            failures.push(format!("{}: {}", path.display(), failure.message));
        }
        watched.push(Watched::new(path, &source, &workflow));
    }
    if failures.is_empty() {
        return Ok((service, watched));
    }
    Err(Failure::new(
        Exit::NotReady,
        "the server was not started: its runs would fail",
    )
    .details(failures))
}

/// Opens the store, and creates the data directory if one was named.
async fn open_store(settings: &Settings, ca: Option<&Path>, host: &dyn Host) -> Result<Opened> {
    if let (Store::Sqlite(_), Some(folder)) = (&settings.store, &settings.data_dir) {
        std::fs::create_dir_all(folder).map_err(|error| {
            let shown = folder.display();
            Failure::new(Exit::Io, format!("`{shown}` could not be created: {error}"))
        })?;
    }
    let reach = job_store::Reach {
        ca,
        listen_url: settings.store_listen_url.as_ref(),
        signals_as: Some(host.new_id()),
    };
    job_store::open_to_serve(&settings.store, reach).await
}

/// The name of this process among the replicas of a store: its host and its number there.
fn own_name() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    format!("{host}:{}", std::process::id())
}

/// Informs load balancers, then lets running jobs finish. Another signal interrupts that.
async fn drain(service: &Service, settings: &Settings, signals: &mut Signals) -> Exit {
    service.prepare_to_stop();
    if !settings.drain_delay.is_zero() {
        printer::note(
            "stopping: not ready for new requests, but those that arrive are still accepted",
        );
        tokio::select! {
            () = tokio::time::sleep(settings.drain_delay) => {}
            () = signals.next() => return Exit::Interrupted,
        }
    }
    let mut drain = pin!(service.drain(settings.drain_timeout));
    // Polled once before the announcement, so that a reader of the line finds the server draining.
    let drained = match futures_util::poll!(drain.as_mut()) {
        Poll::Ready(drained) => drained,
        Poll::Pending => {
            printer::note(
                "stopping: running jobs may finish; press Ctrl-C or send SIGTERM again to stop immediately",
            );
            tokio::select! {
                drained = drain => drained,
                () = signals.next() => return Exit::Interrupted,
            }
        }
    };
    if drained.cancelled > 0 {
        printer::warning(&format!(
            "{} did not finish in time and were cancelled",
            many(drained.cancelled, "run")
        ));
    }
    if drained.handed_back > 0 {
        let when = if settings.store.is_shared() {
            "continue on another replica, or at the next start"
        } else {
            "will continue at the next start"
        };
        printer::note(&format!(
            "{} did not finish in time and {when}",
            many(drained.handed_back, "run")
        ));
    }
    Exit::Success
}

fn bind(settings: &Settings) -> Result<TcpListener> {
    let address = SocketAddr::new(settings.host, settings.port.unwrap_or(DEFAULT_PORT));
    server::bind(address).map_err(|error| {
        let failure = Failure::new(Exit::Io, format!("cannot listen on {address}: {error}"));
        match error.kind() {
            std::io::ErrorKind::AddrInUse => failure
                .hint("another program uses this port; choose another --port, or 0 for a free one"),
            std::io::ErrorKind::PermissionDenied => {
                failure.hint("ports below 1024 need special privileges; choose another --port")
            }
            _ => failure,
        }
    })
}

fn service_settings(settings: &Settings, replica_name: &str) -> service::Settings {
    let default = service::Settings::default();
    service::Settings {
        max_running: settings.max_running.unwrap_or(default.max_running),
        max_queued: settings.max_queued.or(default.max_queued),
        // A store in memory belongs to this process, and a SQLite file is locked.
        exclusive_store: !settings.store.is_shared(),
        replica_name: replica_name.into(),
        lease: settings.job_lease.unwrap_or(default.lease),
        retention: settings.job_retention.unwrap_or(default.retention),
        max_store_bytes: Some(settings.job_max_bytes),
        capture: settings.capture,
        ..default
    }
}

fn server_settings(settings: &Settings, port: &Port, has_keys: bool) -> server::Settings {
    let default = server::Settings::default();
    let exposure = &settings.exposure;
    server::Settings {
        sync_timeout: settings.sync_timeout,
        max_wait: settings.max_wait,
        max_body_bytes: settings.body_limit,
        trusted_proxies: settings.limits.trusted_proxies.clone(),
        address_requests_per_minute: settings.limits.per_address(settings.host, has_keys),
        max_body_values: exposure.body_values.unwrap_or(default.max_body_values),
        max_text_bytes: exposure.text_limit.unwrap_or(default.max_text_bytes),
        head_timeout: exposure.head_timeout.unwrap_or(default.head_timeout),
        body_timeout: exposure.body_timeout.unwrap_or(default.body_timeout),
        write_timeout: exposure.write_timeout.unwrap_or(default.write_timeout),
        idle_timeout: exposure.idle_timeout.unwrap_or(default.idle_timeout),
        max_connections: exposure.max_connections.or(port.max_connections),
        max_connections_per_address: exposure.max_connections_per_address,
        tls: port.tls.as_ref().map(tls::Watched::tls),
        origins: exposure.origins.iter().cloned().collect(),
        allowed_hosts: exposure.allowed_hosts(settings.host, has_keys),
        root_path: exposure.root_path.clone(),
        ..default
    }
}
