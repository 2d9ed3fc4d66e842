//! The effect of an attack on others: the p99 of runs on a server under attack, compared with that
//! of the same binary without.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Bench, megabytes, milliseconds, start_model};
use crate::attack::Attack;
use crate::load::{self, Question};
use crate::report::{Budget, Line, Measure, Pair};
use crate::target::Program;

/// The clients that are served.
const CONNECTIONS: usize = 4;

const P99_RATIO: Budget = Budget::AtMost(2.0);
/// 10,000 idle connections, and requests that are refused.
const PEAK_MB: Budget = Budget::AtMost(300.0);

/// Connections of the attack that are not idle, and of the clients that are served.
const ROOM: usize = 1_000;

/// Our own descriptors besides those of the attack.
const SPARE_DESCRIPTORS: u64 = 1_000;

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let Program::Flowmill(_) = &bench.flowmill else {
        return Ok(Vec::new());
    };
    let idle = possible_connections(bench)?;
    let run = Question::run();
    let (_model, model) = start_model(Duration::ZERO)?;
    let quiet = bench.flowmill.start(model, bench.folder())?;
    // By default it takes half as many connections as it may open files, which the attack could use up:
    // then others are refused, as they should be.
    let room = (idle + ROOM).to_string();
    let options = ["--store", "memory", "--max-connections", &room];
    let attacked = bench.flowmill.start_with(model, bench.folder(), &options)?;
    for target in [&quiet, &attacked] {
        target.check().await?;
        load::repeat(target.address, &run, CONNECTIONS, bench.scale.round).await?;
    }
    let mut p50 = Vec::new();
    let mut p99 = Vec::new();
    for _ in 0..bench.scale.rounds {
        let in_peace = load::repeat(quiet.address, &run, CONNECTIONS, bench.scale.round)
            .await
            .context("in peace")?;
        let attack = Attack::begin(attacked.address, idle).await?;
        let under_attack = load::repeat(attacked.address, &run, CONNECTIONS, bench.scale.round)
            .await
            .context("under attack")?;
        drop(attack);
        let pair = |percent| Pair {
            reference: milliseconds(in_peace.percentile(percent)),
            flowmill: milliseconds(under_attack.percentile(percent)),
        };
        p50.push(pair(50));
        p99.push(pair(99));
    }
    let what =
        |figure: &str| format!("in peace and under attack, {idle} idle connections: {figure}");
    Ok(vec![
        Line::paired(what("p50"), "ms", Measure::Ratio, &p50),
        Line::paired(what("p99"), "ms", Measure::Ratio, &p99).within(P99_RATIO),
        Line::alone(
            what("peak memory"),
            "MB",
            &[megabytes(attacked.process.peak_memory()?)],
        )
        .within(PEAK_MB),
    ])
}

/// As many as asked for, or as the system's descriptor limit allows us.
fn possible_connections(bench: &mut Bench) -> Result<usize> {
    let limit = rlimit::increase_nofile_limit(u64::MAX)?;
    let possible = usize::try_from(limit.saturating_sub(SPARE_DESCRIPTORS))?;
    let wanted = bench.scale.in_flight;
    if possible < wanted {
        bench.notes.push(format!(
            "{possible} instead of {wanted} idle connections: a process may open {limit} files here"
        ));
    }
    Ok(wanted.min(possible))
}
