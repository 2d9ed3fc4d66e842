//! Several servers on one PostgreSQL: what they take of it, and how fast one learns of what
//! another does.
//!
//! What PostgreSQL does without flowmill is measured by `pgbench`, in turns with flowmill, on one
//! server that syncs every commit to disk.

mod death;
mod idle;
mod limits;
mod pages;
mod remote;
mod scaling;
mod throughput;

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testing::postgres::{Database, Options, Server};

use super::Bench;
use crate::report::Line;
use crate::target::Program;

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let Program::Flowmill(_) = &bench.flowmill else {
        return Ok(Vec::new());
    };
    // The log is not cut short while a turn is measured.
    let options = Options::default()
        .with_setting("max_wal_size", "8GB")
        .with_setting("checkpoint_timeout", "30min");
    let Some(server) = Server::start(options) else {
        bench.notes.push("PostgreSQL is not installed".to_owned());
        return Ok(Vec::new());
    };
    let mut lines = Vec::new();
    let mut keep = |bench: &mut Bench, what: &str, measured: Result<Vec<Line>>| match measured {
        Ok(measured) => lines.extend(measured),
        // One figure that cannot be had does not cost the others.
        Err(error) => bench.notes.push(format!("{what}: not measured: {error:#}")),
    };
    let measured = throughput::measure(bench, &server).await;
    keep(bench, "throughput", measured);
    let measured = scaling::measure(bench, &server).await;
    keep(bench, "two servers", measured);
    let measured = idle::measure(bench, &server).await;
    keep(bench, "idle servers", measured);
    let measured = idle::in_flight(bench, &server).await;
    keep(bench, "runs in flight", measured);
    let measured = remote::pick_up(bench, &server).await;
    keep(bench, "pick-up", measured);
    let measured = remote::cancel(bench, &server).await;
    keep(bench, "cancel", measured);
    let measured = remote::watch(bench, &server).await;
    keep(bench, "watchers", measured);
    let measured = death::measure(bench, &server).await;
    keep(bench, "a killed server", measured);
    let measured = limits::measure(bench, &server).await;
    keep(bench, "limits", measured);
    let measured = pages::measure(bench, &server).await;
    keep(bench, "pages", measured);
    Ok(lines)
}

/// The options of a server whose jobs are in that database, and more.
fn on<'o>(url: &'o str, more: &[&'o str]) -> Vec<&'o str> {
    [&["--store", url], more].concat()
}

/// Waits until a count in the database is as wanted.
async fn until_count(database: &Database<'_>, sql: &str, wanted: i64) -> Result<()> {
    until(sql, Duration::from_secs(120), || {
        database.count(sql) == wanted
    })
    .await
}

async fn until(what: impl Display, limit: Duration, holds: impl Fn() -> bool) -> Result<()> {
    let end = Instant::now() + limit;
    while !holds() {
        ensure!(Instant::now() < end, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}
