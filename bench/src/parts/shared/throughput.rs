//! Jobs accepted and runs made per second, beside `pgbench` that stores the same rows.

use std::time::Duration;

use anyhow::Result;
use testing::postgres::Server;

use super::{Bench, on};
use crate::load::{self, Question};
use crate::parts::jobs::submit;
use crate::parts::start_model;
use crate::pgbench::Baseline;
use crate::report::{Budget, Line, Measure, Pair};

const CONNECTIONS: usize = 256;
const ACCEPTED: Budget = Budget::AtLeast(1.5);
const RUNS: Budget = Budget::AtLeast(1.2);
const RUNS_OF_SQLITE: Budget = Budget::AtLeast(0.30);

pub(super) async fn measure(bench: &Bench, server: &Server) -> Result<Vec<Line>> {
    let mut lines = vec![accepted(bench, server).await?];
    lines.extend(runs(bench, server).await?);
    Ok(lines)
}

/// `POST /jobs`; nothing runs meanwhile.
async fn accepted(bench: &Bench, server: &Server) -> Result<Line> {
    let (_model, model) = start_model(Duration::from_secs(3_600))?;
    let (database, plain) = (server.database(), server.database());
    // It makes the tables.
    let plain_url = plain.url();
    drop(
        bench
            .flowmill
            .start_with(model, bench.folder(), &on(&plain_url, &[]))?,
    );
    let url = database.url();
    let options = on(&url, &["--max-running", "1", "--max-queued", "100000000"]);
    let target = bench.flowmill.start_with(model, bench.folder(), &options)?;
    // The first one runs, the second one waits.
    submit(&target, 1).await?;
    submit(&target, 1).await?;
    let mut plain = Baseline::like_the_newest_job_of(&database, plain, bench.folder())?;
    let job = Question::job();
    plain.run(bench.scale.round).await?;
    load::repeat(target.address, &job, CONNECTIONS, bench.scale.round).await?;
    let mut rounds = Vec::new();
    for _ in 0..bench.scale.rounds {
        let reference = plain.run(bench.scale.round).await?;
        let sample = load::repeat(target.address, &job, CONNECTIONS, bench.scale.round).await?;
        rounds.push(Pair {
            reference,
            flowmill: sample.throughput(),
        });
    }
    let what =
        format!("{CONNECTIONS} connections: jobs accepted in PostgreSQL (reference: pgbench)");
    Ok(Line::paired(what, "/s", Measure::Ratio, &rounds).within(ACCEPTED))
}

/// `POST /run`; beside `pgbench`, and beside the same binary with a SQLite file.
async fn runs(bench: &Bench, server: &Server) -> Result<Vec<Line>> {
    let (_model, model) = start_model(Duration::ZERO)?;
    let (database, plain) = (server.database(), server.database());
    let plain_url = plain.url();
    drop(
        bench
            .flowmill
            .start_with(model, bench.folder(), &on(&plain_url, &[]))?,
    );
    let url = database.url();
    let postgres = bench
        .flowmill
        .start_with(model, bench.folder(), &on(&url, &[]))?;
    let folder = bench.fresh_folder()?;
    let sqlite = bench.flowmill.start_with(model, folder.path(), &[])?;
    for target in [&postgres, &sqlite] {
        target.check().await?;
    }
    let mut plain = Baseline::like_the_newest_job_of(&database, plain, bench.folder())?;
    let run = Question::run();
    plain.run(bench.scale.round).await?;
    for target in [&postgres, &sqlite] {
        load::repeat(target.address, &run, CONNECTIONS, bench.scale.round).await?;
    }
    let (mut of_plain, mut of_sqlite) = (Vec::new(), Vec::new());
    for _ in 0..bench.scale.rounds {
        let reference = plain.run(bench.scale.round).await?;
        let mut seen = Vec::new();
        for target in [&postgres, &sqlite] {
            let sample = load::repeat(target.address, &run, CONNECTIONS, bench.scale.round).await?;
            seen.push(sample.throughput());
        }
        of_plain.push(Pair {
            reference,
            flowmill: seen[0],
        });
        of_sqlite.push(Pair {
            reference: seen[1],
            flowmill: seen[0],
        });
    }
    let line = |reference: &str, pairs: &[Pair], budget| {
        let what =
            format!("{CONNECTIONS} connections: runs in PostgreSQL (reference: {reference})");
        Line::paired(what, "/s", Measure::Ratio, pairs).within(budget)
    };
    Ok(vec![
        line("pgbench", &of_plain, RUNS),
        line("in SQLite", &of_sqlite, RUNS_OF_SQLITE),
    ])
}
