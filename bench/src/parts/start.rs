//! Start to the first healthy answer, and the memory of a server that does nothing.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, megabytes, milliseconds, start_model};
use crate::report::{Budget, Line, Measure, Pair};

const START_MS: Budget = Budget::AtMost(50.0);
const IDLE_MB: Budget = Budget::AtMost(20.0);

/// After this a server has finished whatever it does once at its start.
const SETTLED: Duration = Duration::from_millis(300);

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Line>> {
    let (_model, model) = start_model(Duration::ZERO)?;
    let mut times = Vec::new();
    let mut memory = Vec::new();
    for _ in 0..bench.scale.starts {
        let mut seen = Vec::new();
        for program in bench.programs() {
            let target = program.start(model, bench.folder())?;
            tokio::time::sleep(SETTLED).await;
            seen.push((
                milliseconds(target.start_time),
                megabytes(target.process.memory()?),
            ));
        }
        times.push(Pair {
            reference: seen[0].0,
            flowmill: seen[1].0,
        });
        memory.push(Pair {
            reference: seen[0].1,
            flowmill: seen[1].1,
        });
    }
    Ok(vec![
        Line::paired(
            "start to first healthy answer",
            "ms",
            Measure::Value,
            &times,
        )
        .within(START_MS),
        Line::paired("idle memory", "MB", Measure::Value, &memory).within(IDLE_MB),
    ])
}
