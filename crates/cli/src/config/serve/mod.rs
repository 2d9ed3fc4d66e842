//! `[serve]`: the server's address, its times and its limits, and where jobs are kept.

pub(super) mod options;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lang::workflow::CaptureLevel;

pub(crate) use self::options::Options;
use crate::config::addresses::port;
use crate::config::environment::Environment;
use crate::config::secret::Secret;
use crate::config::store::{self, PostgresUrl, Store};
use crate::config::units::PositiveDuration;
use crate::config::{exposure, limits, webhooks};
use crate::failure::{Failure, Result};

/// Shortest lease. A lease is renewed after a third of its time, which must be well above the
/// duration of a commit.
const MIN_LEASE: Duration = Duration::from_millis(100);

/// Default maximum size of the store.
const DEFAULT_STORE_BYTES: u64 = 10 << 30;

/// The default port.
pub(crate) const DEFAULT_PORT: u16 = 8000;

/// The port that the variable `PORT` names: platforms such as Cloud Run, Heroku and Render expect
/// the server there.
pub(crate) fn platform_port() -> Result<Option<u16>> {
    let Some(text) = Environment::of_process("PORT") else {
        return Ok(None);
    };
    port(&text).map(Some).map_err(|reason| {
        Failure::usage(format!("PORT in the environment: {reason}")).hint("unset it, or add --port")
    })
}

/// The store of `flowmill serve` in this folder, as the environment and the settings file name it.
pub(crate) fn store_here(environment: &Environment, file: &Options) -> Result<Store> {
    let store = environment.variable(store::VARIABLE).map(Secret::from);
    let store_file = environment.variable(store::FILE_VARIABLE);
    let named = store::Named {
        store: store.as_ref(),
        file: store_file.as_deref().map(Path::new),
    };
    if let Some(store) = named.read(None)? {
        return Ok(store);
    }
    if let Some(store) = file.named_store().read(None)? {
        return Ok(store);
    }
    let data_dir = environment.variable("FLOWMILL_DATA_DIR").map(PathBuf::from);
    let data_dir = data_dir.or_else(|| file.data_dir.clone());
    Ok(Store::default_in(&data_dir.unwrap_or_default()))
}

/// The settings in effect.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on: 0 takes a free one, `None` the default.
    pub port: Option<u16>,
    /// How long `POST /run` waits for its run.
    pub sync_timeout: Duration,
    /// Longest wait that a client may request.
    pub max_wait: Duration,
    /// Largest request body in bytes.
    pub body_limit: usize,
    /// How long running jobs may continue during a shutdown.
    pub drain_timeout: Duration,
    /// Time between reporting not ready and refusing requests.
    pub drain_delay: Duration,
    /// Reload changed files.
    pub watch: bool,
    /// The job store.
    pub store: Store,
    /// The database behind the pooler that the store's URL names.
    pub store_listen_url: Option<PostgresUrl>,
    /// The name of this server among those that share its store.
    pub replica_name: Option<String>,
    /// Folder for the server's own files; created if it does not exist.
    pub data_dir: Option<PathBuf>,
    /// Concurrent runs. `None` here and below stands for the service's own default.
    pub max_running: Option<usize>,
    /// Queued jobs.
    pub max_queued: Option<usize>,
    /// How long a run belongs to a server that does not renew its lease.
    pub job_lease: Option<Duration>,
    /// How long a job is kept after it has ended.
    pub job_retention: Option<Duration>,
    /// Maximum size of the store.
    pub job_max_bytes: u64,
    /// The most that telemetry may record of any run.
    pub capture: CaptureLevel,
    /// How the ends of jobs are announced.
    pub webhooks: webhooks::Settings,
    /// A list of API keys, not parsed yet.
    pub api_keys: Option<Secret>,
    /// Limits of callers.
    pub limits: limits::Settings,
    /// Whether other machines may reach the server even without keys.
    pub insecure: bool,
    /// TLS, limits on connections, times and bodies, origins.
    pub exposure: exposure::Settings,
}

impl Options {
    /// Settles what clap has merged: of the options that name the store, those on the command line win
    /// over the environment.
    pub(crate) fn prefer_flags(
        &mut self,
        is_flag: impl Fn(&str) -> bool,
        environment: &Environment,
    ) -> Result<()> {
        if is_flag("store") && !is_flag("store_file") {
            self.store_file = None;
        }
        if is_flag("store_file") && !is_flag("store") {
            self.store = None;
        }
        let elsewhere = self.store.as_ref().map(Secret::reveal);
        if elsewhere.is_some_and(store::is_postgres_elsewhere) && self.store_file.is_none() {
            let named = self.named_store().read(Some(environment))?;
            self.store = named.and_then(|store| store.postgres().map(|url| url.text().clone()));
        }
        Ok(())
    }

    /// Warnings about passwords on the command line.
    pub(crate) fn exposed_passwords(
        &self,
        is_flag: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = &'static str> {
        let listen = store::Named {
            store: self.store_listen_url.as_ref(),
            file: None,
        };
        let of_listen = listen.warning(|_| is_flag("store_listen_url"));
        self.named_store()
            .warning(&is_flag)
            .into_iter()
            .chain(of_listen.map(|_| store::LISTEN_PASSWORD_SHOWN))
    }

