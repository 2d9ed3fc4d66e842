//! Connecting to the server: hosts in their order, names looked up anew each time, and what can go
//! wrong as sentences that say the way out.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::options::Url;

/// The part of a connection that carries messages.
pub(super) type Wire = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Where to connect to.
#[derive(Clone)]
pub(super) struct Target {
    config: Config,
    hosts: String,
    tls: MakeRustlsConnect,
}

impl Target {
    pub(super) fn new(url: &Url, tls: &rustls::ClientConfig) -> Self {
        let mut tls = tls.clone();
        tls.alpn_protocols = vec![b"postgresql".to_vec()];
        Self {
            config: url.config().clone(),
            hosts: url.hosts(),
            tls: MakeRustlsConnect::new(tls),
        }
    }

    /// Connects to the first host that can be written. Somebody has to poll the [`Wire`].
    pub(super) async fn connect(&self, within: Duration) -> Result<(Client, Wire), ConnectError> {
        let connected = tokio::time::timeout(within, self.config.connect(self.tls.clone())).await;
        match connected {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(error)) => Err(self.explain(&error)),
            Err(_) => Err(ConnectError::Silent {
                hosts: self.hosts.clone(),
            }),
        }
    }

    fn explain(&self, error: &tokio_postgres::Error) -> ConnectError {
        let hosts = self.hosts.clone();
        if let Some(error) = error.as_db_error() {
            return refused(error.code(), error.message());
        }
        if let Some(reason) = untrusted(error) {
            return ConnectError::Untrusted { reason };
        }
        let reason = cause(error);
        match error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>())
        {
            Some(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                ConnectError::ReadOnly { hosts }
            }
            Some(error) if is_unknown_host(error) => ConnectError::UnknownHost { hosts },
            None if reason.contains("does not support TLS") => ConnectError::NoTls { hosts },
            None if reason.contains("password missing") => ConnectError::Password { reason },
            _ => ConnectError::Unreachable { hosts, reason },
        }
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The name of the host leads nowhere.
    #[error("no address is known for {hosts}; correct the host in the store's URL")]
    UnknownHost {
        /// The hosts that were tried.
        hosts: String,
    },
    /// Nothing listens there, or the network is in the way.
    #[error(
        "cannot connect to the database at {hosts} ({reason}); check that the server is running and \
         that this machine can reach it"
    )]
    Unreachable {
        /// The hosts that were tried.
        hosts: String,
        /// As the operating system says it.
        reason: String,
    },
    /// Nobody answered in time.
    #[error(
        "the database at {hosts} does not answer; check that the server is running and that this \
         machine can reach it"
    )]
    Silent {
        /// The hosts that were tried.
        hosts: String,
    },
    /// Wrong password, unknown user, or the server lets this user in from nowhere here.
    #[error(
        "the database server does not let this user in ({reason}); correct user and password in the \
         store's URL, or the server's pg_hba.conf"
    )]
    Password {
        /// As the server says it.
        reason: String,
    },
    /// There is no such database.
    #[error("{reason}; create the database, or correct its name in the store's URL")]
    NoDatabase {
        /// As the server says it.
        reason: String,
    },
    /// The server's certificate.
    #[error(
        "the certificate of the database server is not trusted ({reason}); give the certificate of \
         its authority with --ca, and use the host name that the certificate was made for"
    )]
    Untrusted {
        /// As the TLS library says it.
        reason: String,
    },
    /// TLS was asked for, and the server has none.
    #[error(
        "the database server at {hosts} offers no TLS; turn it on there, or add sslmode=disable to the \
         store's URL if nobody else can read that network"
    )]
    NoTls {
        /// The hosts that were tried.
        hosts: String,
    },
    /// A standby.
    #[error(
        "the database at {hosts} accepts no writes (a standby?); name the primary in the store's URL, \
         or all servers separated by commas"
    )]
    ReadOnly {
        /// The hosts that were tried.
        hosts: String,
    },
    /// Any other refusal.
    #[error("the database server refuses the connection: {reason}")]
    Refused {
        /// As the server says it.
        reason: String,
    },
}

impl ConnectError {
    /// Whether it may go by itself: a server that starts, or another one that takes over.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::UnknownHost { .. }
            | Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::ReadOnly { .. }
            | Self::Refused { .. } => true,
            Self::Password { .. }
            | Self::NoDatabase { .. }
            | Self::Untrusted { .. }
            | Self::NoTls { .. } => false,
        }
    }
}

/// What the server, or a pooler before it, said. PgBouncer has one code for everything.
fn refused(code: &SqlState, message: &str) -> ConnectError {
    let reason = message.to_owned();
    let says = |part| message.contains(part);
    if [
        SqlState::INVALID_PASSWORD,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
    ]
    .contains(code)
        || says("authentication failed")
        || says("no such user")
    {
        ConnectError::Password { reason }
    } else if *code == SqlState::INVALID_CATALOG_NAME
        || says("no such database")
        || (says("database") && says("does not exist"))
    {
        ConnectError::NoDatabase { reason }
    } else {
        ConnectError::Refused { reason }
    }
}

/// What is wrong with the server's certificate, if that is what went wrong.
fn untrusted(error: &tokio_postgres::Error) -> Option<String> {
    let source = error.source()?.downcast_ref::<io::Error>()?;
    match source.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(reason) => {
            let reason = format!("{reason:?}");
            if reason.contains("CaUsedAsEndEntity") {
                return Some("it is that of an authority; make one with CA:FALSE".to_owned());
            }
            Some(reason)
        }
        rustls::Error::NoCertificatesPresented => Some("it has sent none".to_owned()),
        _ => None,
    }
}

/// The resolver's errors have no kind of their own.
fn is_unknown_host(error: &io::Error) -> bool {
    error.to_string().starts_with("failed to lookup address")
}

/// The innermost reason: the outer ones say only where it happened.
pub(super) fn cause(error: &tokio_postgres::Error) -> String {
    let mut cause: &dyn StdError = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
