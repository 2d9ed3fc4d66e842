//! The options and keys of `[serve]`.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use serde::Deserialize;

use crate::config::addresses::{CorsOrigin, Host, HostName, Networks, ProxyPath, port};
use crate::config::allowed::AllowList;
use crate::config::capture::Capture;
use crate::config::secret::Secret;
use crate::config::units::{Dollars, DurationOrZero, PositiveDuration, Size};

/// As given on the command line, in the environment, or in the file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Server")]
#[group(skip)]
pub(crate) struct Options {
    /// Address to listen on: an IP address or localhost [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS", env = "FLOWMILL_HOST")]
    pub host: Option<Host>,

    /// Port to listen on; 0 takes a free one [default: the variable PORT, else 8000]
    #[arg(short, long, value_name = "PORT", env = "FLOWMILL_PORT", value_parser = port)]
    pub port: Option<u16>,

    /// How long POST /run waits for its run to end before it answers 202 with the job's id
    /// [default: 30s]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_SYNC_TIMEOUT")]
    pub sync_timeout: Option<PositiveDuration>,

    /// Longest wait that a client may request with Prefer: wait=N [default: 5m]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_MAX_WAIT")]
    pub max_wait: Option<PositiveDuration>,

    /// Largest request body [default: 10MB]
    #[arg(long, value_name = "SIZE", env = "FLOWMILL_BODY_LIMIT")]
    pub body_limit: Option<Size>,

    /// How long running jobs may continue after SIGTERM or Ctrl-C [default: 30s]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_DRAIN_TIMEOUT")]
    pub drain_timeout: Option<PositiveDuration>,

    /// How long /health/ready answers 503 before the shutdown itself begins, so that load balancers
    /// stop sending requests; requests that still arrive are accepted [default: 0s]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_DRAIN_DELAY")]
    pub drain_delay: Option<PositiveDuration>,

