//! A second server that follows the first, and can take its place.

use std::fmt::Write;
use std::fs;
use std::ops::Deref;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::server::{Login, Server, run};

/// How long a standby may take to catch up or to be promoted.
const PATIENCE: Duration = Duration::from_secs(60);

/// The name that the primary knows its standby by, for `synchronous_standby_names`.
pub const STANDBY_NAME: &str = "standby";

/// A server that streams from a primary and answers reads only, until it is promoted.
#[derive(Debug)]
pub struct Standby {
    server: Server,
}

impl Standby {
    /// Copies the running primary and follows it.
    ///
    /// # Panics
    /// When PostgreSQL does not do so.
    pub fn of(primary: &Server) -> Self {
        let server = Server::on_cluster(
            primary.programs().to_owned(),
            primary.login().clone(),
            |server| {
                let address = primary.address();
                let mut source = format!(
                    "host={} port={} user={} application_name={STANDBY_NAME}",
                    address.ip(),
                    address.port(),
                    super::server::USER,
                );
                if let Login::Password(password) = primary.login() {
                    let password = password.replace('\\', r"\\").replace('\'', r"\'");
                    write!(source, " password='{password}'").expect("a string takes everything");
                }
                let mut copy = server.program("pg_basebackup");
                copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
                    .args(["--wal-method=stream", "--dbname", &source, "--pgdata"])
                    .arg(server.data());
                run(&mut copy);
                for name in ["server.crt", "server.key"] {
                    if let Ok(text) = fs::read_to_string(primary.folder().join(name)) {
                        server.write(name, &text);
                    }
                }
            },
        );
        Self { server }
    }

    /// Waits until it has all that the primary has committed so far.
    ///
    /// # Panics
    /// When it does not catch up.
    pub fn catch_up_with(&self, primary: &Server) {
        let position = primary.query("SELECT pg_current_wal_lsn()");
        let caught_up = format!("SELECT pg_last_wal_replay_lsn() >= '{}'", position[0][0]);
        self.wait_until(&caught_up, "it does not catch up");
    }

    /// Stops following: what the primary commits from now on is not here after a promotion.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn disconnect(&self) {
        self.server.query("ALTER SYSTEM SET primary_conninfo = ''");
        self.server.query("SELECT pg_reload_conf()");
        self.wait_until(
            "SELECT count(*) = 0 FROM pg_stat_wal_receiver",
            "it goes on following",
        );
    }

    /// Makes it a primary; returns once it accepts writes.
    ///
    /// # Panics
    /// When it does not become one.
    pub fn promote(&self) {
        self.server.query("SELECT pg_promote(wait => false)");
        self.wait_until("SELECT NOT pg_is_in_recovery()", "it is not promoted");
    }

    fn wait_until(&self, condition: &str, otherwise: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.server.query(condition) != [["t"]] {
            assert!(
                Instant::now() < deadline,
                "{otherwise}: {}",
                self.server.log()
            );
            sleep(Duration::from_millis(20));
        }
    }
}

impl Deref for Standby {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}
