//! What PostgreSQL does without flowmill: `pgbench` stores the same rows, one transaction for each
//! job, from 16 connections.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testing::postgres::Database;
use tokio::process::Command;

/// The tables that hold a job's rows, and their column with its id.
const TABLES: [(&str, &str); 6] = [
    ("jobs", "id"),
    ("active", "job"),
    ("work", "job"),
    ("progress", "job"),
    ("outputs", "job"),
    ("events", "job"),
];

/// The id of a client's next job. Ids rise, as flowmill's do, so that both fill indexes from one
/// end.
const ID: &str = "CAST(lpad(to_hex(CAST(:id AS bigint)), 32, '0') AS uuid)";

/// A transaction that stores a job, and a database to store it in.
pub(crate) struct Baseline<'s> {
    database: Database<'s>,
    script: PathBuf,
    /// How often it was run; each run has ids of its own.
    turns: u32,
}

impl<'s> Baseline<'s> {
    /// Stores what `source` stored of its newest job in `database`, which has flowmill's tables.
    pub(crate) fn like_the_newest_job_of(
        source: &Database<'_>,
        database: Database<'s>,
        folder: &Path,
    ) -> Result<Self> {
        let script = folder.join(format!("{}.sql", database.name()));
        std::fs::write(&script, transaction(source))?;
        Ok(Self {
            database,
            script,
            turns: 0,
        })
    }

    /// Transactions per second.
    pub(crate) async fn run(&mut self, length: Duration) -> Result<f64> {
        self.turns += 1;
        let seconds = length.as_secs().max(1);
        let output = Command::new(self.database.server().programs().join("pgbench"))
            .args(["-n", "-M", "prepared", "-c", "16", "-j", "1", "-D", "n=0"])
            .args(["-D", &format!("turn={}", self.turns)])
            .args(["-T", &seconds.to_string(), "-f"])
            .arg(&self.script)
            .arg(self.database.url())
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot start pgbench")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "pgbench failed: {errors}");
        per_second(&String::from_utf8_lossy(&output.stdout))
            .with_context(|| format!("pgbench says no tps: {errors}"))
    }
}

fn per_second(output: &str) -> Option<f64> {
    let figure = output
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))?;
    figure.split(' ').next()?.parse().ok()
}

/// The rows of the newest job as they are, under the id of another.
fn transaction(source: &Database<'_>) -> String {
    let newest = source.value("SELECT id FROM flowmill.jobs ORDER BY id DESC LIMIT 1");
    let mut script = "\\set n :n + 1\n\
        \\set id (:turn * 100 + :client_id) * 1000000000 + :n\n\
        BEGIN;\n"
        .to_owned();
    for (table, id) in TABLES {
        let columns: Vec<String> = source
            .query(&format!(
                "SELECT column_name FROM information_schema.columns
                WHERE table_schema = 'flowmill' AND table_name = '{table}'
                ORDER BY ordinal_position"
            ))
            .into_iter()
            .flatten()
            .collect();
        // NULL and the empty text look the same.
        let values: Vec<String> = columns
            .iter()
            .map(|column| format!("coalesce('=' || {column}::text, 'NULL')"))
            .collect();
        let rows = source.query(&format!(
            "SELECT {} FROM flowmill.{table} WHERE {id} = '{newest}'",
            values.join(", ")
        ));
        for row in rows {
            let values = columns.iter().zip(&row).map(|(column, value)| {
                if column == id {
                    ID.to_owned()
                } else {
                    value.strip_prefix('=').map_or("NULL".to_owned(), literal)
                }
            });
            let values: Vec<String> = values.collect();
            writeln!(
                script,
                "INSERT INTO flowmill.{table} ({}) VALUES ({});",
                columns.join(", "),
                values.join(", ")
            )
            .expect("a string takes everything");
        }
    }
    script + "COMMIT;\n"
}

/// As SQL. `pgbench` takes a colon for the begin of a variable's name, within quotes too.
fn literal(text: &str) -> String {
    let text = text
        .replace('\\', r"\\")
        .replace('\'', r"\'")
        .replace(':', r"\x3a")
        .replace('\n', r"\n");
    format!("E'{text}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_of_pgbench_is_read() {
        let output =
            "latency average = 1.2 ms\ntps = 12345.678901 (without initial connection time)\n";
        assert_eq!(per_second(output), Some(12_345.678_901));
        assert_eq!(per_second(""), None);
    }

    #[test]
    fn a_literal_holds_nothing_that_pgbench_would_replace() {
        assert_eq!(literal(r#"{"a":'\n'}"#), r#"E'{"a"\x3a\'\\n\'}'"#);
    }
}
