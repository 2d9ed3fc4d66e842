//! How the store is reached and set up. The URL is a secret: it is shown without its password only.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// How the store is reached and set up.
#[derive(Clone)]
pub struct Options {
    /// The database.
    pub url: Url,
    /// The database for connections that must be the same server process as long as they last, which
    /// a pooler does not grant; `None`: as `url`.
    pub listen_url: Option<Url>,
    /// What TLS trusts.
    pub tls: rustls::ClientConfig,
    /// The level of this program. It opens no store that needs a higher one; see
    /// [`Replica::level`](crate::replica::Replica::level).
    pub level: u32,
    /// Whose clock judges leases, deadlines and ages.
    pub clock: Clock,
    /// How long a verb is tried before it fails with [`Unavailable`](crate::store::Error::Unavailable):
    /// longer than a failover takes.
    pub verb_timeout: Duration,
    /// How long opening is tried while a connection or a lock has to be waited for.
    pub open_timeout: Duration,
}

impl Options {
    /// With the usual times.
    pub fn new(url: Url, tls: rustls::ClientConfig, level: u32) -> Self {
        Self {
            url,
            listen_url: None,
            tls,
            level,
            clock: Clock::Server,
            verb_timeout: Duration::from_secs(10),
            open_timeout: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("url", &self.url)
            .field("listen_url", &self.listen_url)
            .field("level", &self.level)
            .field("clock", &self.clock)
            .field("verb_timeout", &self.verb_timeout)
            .field("open_timeout", &self.open_timeout)
            .finish_non_exhaustive()
    }
}

/// Whose clock judges leases, deadlines and ages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Clock {
    /// The database server's: the clocks of replicas differ.
    #[default]
    Server,
    /// The `now` that callers pass, for tests.
    Caller,
}

impl Clock {
    /// What statements take as `coalesce($n, now())`.
    pub(super) fn now(self, caller: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Server => None,
            Self::Caller => Some(caller),
        }
    }
}

/// The URL of a database, as libpq reads it. Printed without its password.
#[derive(Clone)]
pub struct Url {
    config: Config,
}

impl Url {
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Host and port of each server, for people.
    pub(super) fn hosts(&self) -> String {
        hosts(&self.config)
    }
}

/// Why a URL cannot be used. Shows nothing of the URL but names of parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is no URL of a PostgreSQL database.
    #[error(
        "the store's URL cannot be read; write postgres://USER:PASSWORD@HOST:PORT/DATABASE, and \
         percent-encode special characters in the password"
    )]
    Malformed,
    /// It names no host.
    #[error(
        "the store's URL names no host; write postgres://USER:PASSWORD@HOST:PORT/DATABASE, or for a \
         socket postgres:///DATABASE?host=/DIRECTORY"
    )]
    NoHost,
    /// It names no database.
    #[error("the store's URL names no database; write postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    NoDatabase,
    /// A parameter that this program does not read.
    #[error(
        "the store's URL has the parameter {0}, which flowmill does not read; remove it (certificates \
         are given with --ca)"
    )]
    Unread(&'static str),
    /// A parameter that libpq does not know, either.
    #[error(
        "the store's URL has an unknown parameter after the `?`; remove it, or percent-encode the \
         password if that contains a `?` or an `@`"
    )]
    Unknown,
    /// A parameter with a value that it cannot have.
    #[error("the parameter {0} of the store's URL has a value that it cannot have; correct it")]
    Value(&'static str),
}

/// Passed on.
const READ: [&str; 15] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslnegotiation",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "channel_binding",
    "load_balance_hosts",
];

/// Of libpq.
const UNREAD: [&str; 20] = [
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "sslcompression",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "passfile",
    "service",
    "gssencmode",
    "krbsrvname",
    "gsslib",
    "require_auth",
    "requirepeer",
    "client_encoding",
    "fallback_application_name",
    "replication",
];

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
        {
            return Err(UrlError::Malformed);
        }
        let after_user = text.find('@').unwrap_or(0);
        let (before, parameters) = match text[after_user..].find('?') {
            Some(at) => (&text[..after_user + at], Some(&text[after_user + at + 1..])),
            None => (text, None),
        };
        let mut tls = None;
        let mut passed_on = Vec::new();
        for parameter in parameters.into_iter().flat_map(|all| all.split('&')) {
            let (name, value) = parameter.split_once('=').ok_or(UrlError::Unknown)?;
            match name {
                "sslmode" => tls = Some(tls_mode(value)?),
                // Always read-write.
                "target_session_attrs" => {}
                name if READ.contains(&name) => passed_on.push(parameter),
                name => {
                    let unread = UNREAD.iter().find(|unread| **unread == name);
                    return Err(unread.map_or(UrlError::Unknown, |name| UrlError::Unread(name)));
                }
            }
        }
        // Its errors may quote what they do not understand.
        let mut config: Config = format!("{before}?{}", passed_on.join("&"))
            .parse()
            .map_err(|_| {
                [
                    "port",
                    "hostaddr",
                    "sslnegotiation",
                    "connect_timeout",
                    "channel_binding",
                ]
                .into_iter()
                .find(|name| passed_on.iter().any(|one| one.starts_with(name)))
                .map_or(UrlError::Malformed, UrlError::Value)
            })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(UrlError::NoHost);
        }
        if config.get_dbname().is_none() {
            return Err(UrlError::NoDatabase);
        }
        let tls = tls.unwrap_or(if is_local(&config) {
            SslMode::Disable
        } else {
            SslMode::Require
        });
        if config.get_application_name().is_none() {
            config.application_name("flowmill");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(3));
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(5));
        }
        config
            .ssl_mode(tls)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(3))
            .keepalives_retries(3);
        Ok(Self { config })
    }
}

