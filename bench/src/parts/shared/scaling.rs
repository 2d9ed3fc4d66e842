//! Two servers beside one, each on a database of its own.

use std::time::{Duration, Instant};

use anyhow::Result;
use testing::postgres::Server;

use super::{Bench, float, on, until_count};
use crate::load::{self, Question};
use crate::parts::jobs::submit;
use crate::parts::start_model;
use crate::report::{Budget, Line, Measure, Pair};

const CONNECTIONS: usize = 256;
const BY_PROCESSOR: Budget = Budget::AtLeast(0.90);

/// Runs at the same time of each server, and how long a model call takes.
const SLOTS: &str = "64";
const MODEL: Duration = Duration::from_millis(200);
const BY_SLOTS: Budget = Budget::AtLeast(1.8);

const UNFINISHED: &str = "SELECT count(*) FROM flowmill.active";

pub(super) async fn measure(bench: &Bench, server: &Server) -> Result<Vec<Line>> {
    Ok(vec![
        by_processor(bench, server).await?,
        by_slots(bench, server).await?,
    ])
}

/// All share the machine's cores, so two can do no more than one.
async fn by_processor(bench: &Bench, server: &Server) -> Result<Line> {
    let (_model, model) = start_model(Duration::ZERO)?;
    let (one, two) = (server.database(), server.database());
    let (one_url, two_url) = (one.url(), two.url());
    let start = |url| {
        bench
            .flowmill
            .start_with(model, bench.folder(), &on(url, &[]))
    };
    let single = start(&one_url)?;
    let pair = [start(&two_url)?, start(&two_url)?];
    let run = Question::run();
    let length = bench.scale.round;
    let half = CONNECTIONS / 2;
    let mut rounds = Vec::new();
    // The first round warms up.
    for _ in 0..=bench.scale.rounds {
        let alone = load::repeat(single.address, &run, CONNECTIONS, length).await?;
        let (left, right) = tokio::try_join!(
            load::repeat(pair[0].address, &run, half, length),
            load::repeat(pair[1].address, &run, half, length),
        )?;
        rounds.push(Pair {
            reference: alone.throughput(),
            flowmill: left.throughput() + right.throughput(),
        });
    }
    let what = format!("{CONNECTIONS} connections: runs on two servers (reference: on one)");
    Ok(Line::paired(what, "/s", Measure::Ratio, &rounds[1..]).within(BY_PROCESSOR))
}

/// Jobs that wait for models: all are submitted to one server.
async fn by_slots(bench: &Bench, server: &Server) -> Result<Line> {
    let (_model, model) = start_model(MODEL)?;
    let (one, two) = (server.database(), server.database());
    let (one_url, two_url) = (one.url(), two.url());
    let start = |url| {
        let options = on(url, &["--max-running", SLOTS, "--max-queued", "100000"]);
        bench.flowmill.start_with(model, bench.folder(), &options)
    };
    let single = start(&one_url)?;
    let pair = [start(&two_url)?, start(&two_url)?];
    let jobs = bench.scale.shared_jobs;
    let mut rounds = Vec::new();
    for _ in 0..bench.scale.in_flight_rounds {
        let mut seen = Vec::new();
        for (target, database) in [(&single, &one), (&pair[0], &two)] {
            let started = Instant::now();
            submit(target, jobs).await?;
            until_count(database, UNFINISHED, 0).await?;
            seen.push(float(jobs as u64) / started.elapsed().as_secs_f64());
        }
        rounds.push(Pair {
            reference: seen[0],
            flowmill: seen[1],
        });
    }
    let what = format!(
        "{jobs} jobs, {SLOTS} at once on each server: runs on two servers (reference: on one)"
    );
    Ok(Line::paired(what, "/s", Measure::Ratio, &rounds).within(BY_SLOTS))
}
