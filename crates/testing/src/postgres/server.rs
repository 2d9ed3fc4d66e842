//! A cluster in a temporary folder and the server that runs on it.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;

use super::daemon::Daemon;
use super::programs;
use super::rows::text_rows;
use crate::port;

/// The user that owns everything in a server of a test.
pub(super) const USER: &str = "flowmill";

/// Written once per cluster. Many tests share a server, each with several connections.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 400
wal_level = replica
max_wal_senders = 8
log_min_messages = warning
lc_messages = 'C'
";

/// How clients log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// By name alone.
    Trust,
    /// By SCRAM-SHA-256 with this password.
    Password(String),
}

/// What a server is like; the default asks for no password and syncs to disk.
#[derive(Debug, Clone)]
pub struct Options {
    login: Login,
    fsync: bool,
    settings: Vec<(String, String)>,
    /// Certificate and key, PEM.
    tls: Option<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            login: Login::Trust,
            fsync: true,
            settings: Vec::new(),
            tls: None,
        }
    }
}

impl Options {
    /// Clients must log in with that password.
    #[must_use]
    pub fn with_password(self, password: &str) -> Self {
        Self {
            login: Login::Password(password.to_owned()),
            ..self
        }
    }

    /// Nothing waits for the disk. For tests that do not kill the server.
    #[must_use]
    pub fn without_fsync(self) -> Self {
        Self {
            fsync: false,
            ..self
        }
    }

    /// A line of `postgresql.conf`.
    #[must_use]
    pub fn with_setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Offers TLS with that certificate and key, both PEM.
    #[must_use]
    pub fn with_tls(self, certificate: &str, key: &str) -> Self {
        Self {
            tls: Some((certificate.to_owned(), key.to_owned())),
            ..self
        }
    }
}

/// A running server. It ends, and its files go, with the value or with this process.
#[derive(Debug)]
pub struct Server {
    programs: PathBuf,
    port: u16,
    login: Login,
    databases: AtomicU32,
    daemon: Daemon,
}

impl Server {
    /// Makes a cluster and starts its server.
    ///
    /// `None` means the test should return; why was printed.
    ///
    /// # Panics
    /// When PostgreSQL is not installed and `CI=true`, or is and does not start.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "options are made for one server, in the call"
    )]
    pub fn start(options: Options) -> Option<Self> {
        let programs = programs::find()?;
        Some(Self::on_cluster(
            programs,
            options.login.clone(),
            |server| {
                server.initialise(&options);
            },
        ))
    }

    /// A server on the cluster that `make` puts into its data folder.
    pub(super) fn on_cluster(programs: PathBuf, login: Login, make: impl FnOnce(&Self)) -> Self {
        let server = Self {
            programs,
            port: port::stable(),
            login,
            databases: AtomicU32::new(0),
            daemon: Daemon::new("postgres"),
        };
        make(&server);
        server.start_again();
        server
    }

    fn initialise(&self, options: &Options) {
        let mut initdb = self.program("initdb");
        initdb
            .args(["--no-sync", "--no-instructions", "-U", USER, "-E", "UTF8"])
            .args(["--locale", "C", "-D"])
            .arg(self.data());
        match &options.login {
            Login::Trust => initdb.args(["-A", "trust"]),
            Login::Password(password) => {
                let file = self.write("password", password);
                initdb.args(["-A", "scram-sha-256", "--pwfile"]).arg(file)
            }
        };
        run(&mut initdb);
        let mut settings = SETTINGS.to_owned();
        if programs::has_library(&self.programs, "pg_stat_statements") {
            settings += "shared_preload_libraries = 'pg_stat_statements'\n";
        }
        if !options.fsync {
            settings += "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n";
        }
        if let Some((certificate, key)) = &options.tls {
            self.write("server.crt", certificate);
            self.write("server.key", key);
            settings +=
                "ssl = on\nssl_cert_file = '../server.crt'\nssl_key_file = '../server.key'\n";
        }
        for (name, value) in &options.settings {
            writeln!(settings, "{name} = '{value}'").expect("a string takes everything");
        }
        let file = self.data().join("postgresql.auto.conf");
        fs::write(file, settings).expect("the settings can be written");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Of a database there, with the password if there is one.
    pub fn url(&self, database: &str) -> String {
        self.url_by(self.address(), database)
    }

    /// As [`url`](Self::url), by another address, such as of a proxy.
    pub fn url_by(&self, address: SocketAddr, database: &str) -> String {
        let login = match &self.login {
            Login::Trust => USER.to_owned(),
            Login::Password(password) => format!("{USER}:{}", percent_encoded(password)),
        };
        format!("postgres://{login}@{address}/{database}")
    }

    /// How clients log in.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// The folder of PostgreSQL's programs, such as `pgbench`.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// For another database.
    pub(super) fn new_name(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::SeqCst);
        format!("test_{number}")
    }

    /// The rows of a statement in the database `postgres`, as text; NULL is empty.
    ///
    /// # Panics
    /// When the server does not answer or refuses the statement.
    pub fn query(&self, sql: &str) -> Vec<Vec<String>> {
        text_rows(&self.url("postgres"), sql)
            .unwrap_or_else(|error| panic!("{sql}: {error:?}\n{}", self.log()))
    }

    /// As `pg_ctl stop -m immediate`: nothing is flushed, no client is told; the next start
    /// recovers.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop_immediate(&self) {
        self.daemon.stop(Signal::QUIT);
    }

    /// As `pg_ctl stop -m fast`: transactions are rolled back, clients are told, all is flushed.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop_fast(&self) {
        self.daemon.stop(Signal::INT);
    }

    /// Starts a stopped server at its old address, on what it had stored.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_again(&self) {
        let mut postgres = self.program("postgres");
        postgres
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string()]);
        self.daemon.start(&mut postgres, || {
            text_rows(&self.url("postgres"), "SELECT 1").is_ok()
        });
    }

    /// Ends every client's connection, as an administrator would.
    ///
    /// # Panics
    /// As [`query`](Self::query).
    pub fn terminate_all_backends(&self) {
        self.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
        );
    }

    /// What the server wrote to its log.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Of the server's first process, the parent of the others.
    ///
    /// # Panics
    /// When it is not running.
    pub fn process_id(&self) -> u32 {
        self.daemon.process_id()
    }

    /// The folder of its files.
    pub(super) fn folder(&self) -> &Path {
        self.daemon.folder()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// One of PostgreSQL's programs, as the user who may run it.
    pub(super) fn program(&self, name: &str) -> Command {
        self.daemon.command(&self.programs.join(name))
    }

    /// A file that only the server may read.
    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        self.daemon.write(name, text)
    }
}

/// Runs a program of PostgreSQL to its end.
pub(super) fn run(command: &mut Command) {
    let output = command.stderr(Stdio::piped()).output();
    let output = output.expect("PostgreSQL's programs start");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// For the password of a URL.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
    }
    encoded
}
