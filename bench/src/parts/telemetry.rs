//! Throughput with runs tracked in MLflow against throughput without. The MLflow takes as long as a
//! real one for each request, and costs nothing: what is measured is flowmill's own work for it.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Bench, start_model};
use crate::load::{self, Question};
use crate::report::{Budget, Line, Measure, Pair};
use crate::target::Program;

const CONNECTIONS: usize = 32;

/// What MLflow 3.17 with one worker takes for a request on an idle core, on SQLite.
const MLFLOW_DELAY: Duration = Duration::from_millis(20);

const THROUGHPUT_RATIO: Budget = Budget::AtLeast(0.90);
const ADDED_P99_MS: Budget = Budget::AtMost(1.0);

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Line>> {
    let Program::Flowmill(path) = &bench.flowmill else {
        return Ok(Vec::new());
    };
    let run = Question::run();
    let (_model, model) = start_model(Duration::ZERO)?;
    let (_mlflow, mlflow) = start_model(MLFLOW_DELAY)?;
    let off = bench.flowmill.start(model, bench.folder())?;
    let on = Program::Tracked(path.clone(), mlflow).start(model, bench.folder())?;
    for target in [&off, &on] {
        target.check().await?;
        load::repeat(target.address, &run, CONNECTIONS, bench.scale.round).await?;
    }
    let mut throughput = Vec::new();
    let mut p99 = Vec::new();
    for _ in 0..bench.scale.rounds {
        let off = load::repeat(off.address, &run, CONNECTIONS, bench.scale.round)
            .await
            .context("without MLflow")?;
        let on = load::repeat(on.address, &run, CONNECTIONS, bench.scale.round)
            .await
            .context("with MLflow")?;
        throughput.push(Pair {
            reference: off.throughput(),
            flowmill: on.throughput(),
        });
        p99.push(Pair {
            reference: super::milliseconds(off.percentile(99)),
            flowmill: super::milliseconds(on.percentile(99)),
        });
    }
    Ok(vec![
        Line::paired(
            format!("{CONNECTIONS} connections, without MLflow and with: throughput"),
            "/s",
            Measure::Ratio,
            &throughput,
        )
        .within(THROUGHPUT_RATIO),
        Line::paired(
            format!("{CONNECTIONS} connections, without MLflow and with: p99"),
            "ms",
            Measure::Added,
            &p99,
        )
        .within(ADDED_P99_MS),
    ])
}