    /// The options that name the store.
    pub(crate) fn named_store(&self) -> store::Named<'_> {
        store::Named {
            store: self.store.as_ref(),
            file: self.store_file.as_deref(),
        }
    }

    /// Fills unset options from the settings file, then with the defaults.
    pub(crate) fn settle(self, file: &Self) -> Result<Settings> {
        let host = self
            .host
            .or(file.host)
            .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |host| host.0);
        let time = |ours: Option<PositiveDuration>, theirs: Option<PositiveDuration>, default| {
            ours.or(theirs).map_or(default, |time| time.0)
        };
        let job_lease = self.job_lease.or(file.job_lease);
        if job_lease.is_some_and(|lease| lease.0 < MIN_LEASE) {
            return Err(Failure::usage(format!(
                "--job-lease must be at least {} ms, because a lease is renewed several times while it lasts",
                MIN_LEASE.as_millis()
            )));
        }
        let webhooks = webhooks::Settings::settle(&self, file);
        let exposure = exposure::Settings::settle(&self, file)?;
        let limits = limits::Settings::settle(&self, file)?;
        let store = match self.named_store().read(None)? {
            Some(store) => Some(store),
            None => file.named_store().read(None)?,
        };
        let listen_url = self.store_listen_url.as_ref();
        let store_listen_url = listen_url
            .or(file.store_listen_url.as_ref())
            .map(|url| url.reveal().trim().parse())
            .transpose()
            .map_err(|reason: String| Failure::usage(format!("--store-listen-url: {reason}")))?;
        if store_listen_url.is_some() && !store.as_ref().is_some_and(Store::is_shared) {
            return Err(Failure::usage(
                "--store-listen-url is for a PostgreSQL store, and --store names none",
            )
            .hint("add --store postgres://USER@HOST/DATABASE, or leave it out"));
        }
        let data_dir = self.data_dir.or_else(|| file.data_dir.clone());
        let sync_timeout = time(
            self.sync_timeout,
            file.sync_timeout,
            Duration::from_secs(30),
        );
        Ok(Settings {
            host,
            port: self.port.or(file.port),
            sync_timeout,
            // A default below the server's own wait would make no sense.
            max_wait: time(
                self.max_wait,
                file.max_wait,
                Duration::from_secs(300).max(sync_timeout),
            ),
            body_limit: self
                .body_limit
                .or(file.body_limit)
                .map_or(10 << 20, |size| size.0),
            drain_timeout: time(
                self.drain_timeout,
                file.drain_timeout,
                Duration::from_secs(30),
            ),
            drain_delay: time(self.drain_delay, file.drain_delay, Duration::ZERO),
            watch: self.watch.or(file.watch).unwrap_or_default(),
            store: store
                .unwrap_or_else(|| Store::default_in(data_dir.as_deref().unwrap_or("".as_ref()))),
            store_listen_url,
            replica_name: self.replica_name.or_else(|| file.replica_name.clone()),
            data_dir,
            max_running: self
                .max_running
                .or(file.max_running)
                .and_then(|runs| usize::try_from(runs.get()).ok()),
            max_queued: self.max_queued.or(file.max_queued),
            job_lease: job_lease.map(|lease| lease.0),
            job_retention: self
                .job_retention
                .or(file.job_retention)
                .map(|retention| retention.0),
            job_max_bytes: self
                .job_max_bytes
                .or(file.job_max_bytes)
                .map_or(DEFAULT_STORE_BYTES, |size| size.0 as u64),
            capture: self
                .capture
                .or(file.capture)
                .map(CaptureLevel::from)
                .unwrap_or_default(),
            webhooks,
            api_keys: self.api_keys.or_else(|| file.api_keys.clone()),
            limits,
            insecure: self.insecure.or(file.insecure).unwrap_or_default(),
            exposure,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::Size;

    #[test]
    fn the_file_is_below_the_command_line_and_above_the_defaults() {
        let file = Options {
            port: Some(1),
            body_limit: Some(Size(7)),
            ..Options::default()
        };
        let settings = Options {
            port: Some(2),
            ..Options::default()
        }
        .settle(&file)
        .expect("loopback");
        assert_eq!((settings.port, settings.body_limit), (Some(2), 7));
        assert_eq!(settings.sync_timeout, Duration::from_secs(30));
    }

    #[test]
    fn a_named_store_is_where_its_path_says_whatever_the_data_directory() {
        let check = |store: Option<&str>, data_dir: Option<&str>, expected: &str| {
            let options = Options {
                store: store.map(|store| Secret::from(store.to_owned())),
                data_dir: data_dir.map(PathBuf::from),
                ..Options::default()
            };
            let settings = options.settle(&Options::default()).expect("loopback");
            assert_eq!(settings.store.to_string(), expected);
        };
        check(None, None, "sqlite:flowmill.db");
        check(None, Some("data"), "sqlite:data/flowmill.db");
        check(Some("sqlite:a.db"), Some("data"), "sqlite:a.db");
        check(Some("memory"), Some("data"), "memory");
    }
}
