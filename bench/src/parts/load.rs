//! Throughput, latency, processor time and memory at a fixed number of connections.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Bench, megabytes, milliseconds, start_model};
use crate::load::{self, Question, Sample};
use crate::report::{Budget, Line, Measure, Pair};
use crate::target::Target;

/// Ascending, so that a peak belongs to the line it stands in.
const CONNECTIONS: [usize; 3] = [1, 32, 256];

const THROUGHPUT_RATIO: Budget = Budget::AtLeast(0.70);
const ADDED_P50_MS: Budget = Budget::AtMost(0.2);
const ADDED_P99_MS: Budget = Budget::AtMost(1.0);

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Line>> {
    let (_model, model) = start_model(Duration::ZERO)?;
    let reference = bench.reference.start(model, bench.folder())?;
    let flowmill = bench.flowmill.start(model, bench.folder())?;
    reference.check().await.context("the reference")?;
    flowmill.check().await.context("flowmill")?;

    let mut lines = Vec::new();
    for connections in CONNECTIONS {
        for target in [&reference, &flowmill] {
            load::repeat(
                target.address,
                &Question::run(),
                connections,
                bench.scale.round,
            )
            .await?;
        }
        let mut rounds = Vec::new();
        for _ in 0..bench.scale.rounds {
            let reference = Round::measure(&reference, connections, bench.scale.round)
                .await
                .context("the reference")?;
            let flowmill = Round::measure(&flowmill, connections, bench.scale.round)
                .await
                .context("flowmill")?;
            rounds.push((reference, flowmill));
        }
        let line = |what: &str, unit, measure, figure: fn(&Round) -> f64| {
            let pairs: Vec<Pair> = rounds
                .iter()
                .map(|(reference, flowmill)| Pair {
                    reference: figure(reference),
                    flowmill: figure(flowmill),
                })
                .collect();
            let plural = if connections == 1 { "" } else { "s" };
            Line::paired(
                format!("{connections} connection{plural}: {what}"),
                unit,
                measure,
                &pairs,
            )
        };
        let throughput = line("throughput", "/s", Measure::Ratio, |round| {
            round.sample.throughput()
        });
        let p50 = line("p50", "ms", Measure::Added, |round| {
            milliseconds(round.sample.percentile(50))
        });
        let p99 = line("p99", "ms", Measure::Added, |round| {
            milliseconds(round.sample.percentile(99))
        });
        let (p50, p99) = if connections == 1 {
            (p50.within(ADDED_P50_MS), p99.within(ADDED_P99_MS))
        } else {
            (p50, p99)
        };
        lines.extend([
            throughput.within(THROUGHPUT_RATIO),
            p50,
            p99,
            line(
                "processor time per run",
                "µs",
                Measure::Ratio,
                Round::processor_us,
            ),
            line("peak memory", "MB", Measure::Ratio, |round| {
                megabytes(round.peak_memory)
            }),
        ]);
    }
    Ok(lines)
}

struct Round {
    sample: Sample,
    processor_time: Duration,
    peak_memory: u64,
}

impl Round {
    async fn measure(target: &Target, connections: usize, length: Duration) -> Result<Self> {
        let before = target.process.processor_time()?;
        let sample = load::repeat(target.address, &Question::run(), connections, length).await?;
        Ok(Self {
            sample,
            processor_time: target.process.processor_time()?.saturating_sub(before),
            peak_memory: target.process.peak_memory()?,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
    fn processor_us(&self) -> f64 {
        self.processor_time.as_secs_f64() * 1e6 / self.sample.requests() as f64
    }
}
