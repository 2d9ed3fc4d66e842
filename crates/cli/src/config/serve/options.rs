//! The options and keys of `[serve]`.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use serde::Deserialize;

use crate::config::addresses::{CorsOrigin, Host, HostName, Networks, ProxyPath, port};
use crate::config::allowed::AllowList;
use crate::config::capture::Capture;
use crate::config::secret::Secret;
use crate::config::store::Store;
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

    /// How long POST /run waits for its run before it answers 202 with a handle [default: 30s]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_SYNC_TIMEOUT")]
    pub sync_timeout: Option<PositiveDuration>,

    /// Longest wait a client may ask for with Prefer: wait=N [default: 5m]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_MAX_WAIT")]
    pub max_wait: Option<PositiveDuration>,

    /// Largest request body [default: 10MB]
    #[arg(long, value_name = "SIZE", env = "FLOWMILL_BODY_LIMIT")]
    pub body_limit: Option<Size>,

    /// How long runs in flight may go on after SIGTERM or Ctrl-C [default: 30s]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_DRAIN_TIMEOUT")]
    pub drain_timeout: Option<PositiveDuration>,

    /// How long /health/ready answers 503 before the rest of a shutdown begins, so that load balancers
    /// send requests elsewhere; those that come meanwhile are still taken [default: 0s]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_DRAIN_DELAY")]
    pub drain_delay: Option<PositiveDuration>,

    /// Load a workflow file again when it changes
    #[arg(
        short, long, value_name = "BOOL", env = "FLOWMILL_WATCH",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new()
    )]
    pub watch: Option<bool>,

    /// Where jobs are kept: sqlite:PATH, or memory to lose them when the process ends [default:
    /// sqlite:flowmill.db in the data directory]
    #[arg(long, value_name = "STORE", env = "FLOWMILL_STORE")]
    pub store: Option<Store>,

    /// Where files of the server's own go; made if it is not there [default: the working directory]
    #[arg(long, value_name = "FOLDER", env = "FLOWMILL_DATA_DIR")]
    pub data_dir: Option<PathBuf>,

    /// Runs at once; more of them wait [default: 16384]
    #[arg(long, value_name = "N", env = "FLOWMILL_MAX_RUNNING")]
    pub max_running: Option<NonZeroU32>,

    /// Jobs that may wait; more are refused with 503 [default: 100000]
    #[arg(long, value_name = "N", env = "FLOWMILL_MAX_QUEUED")]
    pub max_queued: Option<usize>,

    /// How long a run stays with a server that gives no sign of life; a paused one that wakes up later may
    /// find its runs taken over [default: 30s]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_JOB_LEASE")]
    pub job_lease: Option<PositiveDuration>,

    /// How long a job is kept after its end; with 0, until its answer was read [default: 7d]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_JOB_RETENTION")]
    pub job_retention: Option<DurationOrZero>,

    /// Most that the store may take; beyond it the jobs that ended first go before their time [default:
    /// 10GB]
    #[arg(long, value_name = "SIZE", env = "FLOWMILL_JOB_MAX_BYTES")]
    pub job_max_bytes: Option<Size>,

    /// Most that telemetry may keep of prompts, answers, inputs and outputs, whatever a workflow allows
    /// [default: full]
    #[arg(long, value_name = "LEVEL", env = "FLOWMILL_CAPTURE")]
    pub capture: Option<Capture>,
    /// Where the end of each job is told that names no webhook of its own
    #[arg(
        long,
        value_name = "URL",
        env = "FLOWMILL_WEBHOOK_URL",
        hide_env_values = true
    )]
    pub webhook_url: Option<Secret>,

    /// What messages to --webhook-url are signed with: whsec_ and base64. Better given by its variable
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

    /// API keys that let callers in besides those in the store: KEY, KEY:SCOPES or KEY:SCOPES:WORKFLOWS, with
    /// blanks or commas between. Better given by its variable
    #[arg(
        long,
        value_name = "LIST",
        env = "FLOWMILL_API_KEYS",
        hide_env_values = true
    )]
    pub api_keys: Option<Secret>,

    /// Requests a minute that a key may make which has no limit of its own [default: no limit, as in the next ones]
    #[arg(long, value_name = "N", env = "FLOWMILL_KEY_REQUESTS_PER_MINUTE")]
    pub key_requests_per_minute: Option<NonZeroU32>,

    /// Runs in flight, accepted and not ended, of such a key
    #[arg(long, value_name = "N", env = "FLOWMILL_KEY_MAX_RUNNING")]
    pub key_max_running: Option<NonZeroU32>,

    /// Of these, those that wait because the server is busy
    #[arg(long, value_name = "N", env = "FLOWMILL_KEY_MAX_QUEUED")]
    pub key_max_queued: Option<u32>,

    /// Tokens that the runs of such a key may take a day, in UTC
    #[arg(long, value_name = "N", env = "FLOWMILL_KEY_TOKENS_PER_DAY")]
    pub key_tokens_per_day: Option<NonZeroU64>,

    /// US dollars that the runs of such a key may cost a day, in UTC
    #[arg(long, value_name = "USD", env = "FLOWMILL_KEY_COST_PER_DAY")]
    pub key_cost_per_day: Option<Dollars>,

    /// Requests a minute without a good API key, from one address; 0: any number [default: 300 where there are keys
    /// and others can reach the server]
    #[arg(long, value_name = "N", env = "FLOWMILL_ADDRESS_REQUESTS_PER_MINUTE")]
    pub address_requests_per_minute: Option<u32>,

    /// Networks of proxies whose X-Forwarded-For or Forwarded says who the client is, such as 10.0.0.0/8
    #[arg(long, value_name = "LIST", env = "FLOWMILL_TRUSTED_PROXY")]
    pub trusted_proxy: Option<Networks>,

    /// Listen on an address that others can reach though there are no API keys: anyone who reaches it may run workflows
    #[arg(
        long, value_name = "BOOL", env = "FLOWMILL_INSECURE",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new()
    )]
    pub insecure: Option<bool>,

    /// Speak TLS: file with the server's certificate and those that lead to its authority (PEM). Read again when it
    /// changes
    #[arg(long, value_name = "FILE", env = "FLOWMILL_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,

    /// File with the certificate's private key (PEM)
    #[arg(long, value_name = "FILE", env = "FLOWMILL_TLS_KEY")]
    pub tls_key: Option<PathBuf>,

    /// Connections at once [default: half of the files that may be open]
    #[arg(long, value_name = "N", env = "FLOWMILL_MAX_CONNECTIONS")]
    pub max_connections: Option<NonZeroU32>,

    /// Connections at once from one address, of IPv6 from one /64 network [default: no limit of its own]
    #[arg(long, value_name = "N", env = "FLOWMILL_MAX_CONNECTIONS_PER_ADDRESS")]
    pub max_connections_per_address: Option<NonZeroU32>,

    /// How long a request's head may take to arrive, and a TLS handshake [default: 10s]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_HEAD_TIMEOUT")]
    pub head_timeout: Option<PositiveDuration>,

    /// How long a request's body may take to arrive [default: 1m]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_BODY_TIMEOUT")]
    pub body_timeout: Option<PositiveDuration>,

    /// How long a client may leave an answer unread [default: 30s]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_WRITE_TIMEOUT")]
    pub write_timeout: Option<PositiveDuration>,

    /// After which an idle connection is closed [default: 75s]
    #[arg(long, value_name = "TIME", env = "FLOWMILL_IDLE_TIMEOUT")]
    pub idle_timeout: Option<PositiveDuration>,

    /// Values in one request body: texts, numbers, lists, objects [default: 500000]
    #[arg(long, value_name = "N", env = "FLOWMILL_BODY_VALUES")]
    pub body_values: Option<NonZeroU32>,

    /// Longest text in a request body [default: as long as the body]
    #[arg(long, value_name = "SIZE", env = "FLOWMILL_TEXT_LIMIT")]
    pub text_limit: Option<Size>,

    /// A name by which clients may ask for this server besides those of loopback, such as flowmill.internal; * for any.
    /// Without API keys a server on loopback takes no other, so that no web page reaches it by a name of its own. May
    /// be given several times, or with commas between
    #[arg(
        long,
        value_name = "NAME",
        env = "FLOWMILL_ALLOWED_HOST",
        value_delimiter = ','
    )]
    #[serde(default)]
    pub allowed_host: Vec<HostName>,

    /// The path below which a proxy shows this server, such as /app1: links and Location begin with it [default:
    /// X-Forwarded-Prefix of a proxy that is trusted or on this machine]
    #[arg(long, value_name = "PATH", env = "FLOWMILL_ROOT_PATH")]
    pub root_path: Option<ProxyPath>,

    /// Let web pages of this origin call the API from a browser, such as `https://app.example`; * for every origin. May
    /// be given several times, or with commas between
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