/// TLS always checks the certificate and its name, so the modes that ask for less mean the same.
fn tls_mode(mode: &str) -> Result<SslMode, UrlError> {
    match mode {
        "disable" => Ok(SslMode::Disable),
        "allow" | "prefer" => Ok(SslMode::Prefer),
        "require" | "verify-ca" | "verify-full" => Ok(SslMode::Require),
        _ => Err(UrlError::Value("sslmode")),
    }
}

/// Whether nobody on a network can stand between.
fn is_local(config: &Config) -> bool {
    let is_local = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse()
                    .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
    };
    config.get_hosts().iter().all(is_local)
        && config
            .get_hostaddrs()
            .iter()
            .all(std::net::IpAddr::is_loopback)
}

fn hosts(config: &Config) -> String {
    let names: Vec<String> = if config.get_hosts().is_empty() {
        config
            .get_hostaddrs()
            .iter()
            .map(ToString::to_string)
            .collect()
    } else {
        let name = |host: &Host| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
            Host::Tcp(name) => name.clone(),
            Host::Unix(directory) => directory.display().to_string(),
        };
        config.get_hosts().iter().map(name).collect()
    };
    let ports = config.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let each = names.iter().enumerate();
    each.map(|(index, name)| format!("{name}:{}", port(index)))
        .collect::<Vec<_>>()
        .join(",")
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.hosts())?;
        match self.config.get_dbname() {
            Some(name) => write!(f, "/{name}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TLS client for tests that make no connection.
    fn trusting_nothing() -> rustls::ClientConfig {
        rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions")
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth()
    }

    fn shown(url: &str) -> Result<String, UrlError> {
        let url: Url = url.parse()?;
        Ok(format!("{url} {:?}", url.config.get_ssl_mode()))
    }

    fn check(url: &str, expected: &str) {
        assert_eq!(shown(url).unwrap(), expected, "{url}");
    }

    fn refused(url: &str, expected: &UrlError) {
        let error = shown(url).unwrap_err();
        assert_eq!(error, *expected, "{url}");
        assert!(!error.to_string().contains("letmein"), "{error}");
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        check(
            "postgres://me:letmein@localhost/db",
            "postgres://me@localhost:5432/db Disable",
        );
        let url: Url = "postgresql://me:letmein@[::1]:6432/db".parse().unwrap();
        assert_eq!(format!("{url:?}"), "postgres://me@[::1]:6432/db");
        let debug = format!("{:?}", Options::new(url, trusting_nothing(), 1));
        assert!(!debug.contains("letmein"), "{debug}");
    }

    #[test]
    fn off_this_machine_the_certificate_is_verified_unless_told_otherwise() {
        check("postgres://h/db", "postgres://h:5432/db Require");
        check(
            "postgres://127.0.0.1/db",
            "postgres://127.0.0.1:5432/db Disable",
        );
        check(
            "postgres:///db?host=/run",
            "postgres:///run:5432/db Disable",
        );
        check(
            "postgres://127.0.0.1,h/db",
            "postgres://127.0.0.1:5432,h:5432/db Require",
        );
        check(
            "postgres://h/db?sslmode=disable",
            "postgres://h:5432/db Disable",
        );
        check(
            "postgres://h/db?sslmode=verify-full",
            "postgres://h:5432/db Require",
        );
        check(
            "postgres://127.0.0.1/db?sslmode=prefer",
            "postgres://127.0.0.1:5432/db Prefer",
        );
    }

    #[test]
    fn only_a_server_that_can_be_written_is_taken_from_several_hosts() {
        let url: Url = "postgres://a:1,b:2/db?target_session_attrs=any"
            .parse()
            .unwrap();
        assert_eq!(url.to_string(), "postgres://a:1,b:2/db");
        assert_eq!(
            url.config.get_target_session_attrs(),
            TargetSessionAttrs::ReadWrite
        );
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_quoting_it() {
        refused("mysql://me:letmein@h/db", &UrlError::Malformed);
        refused("postgres://me:letmein@h:port/db", &UrlError::Malformed);
        refused("postgres://me:letmein@/db", &UrlError::NoHost);
        refused("postgres://me:letmein@h", &UrlError::NoDatabase);
        refused("postgres://me:a@b?letmein=1@h/db", &UrlError::Unknown);
        refused(
            "postgres://h/db?sslrootcert=/letmein",
            &UrlError::Unread("sslrootcert"),
        );
        refused(
            "postgres://h/db?sslmode=letmein",
            &UrlError::Value("sslmode"),
        );
        refused(
            "postgres:///db?host=h&port=letmein",
            &UrlError::Value("port"),
        );
    }
}
