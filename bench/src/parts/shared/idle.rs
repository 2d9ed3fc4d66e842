//! What servers cost that have nothing to do, and what runs cost that wait for models.

use std::time::Duration;

use anyhow::{Context, Result};
use testing::postgres::{Database, Options, Server};

use super::{Bench, float, on, until_count};
use crate::parts::jobs::{possible_jobs, submit};
use crate::parts::{megabytes, start_model};
use crate::process::processor_time_of_all;
use crate::report::{Budget, Line, Measure, Pair};
use crate::target::Target;

const SERVERS: usize = 10;
const STATEMENTS: Budget = Budget::AtMost(4.0);
const PROCESSOR_PERCENT: Budget = Budget::AtMost(2.0);
const LOG_KB: Budget = Budget::AtMost(5.0);
const CONNECTIONS: Budget = Budget::AtMost(8.0);
const MEMORY_MB: Budget = Budget::AtMost(4.0);
const WRITTEN: Budget = Budget::AtMost(0.2);
const BEAT_MS: Budget = Budget::AtMost(100.0);

/// Until what happens at a start is over, and the server has counted what was written.
const SETTLED: Duration = Duration::from_secs(12);

/// Rows that were written, in all tables.
const ROWS: &str = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)
    FROM pg_stat_user_tables";

/// The server's counts are behind by up to this.
const COUNTED: Duration = Duration::from_secs(2);

pub(super) async fn measure(bench: &Bench, server: &Server) -> Result<Vec<Line>> {
    // Of its own, and without what a server does later about the tables that were made at the start.
    let options = Options::default().with_setting("autovacuum", "off");
    let quiet = Server::start(options).context("PostgreSQL is not installed")?;
    let mut lines = at_rest(bench, &quiet).await?;
    lines.push(memory(bench, server).await?);
    Ok(lines)
}

async fn at_rest(bench: &Bench, server: &Server) -> Result<Vec<Line>> {
    let (_model, model) = start_model(Duration::ZERO)?;
    let database = server.database();
    let url = database.url();
    let start = || {
        bench
            .flowmill
            .start_with(model, bench.folder(), &on(&url, &[]))
    };
    let servers: Vec<Target> = (0..SERVERS).map(|_| start()).collect::<Result<_>>()?;
    servers[0].check().await?;
    tokio::time::sleep(SETTLED).await;

    let look = || -> Result<(u64, Duration, f64)> {
        let log = server.query("SELECT pg_current_wal_lsn() - '0/0'");
        Ok((
            database.statements_run(),
            processor_time_of_all(server.process_id())?,
            log[0][0].parse().context("a place in the log")?,
        ))
    };
    let before = look()?;
    tokio::time::sleep(bench.scale.idle).await;
    let after = look()?;
    let seconds = bench.scale.idle.as_secs_f64();
    let statements = float(after.0 - before.0) / seconds / float(SERVERS as u64);
    let processor = after.1.saturating_sub(before.1).as_secs_f64() / seconds * 100.0;
    let log = (after.2 - before.2) / seconds / 1e3;
    let connections = connections(&database)? / float(SERVERS as u64);
    let line = |what: &str, unit, figure, budget| {
        Line::alone(format!("{SERVERS} idle servers: {what}"), unit, &[figure]).within(budget)
    };
    Ok(vec![
        line("statements of each", "/s", statements, STATEMENTS),
        line(
            "processor time of PostgreSQL, of one core",
            "%",
            processor,
            PROCESSOR_PERCENT,
        ),
        line("PostgreSQL's log", "kB/s", log, LOG_KB),
        line("connections of each", "", connections, CONNECTIONS),
    ])
}

fn connections(database: &Database<'_>) -> Result<f64> {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity
        WHERE datname = '{}' AND pid <> pg_backend_pid()",
        database.name()
    );
    Ok(float(u64::try_from(database.count(&sql))?))
}

/// Of an idle server, beside one with a SQLite file.
async fn memory(bench: &Bench, server: &Server) -> Result<Line> {
    let (_model, model) = start_model(Duration::ZERO)?;
    let mut rounds = Vec::new();
    for _ in 0..bench.scale.starts {
        let folder = bench.fresh_folder()?;
        let database = server.database();
        let url = database.url();
        let mut seen = Vec::new();
        for options in [vec![], on(&url, &[])] {
            let target = bench.flowmill.start_with(model, folder.path(), &options)?;
            tokio::time::sleep(Duration::from_millis(300)).await;
            seen.push(megabytes(target.process.memory()?));
        }
        rounds.push(Pair {
            reference: seen[0],
            flowmill: seen[1],
        });
    }
    let what = "idle memory with PostgreSQL (reference: with SQLite)";
    Ok(Line::paired(what, "MB", Measure::Added, &rounds).within(MEMORY_MB))
}

/// What is written meanwhile is the servers' leases.
pub(super) async fn in_flight(bench: &mut Bench, server: &Server) -> Result<Vec<Line>> {
    let jobs = possible_jobs(bench)?;
    let (_model, model) = start_model(Duration::from_secs(3_600))?;
    let database = server.database();
    let url = database.url();
    let target = bench
        .flowmill
        .start_with(model, bench.folder(), &on(&url, &[]))?;
    submit(&target, jobs).await?;
    let running = "SELECT count(*) FROM flowmill.active WHERE status = 1";
    until_count(&database, running, i64::try_from(jobs)?).await?;
    tokio::time::sleep(SETTLED).await;
    let before = database.count(ROWS);
    tokio::time::sleep(bench.scale.beats).await;
    let after = database.count(ROWS);
    tokio::time::sleep(COUNTED).await;
    let written = float(u64::try_from(after - before)?) / bench.scale.beats.as_secs_f64();
    server.query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
    let beat = server.query(&format!(
        "SELECT coalesce(max(mean_exec_time), 0) FROM pg_stat_statements
        JOIN pg_database ON pg_database.oid = dbid
        WHERE datname = '{}' AND query LIKE '%UPDATE%replicas%lease_until%'",
        database.name()
    ));
    let beat: f64 = beat[0][0].parse().context("a time")?;
    let line = |what: &str, unit, figure, budget| {
        Line::alone(format!("{jobs} runs in flight: {what}"), unit, &[figure]).within(budget)
    };
    Ok(vec![
        line("rows written", "/s", written, WRITTEN),
        line("renewing the lease, in PostgreSQL", "ms", beat, BEAT_MS),
    ])
}
