//! Thousands of synchronous runs at the same time, on a model that takes seconds.

use anyhow::Result;

use super::{Bench, megabytes, start_model};
use crate::load;
use crate::report::{Budget, Line, Measure, Pair};

const ALL_SUCCEED: Budget = Budget::AtLeast(1.0);
const TIME_RATIO: Budget = Budget::AtMost(1.3);
const PEAK_MEMORY_RATIO: Budget = Budget::AtMost(1.4);

/// Descriptors a server needs beside those of its runs.
const SPARE_DESCRIPTORS: u64 = 100;

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let runs = possible_runs(bench)?;
    let (_model, model) = start_model(bench.scale.slow_model)?;
    let mut succeeded = Vec::new();
    let mut times = Vec::new();
    let mut peaks = Vec::new();
    for _ in 0..bench.scale.in_flight_rounds {
        let mut seen = Vec::new();
        for program in [bench.reference.clone(), bench.flowmill.clone()] {
            // A fresh process each time, for its own peak.
            let target = program.start(model, bench.folder())?;
            let flight = load::all_at_once(target.address, runs).await;
            if let Some(failure) = flight.failure {
                let failed = runs - flight.succeeded;
                bench.notes.push(format!(
                    "{}: {failed} of {runs} runs failed, the first: {failure:#}",
                    program.name()
                ));
            }
            seen.push((
                share(flight.succeeded, runs),
                flight.elapsed,
                target.process.peak_memory()?,
            ));
        }
        succeeded.push(Pair {
            reference: seen[0].0,
            flowmill: seen[1].0,
        });
        times.push(Pair {
            reference: seen[0].1.as_secs_f64(),
            flowmill: seen[1].1.as_secs_f64(),
        });
        peaks.push(Pair {
            reference: megabytes(seen[0].2),
            flowmill: megabytes(seen[1].2),
        });
    }
    let worst = succeeded
        .iter()
        .map(|pair| pair.flowmill)
        .fold(1.0, f64::min);
    Ok(vec![
        Line::alone(
            format!("{runs} runs in flight: succeeded"),
            "share",
            &[worst],
        )
        .within(ALL_SUCCEED),
        Line::paired(
            format!("{runs} runs in flight: time"),
            "s",
            Measure::Ratio,
            &times,
        )
        .within(TIME_RATIO),
        Line::paired(
            format!("{runs} runs in flight: peak memory"),
            "MB",
            Measure::Ratio,
            &peaks,
        )
        .within(PEAK_MEMORY_RATIO),
    ])
}

/// As many as asked for, or as the system's descriptor limit allows: each takes a server two, one
/// to its client and one to the model.
fn possible_runs(bench: &mut Bench) -> Result<usize> {
    let limit = rlimit::increase_nofile_limit(u64::MAX)?;
    let possible = usize::try_from(limit.saturating_sub(SPARE_DESCRIPTORS) / 2)?;
    let wanted = bench.scale.in_flight;
    if possible < wanted {
        bench.notes.push(format!(
            "{possible} instead of {wanted} runs in flight: a process may open {limit} files here and a run takes two"
        ));
    }
    Ok(wanted.min(possible))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 runs")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
