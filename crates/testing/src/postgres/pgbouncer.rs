//! PgBouncer in front of a server, where it is installed.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::daemon::Daemon;
use super::rows::text_rows;
use super::server::{Login, Server, USER};
use crate::{port, rigs};

/// When a client's server connection goes back to the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// After each transaction.
    Transaction,
    /// After each statement; transactions of several are refused.
    Statement,
}

/// A running pooler with few server connections, so that clients share them; it ends with the value
/// or with this process.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    /// Kept for its end.
    _daemon: Daemon,
}

impl PgBouncer {
    /// In front of all databases of a server.
    ///
    /// `None` means the test should return; why was printed.
    ///
    /// # Panics
    /// When PgBouncer is not installed and `CI=true`, or is and does not start.
    pub fn start(server: &Server, mode: PoolMode) -> Option<Self> {
        let Some(program) = find() else {
            return rigs::skip(
                "pgbouncer",
                "PgBouncer is not installed; scripts/test, run as root on Debian, installs it",
            );
        };
        let daemon = Daemon::new("pgbouncer");
        let port = port::stable();
        let (login, password) = match server.login() {
            Login::Trust => ("trust", ""),
            Login::Password(password) => ("scram-sha-256", password.as_str()),
        };
        let users = format!("\"{USER}\" \"{}\"\n", password.replace('"', "\"\""));
        daemon.write("users", &users);
        let settings = daemon.write(
            "settings",
            &format!(
                "[databases]\n* = host={} port={}\n\
                [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
                auth_type = {login}\nauth_file = users\npool_mode = {}\n\
                default_pool_size = 4\nmax_client_conn = 1000\n",
                server.address().ip(),
                server.address().port(),
                match mode {
                    PoolMode::Transaction => "transaction",
                    PoolMode::Statement => "statement",
                },
            ),
        );
        let url = server.url_by(address(port), "postgres");
        let mut pgbouncer = daemon.command(&program);
        daemon.start(pgbouncer.arg(settings), || {
            text_rows(&url, "SELECT 1").is_ok()
        });
        Some(Self {
            port,
            _daemon: daemon,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        address(self.port)
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("pgbouncer"))
        .find(|program| program.is_file())
}
