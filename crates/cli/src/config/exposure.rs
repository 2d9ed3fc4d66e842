//! The part of `[serve]` that protects the port: TLS, limits on connections, times and bodies, and
//! the web pages that may call.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use server::{AllowedHost, AllowedHosts, Origin, RootPath};

use super::serve::options::Options;
use super::units::{PositiveDuration, Size};
use crate::failure::{Failure, Result};

/// The files of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The settings in effect. `None` stands for the server's own default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// TLS instead of plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Concurrent connections.
    pub max_connections: Option<NonZeroUsize>,
    /// Concurrent connections from one address.
    pub max_connections_per_address: Option<NonZeroUsize>,
    /// Longest time for a request's head to arrive.
    pub head_timeout: Option<Duration>,
    /// Longest time for a request's body to arrive.
    pub body_timeout: Option<Duration>,
    /// Longest time for a client to read a response.
    pub write_timeout: Option<Duration>,
    /// Longest time between two requests on a connection.
    pub idle_timeout: Option<Duration>,
    /// Most JSON values in a request body.
    pub body_values: Option<usize>,
    /// Most bytes in one text.
    pub text_limit: Option<usize>,
    /// Origins whose pages may call the API.
    pub origins: Vec<Origin>,
    /// Host names of this server besides those of loopback.
    pub names: Vec<AllowedHost>,
    /// The path below which a proxy publishes the server.
    pub root_path: RootPath,
}

impl Settings {
    /// Fills unset options from the settings file.
    pub(crate) fn settle(options: &Options, file: &Options) -> Result<Self> {
        let path = |ours: &Option<PathBuf>, theirs: &Option<PathBuf>| {
            ours.clone().or_else(|| theirs.clone())
        };
        let cert = path(&options.tls_cert, &file.tls_cert);
        let key = path(&options.tls_key, &file.tls_key);
        let tls = match (cert, key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            _ => {
                return Err(Failure::usage(
                    "TLS needs both --tls-cert and --tls-key (FLOWMILL_TLS_CERT, FLOWMILL_TLS_KEY)",
                ));
            }
        };
        let time = |ours: Option<PositiveDuration>, theirs: Option<PositiveDuration>| {
            ours.or(theirs).map(|time| time.0)
        };
        let size = |ours: Option<Size>, theirs: Option<Size>| ours.or(theirs).map(|size| size.0);
        let number = |ours: Option<std::num::NonZeroU32>, theirs| {
            ours.or(theirs)
                .and_then(|number| NonZeroUsize::try_from(number).ok())
        };
        let origins = if options.cors_origin.is_empty() {
            &file.cors_origin
        } else {
            &options.cors_origin
        };
        let names = if options.allowed_host.is_empty() {
            &file.allowed_host
        } else {
            &options.allowed_host
        };
        Ok(Self {
            tls,
            max_connections: number(options.max_connections, file.max_connections),
            max_connections_per_address: number(
                options.max_connections_per_address,
                file.max_connections_per_address,
            ),
            head_timeout: time(options.head_timeout, file.head_timeout),
            body_timeout: time(options.body_timeout, file.body_timeout),
            write_timeout: time(options.write_timeout, file.write_timeout),
            idle_timeout: time(options.idle_timeout, file.idle_timeout),
            body_values: number(options.body_values, file.body_values).map(NonZeroUsize::get),
            text_limit: size(options.text_limit, file.text_limit),
            origins: origins.iter().map(|origin| origin.0.clone()).collect(),
            names: names.iter().map(|name| name.0.clone()).collect(),
            root_path: options
                .root_path
                .as_ref()
                .or(file.root_path.as_ref())
                .map(|path| path.0.clone())
                .unwrap_or_default(),
        })
    }
}

impl Settings {
    /// The host names that the server answers to; `None` for any. A loopback server without keys
    /// must check them: a web page can make its own name resolve to this machine (DNS rebinding)
    /// and so reach the server.
    pub(crate) fn allowed_hosts(&self, host: IpAddr, has_keys: bool) -> Option<AllowedHosts> {
        let is_private = host.is_loopback() && !has_keys;
        (is_private || !self.names.is_empty()).then(|| AllowedHosts {
            named: self.names.clone(),
            // Probes address containers and pods by IP address.
            any_address: !host.is_loopback(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_takes_two_files() {
        let with = |cert: Option<&str>, key: Option<&str>| {
            let options = Options {
                tls_cert: cert.map(PathBuf::from),
                ..Options::default()
            };
            let file = Options {
                tls_key: key.map(PathBuf::from),
                ..Options::default()
            };
            Settings::settle(&options, &file)
        };
        assert_eq!(with(None, None).expect("plain HTTP").tls, None);
        assert!(
            with(Some("a.pem"), Some("a.key"))
                .expect("both")
                .tls
                .is_some()
        );
        let failure = with(Some("a.pem"), None).expect_err("one of two");
        assert!(failure.message.contains("--tls-key"), "{failure:?}");
        assert!(with(None, Some("a.key")).is_err());
    }

    #[test]
    fn origins_of_the_command_line_take_the_place_of_the_files() {
        let named = |origin: &str| Options {
            cors_origin: vec![origin.parse().expect("an origin")],
            ..Options::default()
        };
        let settled = |options: &Options| {
            Settings::settle(options, &named("https://file.example"))
                .expect("fine")
                .origins
        };
        let origin = |text: &str| vec![text.parse::<Origin>().expect("an origin")];
        assert_eq!(
            settled(&named("https://line.example")),
            origin("https://line.example")
        );
        assert_eq!(settled(&Options::default()), origin("https://file.example"));
    }
}
