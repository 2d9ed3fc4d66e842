//! What the limits of API keys cost, and whether they hold across servers.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::Value;
use testing::postgres::Server;

use super::{Bench, float, on};
use crate::load::{self, Question};
use crate::model_server::CALLED;
use crate::parts::start_model;
use crate::report::{Budget, Line, Measure, Pair};
use crate::target::{Program, Target};

const CONNECTIONS: usize = 256;
const OF_UNLIMITED: Budget = Budget::AtLeast(0.90);
const OVER: Budget = Budget::AtMost(0.0);

/// So high that none is ever reached.
const HIGH: [&str; 6] = [
    "--requests-per-minute",
    "1000000000",
    "--max-running",
    "100000",
    "--tokens-per-day",
    "1000000000000",
];

/// Servers, and the connections to each, that spend one quota of tokens; a run takes some.
const SERVERS: usize = 4;
const EACH: usize = 64;
const QUOTA: u64 = 100_000;
const TOKENS: u64 = 21;

pub(super) async fn measure(bench: &Bench, server: &Server) -> Result<Vec<Line>> {
    let mut lines = vec![cost(bench, server).await?];
    lines.extend(sum(bench, server).await?);
    Ok(lines)
}

async fn cost(bench: &Bench, server: &Server) -> Result<Line> {
    let (_model, model) = start_model(Duration::ZERO)?;
    let database = server.database();
    let url = database.url();
    let free = key(bench, &url, &["--name", "free"])?;
    let limited = key(bench, &url, &[&["--name", "limited"], &HIGH[..]].concat())?;
    let target = bench
        .flowmill
        .start_with(model, bench.folder(), &on(&url, &[]))?;
    let questions = [free, limited].map(|key| Question::run().with_key(&key));
    let mut rounds = Vec::new();
    // The first round warms up.
    for _ in 0..=bench.scale.rounds {
        let mut seen = Vec::new();
        for question in &questions {
            let length = bench.scale.round;
            let sample = load::repeat(target.address, question, CONNECTIONS, length).await?;
            seen.push(sample.throughput());
        }
        rounds.push(Pair {
            reference: seen[0],
            flowmill: seen[1],
        });
    }
    let what = format!("{CONNECTIONS} connections: runs of a key with limits (reference: without)");
    Ok(Line::paired(what, "/s", Measure::Ratio, &rounds[1..]).within(OF_UNLIMITED))
}

/// Everybody spends the same quota until all are refused.
async fn sum(bench: &Bench, server: &Server) -> Result<Vec<Line>> {
    let (_model, model) = start_model(Duration::ZERO)?;
    let database = server.database();
    let url = database.url();
    let quota = QUOTA.to_string();
    let key = key(
        bench,
        &url,
        &["--name", "quota", "--tokens-per-day", &quota],
    )?;
    let start = || {
        bench
            .flowmill
            .start_with(model, bench.folder(), &on(&url, &[]))
    };
    let servers: Vec<Target> = (0..SERVERS).map(|_| start()).collect::<Result<_>>()?;
    let run = Question::run().with_key(&key);
    let used = spend_all(&servers, &run, model, bench.scale.round).await?;
    let over = float(used.saturating_sub(QUOTA));
    let share = float(used) / float(QUOTA);
    let line = |what, unit, figure| {
        let what = format!("{QUOTA} tokens spent on {SERVERS} servers: {what}");
        Line::alone(what, unit, &[figure])
    };
    Ok(vec![
        line("over the limit", "tokens", over).within(OVER),
        line("used", "share", share),
    ])
}

/// Until a whole round makes no call; returns the tokens that the model gave.
async fn spend_all(
    servers: &[Target],
    run: &Question,
    model: SocketAddr,
    length: Duration,
) -> Result<u64> {
    let run = run.clone().or_refused();
    let end = Instant::now() + Duration::from_secs(120);
    let mut before = None;
    loop {
        let all = servers
            .iter()
            .map(|target| load::repeat(target.address, &run, EACH, length));
        try_join_all(all).await?;
        let called = load::ask_once(model, &Question::get(CALLED)).await?;
        let called: u64 = std::str::from_utf8(&called)?.parse()?;
        if before == Some(called) {
            return Ok(called * TOKENS);
        }
        ensure!(Instant::now() < end, "the quota is never used up");
        before = Some(called);
    }
}

/// Makes an API key in the store at that address.
fn key(bench: &Bench, url: &str, options: &[&str]) -> Result<String> {
    let Program::Flowmill(flowmill) = &bench.flowmill else {
        unreachable!("only flowmill has keys");
    };
    let output = Command::new(flowmill)
        .args([
            "keys", "create", "--scope", "run", "--format", "json", "--store", url,
        ])
        .args(options)
        .env_clear()
        .current_dir(bench.folder())
        .output()
        .context("cannot start flowmill")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "no key was made: {errors}");
    let made: Value = serde_json::from_slice(&output.stdout)?;
    Ok(made["key"]
        .as_str()
        .context("no key was printed")?
        .to_owned())
}