    /// Reload a workflow file when it changes
    #[arg(
        short, long, value_name = "BOOL", env = "FLOWMILL_WATCH",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new()
    )]
    pub watch: Option<bool>,

    /// Job store: `sqlite:PATH`; `postgres://USER@HOST/DATABASE`, which servers may share; or memory,
    /// which loses all jobs when the process ends. `postgres` alone takes the URL from the environment
    /// variable, which is the place for one with a password [default: sqlite:flowmill.db in the data
    /// directory]
    #[arg(
        long,
        value_name = "STORE",
        env = "FLOWMILL_STORE",
        hide_env_values = true
    )]
    pub store: Option<Secret>,

    /// File that holds the job store's URL
    #[arg(long, value_name = "FILE", env = "FLOWMILL_STORE_FILE")]
    pub store_file: Option<PathBuf>,

    /// URL of the database behind the pooler that --store names: notifications need a connection of
    /// their own [default: that of --store]
    #[arg(
        long,
        value_name = "URL",
        env = "FLOWMILL_STORE_LISTEN_URL",
        hide_env_values = true
    )]
    pub store_listen_url: Option<Secret>,

    /// Name of this server among those that share its store [default: the host's name and the
    /// process id]
    #[arg(long, value_name = "NAME", env = "FLOWMILL_REPLICA_NAME")]
    pub replica_name: Option<String>,

    /// Folder for the server's own files; created if it does not exist [default: the working
    /// directory]
    #[arg(long, value_name = "FOLDER", env = "FLOWMILL_DATA_DIR")]
    pub data_dir: Option<PathBuf>,

    /// Maximum number of concurrent runs; further jobs are queued [default: 16384]
    #[arg(long, value_name = "N", env = "FLOWMILL_MAX_RUNNING")]
    pub max_running: Option<NonZeroU32>,

    /// Maximum number of queued jobs; further jobs are refused with 503 [default: 100000]
    #[arg(long, value_name = "N", env = "FLOWMILL_MAX_QUEUED")]
    pub max_queued: Option<usize>,

    /// How long a run belongs to a server that does not renew its lease; after that, another server
    /// may take it over [default: 30s]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_JOB_LEASE")]
    pub job_lease: Option<PositiveDuration>,

    /// How long a job is kept after it has ended; 0: until its result has been read [default: 7d]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_JOB_RETENTION")]
    pub job_retention: Option<DurationOrZero>,

    /// Maximum size of the store, in PostgreSQL of the jobs' contents; beyond it, the jobs that ended
    /// first are deleted early [default: 10GB]
    #[arg(long, value_name = "SIZE", env = "FLOWMILL_JOB_MAX_BYTES")]
    pub job_max_bytes: Option<Size>,

    /// The most that telemetry may record of prompts, answers, inputs and outputs, whatever a
    /// workflow allows [default: full]
    #[arg(long, value_name = "LEVEL", env = "FLOWMILL_CAPTURE")]
    pub capture: Option<Capture>,
    /// Webhook to call when a job ends that names no webhook of its own
    #[arg(
        long,
        value_name = "URL",
        env = "FLOWMILL_WEBHOOK_URL",
        hide_env_values = true
    )]
    pub webhook_url: Option<Secret>,

    /// Secret that signs the messages to --webhook-url: whsec_ followed by base64. Prefer the
    /// environment variable
    #[arg(
        long,
        value_name = "SECRET",
        env = "FLOWMILL_WEBHOOK_SECRET",
        hide_env_values = true
    )]
    pub webhook_secret: Option<Secret>,

    /// Hosts, addresses and networks that webhooks may reach besides the public internet, such as
    /// hooks.internal,10.0.0.0/8
    #[arg(long, value_name = "LIST", env = "FLOWMILL_WEBHOOK_ALLOW")]
    pub webhook_allow: Option<AllowList>,

    /// API keys that are accepted besides those in the store: KEY, KEY:SCOPES or
    /// KEY:SCOPES:WORKFLOWS, separated by spaces or commas. Prefer the environment variable
    #[arg(
        long,
        value_name = "LIST",
        env = "FLOWMILL_API_KEYS",
        hide_env_values = true
    )]
    pub api_keys: Option<Secret>,

    /// Requests per minute for each API key without a limit of its own [default: no limit, as for
    /// the other --key options]
    #[arg(long, value_name = "N", env = "FLOWMILL_KEY_REQUESTS_PER_MINUTE")]
    pub key_requests_per_minute: Option<NonZeroU32>,

    /// Unfinished jobs, running or queued, for each such key
    #[arg(long, value_name = "N", env = "FLOWMILL_KEY_MAX_RUNNING")]
    pub key_max_running: Option<NonZeroU32>,

    /// Queued jobs for each such key
    #[arg(long, value_name = "N", env = "FLOWMILL_KEY_MAX_QUEUED")]
    pub key_max_queued: Option<u32>,

    /// Tokens per day (UTC) for the runs of each such key
    #[arg(long, value_name = "N", env = "FLOWMILL_KEY_TOKENS_PER_DAY")]
    pub key_tokens_per_day: Option<NonZeroU64>,

    /// US dollars per day (UTC) for the runs of each such key
    #[arg(long, value_name = "USD", env = "FLOWMILL_KEY_COST_PER_DAY")]
    pub key_cost_per_day: Option<Dollars>,

    /// Requests per minute without a valid API key allowed per client address; 0: no limit
    /// [default: 300 if there are API keys and other machines can reach the server]
    #[arg(long, value_name = "N", env = "FLOWMILL_ADDRESS_REQUESTS_PER_MINUTE")]
    pub address_requests_per_minute: Option<u32>,

    /// Networks of proxies that are trusted to name the client in X-Forwarded-For or Forwarded,
    /// such as 10.0.0.0/8
    #[arg(long, value_name = "LIST", env = "FLOWMILL_TRUSTED_PROXY")]
    pub trusted_proxy: Option<Networks>,

    /// Listen on an address that other machines can reach even without API keys: anyone who can
    /// reach it may run workflows
    #[arg(
        long, value_name = "BOOL", env = "FLOWMILL_INSECURE",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new()
    )]
    pub insecure: Option<bool>,

    /// Serve HTTPS with this certificate chain (PEM). The file is read again when it changes
    #[arg(long, value_name = "FILE", env = "FLOWMILL_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,

    /// File with the certificate's private key (PEM)
    #[arg(long, value_name = "FILE", env = "FLOWMILL_TLS_KEY")]
    pub tls_key: Option<PathBuf>,

    /// Maximum number of concurrent connections [default: half of the limit on open files]
    #[arg(long, value_name = "N", env = "FLOWMILL_MAX_CONNECTIONS")]
    pub max_connections: Option<NonZeroU32>,

    /// Maximum number of concurrent connections per client address, for IPv6 per /64 network
    /// [default: no limit]
    #[arg(long, value_name = "N", env = "FLOWMILL_MAX_CONNECTIONS_PER_ADDRESS")]
    pub max_connections_per_address: Option<NonZeroU32>,

    /// Longest time for a request's head to arrive, and for a TLS handshake [default: 10s]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_HEAD_TIMEOUT")]
    pub head_timeout: Option<PositiveDuration>,

    /// Longest time for a request's body to arrive [default: 1m]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_BODY_TIMEOUT")]
    pub body_timeout: Option<PositiveDuration>,

    /// Longest time that a client may leave a response unread [default: 30s]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_WRITE_TIMEOUT")]
    pub write_timeout: Option<PositiveDuration>,

    /// How long an idle connection stays open [default: 75s]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_IDLE_TIMEOUT")]
    pub idle_timeout: Option<PositiveDuration>,

    /// Maximum number of JSON values in a request body: texts, numbers, lists, objects [default:
    /// 500000]
    #[arg(long, value_name = "N", env = "FLOWMILL_BODY_VALUES")]
    pub body_values: Option<NonZeroU32>,

    /// Maximum size of one text in a request body [default: that of the body]
    #[arg(long, value_name = "SIZE", env = "FLOWMILL_TEXT_LIMIT")]
    pub text_limit: Option<Size>,

    /// Host name that clients may use for this server besides those of loopback, such as
    /// flowmill.internal; * for any. A loopback server without API keys refuses all other names, so
    /// that no web page can reach it under a name of its own. Repeatable, or separated by commas
    #[arg(
        long,
        value_name = "NAME",
        env = "FLOWMILL_ALLOWED_HOST",
        value_delimiter = ','
    )]
    #[serde(default)]
    pub allowed_host: Vec<HostName>,

    /// Path below which a proxy publishes this server, such as /app1: links and Location headers
    /// begin with it [default: X-Forwarded-Prefix of a proxy that is trusted or on this machine]
    #[arg(long, value_name = "PATH", env = "FLOWMILL_ROOT_PATH")]
    pub root_path: Option<ProxyPath>,

    /// Allow web pages of this origin to call the API from a browser, such as
    /// `https://app.example`; * for every origin. Repeatable, or separated by commas
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "FLOWMILL_CORS_ORIGIN",
        value_delimiter = ','
    )]
    #[serde(default)]
    pub cors_origin: Vec<CorsOrigin>,
}

impl Options {
    /// The keys of the section.
    pub(crate) const KEYS: &[&str] = &[
        "host",
        "port",
        "sync_timeout",
        "max_wait",
        "body_limit",
        "drain_timeout",
        "drain_delay",
        "watch",
        "store",
        "store_file",
        "store_listen_url",
        "replica_name",
        "data_dir",
        "max_running",
        "max_queued",
        "job_lease",
        "job_retention",
        "job_max_bytes",
        "capture",
        "webhook_url",
        "webhook_secret",
        "webhook_allow",
        "api_keys",
        "key_requests_per_minute",
        "key_max_running",
        "key_max_queued",
        "key_tokens_per_day",
        "key_cost_per_day",
        "address_requests_per_minute",
        "trusted_proxy",
        "insecure",
        "tls_cert",
        "tls_key",
        "max_connections",
        "max_connections_per_address",
        "head_timeout",
        "body_timeout",
        "write_timeout",
        "idle_timeout",
        "body_values",
        "text_limit",
        "allowed_host",
        "root_path",
        "cors_origin",
    ];
}
