//! A database of a test's own.

use std::net::SocketAddr;

use tokio_postgres::{Client, NoTls};

use super::rows::text_rows;
use super::server::Server;

/// An empty database on a server; dropped with the value, with its connections.
#[derive(Debug)]
pub struct Database<'s> {
    server: &'s Server,
    name: String,
}

impl Server {
    /// A new, empty database; dropped with the value.
    ///
    /// # Panics
    /// When the server does not make it.
    pub fn database(&self) -> Database<'_> {
        let name = self.new_name();
        self.query(&format!("CREATE DATABASE {name}"));
        Database { server: self, name }
    }

    /// A database that is there already, such as one copied from a primary; dropped with the value.
    pub fn database_named(&self, name: &str) -> Database<'_> {
        Database {
            server: self,
            name: name.to_owned(),
        }
    }
}

impl<'s> Database<'s> {
    /// Of this database.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// As [`url`](Self::url), by another address, such as of a proxy.
    pub fn url_by(&self, address: SocketAddr) -> String {
        self.server.url_by(address, &self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its server.
    pub fn server(&self) -> &'s Server {
        self.server
    }

    /// The rows of a statement, as text; NULL is empty.
    ///
    /// # Panics
    /// When the server does not answer or refuses the statement.
    pub fn query(&self, sql: &str) -> Vec<Vec<String>> {
        text_rows(&self.url(), sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// The only value of the only row, as text.
    ///
    /// # Panics
    /// As [`query`](Self::query), and when there are more or fewer.
    pub fn value(&self, sql: &str) -> String {
        let rows = self.query(sql);
        match rows.as_slice() {
            [row] if row.len() == 1 => row[0].clone(),
            _ => panic!("{sql}: not one value but {rows:?}"),
        }
    }

    /// The only value of the only row, a number.
    ///
    /// # Panics
    /// As [`value`](Self::value), and when it is no whole number.
    pub fn count(&self, sql: &str) -> i64 {
        let value = self.value(sql);
        let number = value.parse();
        number.unwrap_or_else(|_| panic!("{sql}: no number but {value:?}"))
    }

    /// A connection on the caller's runtime.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn client(&self) -> Client {
        let connected = tokio_postgres::connect(&self.url(), NoTls).await;
        let (client, connection) = connected.expect("the server accepts connections");
        // It ends with the client.
        tokio::spawn(connection);
        client
    }

    /// Ends all connections to this database.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn terminate_backends(&self) {
        self.server.query(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            self.name
        ));
    }

    /// Each statement that has run here, with its calls, as `pg_stat_statements` has them: with
    /// `$1` for constants.
    ///
    /// # Panics
    /// When the server has no `pg_stat_statements`.
    pub fn statements(&self) -> Vec<(String, u64)> {
        self.server
            .query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
        let rows = self.server.query(&format!(
            "SELECT query, calls FROM pg_stat_statements
            JOIN pg_database ON pg_database.oid = dbid WHERE datname = '{}' AND toplevel",
            self.name
        ));
        let counted = rows.into_iter().map(|row| {
            let calls = row[1].parse().expect("a count");
            (row[0].clone(), calls)
        });
        counted.collect()
    }

    /// How many statements have run here.
    ///
    /// # Panics
    /// As [`statements`](Self::statements).
    pub fn statements_run(&self) -> u64 {
        self.statements().iter().map(|(_, calls)| calls).sum()
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // A stopped server cannot drop it; its folder goes anyhow.
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = text_rows(&self.server.url("postgres"), &drop);
    }
}
