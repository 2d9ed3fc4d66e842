//! Many jobs at once: running together, waiting, and after a restart.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde::Deserialize;

use super::{Bench, megabytes, start_model};
use crate::load::{self, Question};
use crate::model_server::MOST_AT_ONCE;
use crate::report::{Budget, Line, Measure, Pair};
use crate::target::{Program, Target};

const CONNECTIONS: usize = 256;

const ALL: Budget = Budget::AtLeast(1.0);
const ACCEPTED_S: Budget = Budget::AtMost(3.0);
const PEAK_MEMORY_RATIO: Budget = Budget::AtMost(1.5);
const QUEUE_MEMORY_RATIO: Budget = Budget::AtMost(1.1);
const RECOVERY_S: Budget = Budget::AtMost(1.0);

/// Descriptors that a server needs beside those of its calls.
const SPARE_DESCRIPTORS: u64 = 500;

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let Program::Flowmill(_) = &bench.flowmill else {
        return Ok(Vec::new());
    };
    let mut lines = at_once(bench).await?;
    lines.push(waiting(bench).await?);
    lines.push(after_a_restart(bench).await?);
    Ok(lines)
}

/// As many as asked for, or as the system's descriptor limit allows: a job in flight takes a server
/// one.
pub(super) fn possible_jobs(bench: &mut Bench) -> Result<usize> {
    let limit = rlimit::increase_nofile_limit(u64::MAX)?;
    let possible = usize::try_from(limit.saturating_sub(SPARE_DESCRIPTORS))?;
    let wanted = bench.scale.in_flight;
    if possible < wanted {
        bench.notes.push(format!(
            "{possible} instead of {wanted} jobs at once: a process may open {limit} files here"
        ));
    }
    Ok(wanted.min(possible))
}

struct Seen {
    accepted: Duration,
    together: usize,
    peak_memory: u64,
}

/// Submitted at once, on a model that takes its time: all of them run, at the same time, and end.
async fn at_once(bench: &mut Bench) -> Result<Vec<Line>> {
    let jobs = possible_jobs(bench)?;
    let mut rounds = Vec::new();
    for _ in 0..bench.scale.in_flight_rounds {
        let reference = run_at_once(bench, &bench.reference, jobs)
            .await
            .context("the reference")?;
        let flowmill = run_at_once(bench, &bench.flowmill, jobs)
            .await
            .context("flowmill")?;
        rounds.push((reference, flowmill));
    }
    let pairs = |figure: fn(&Seen) -> f64| -> Vec<Pair> {
        let pair = |(reference, flowmill): &(Seen, Seen)| Pair {
            reference: figure(reference),
            flowmill: figure(flowmill),
        };
        rounds.iter().map(pair).collect()
    };
    let together = rounds
        .iter()
        .map(|(_, flowmill)| share(flowmill.together, jobs))
        .fold(1.0, f64::min);
    Ok(vec![
        Line::paired(
            format!("{jobs} jobs at once: accepted and durable after"),
            "s",
            Measure::Value,
            &pairs(|seen| seen.accepted.as_secs_f64()),
        )
        .within(ACCEPTED_S),
        Line::alone(
            format!("{jobs} jobs at once: running together"),
            "share",
            &[together],
        )
        .within(ALL),
        Line::paired(
            format!("{jobs} jobs at once: peak memory (reference: a table in memory)"),
            "MB",
            Measure::Ratio,
            &pairs(|seen| megabytes(seen.peak_memory)),
        )
        .within(PEAK_MEMORY_RATIO),
    ])
}

async fn run_at_once(bench: &Bench, program: &Program, jobs: usize) -> Result<Seen> {
    // A fresh model server and a fresh process, for their own peaks.
    let (_model, model) = start_model(bench.scale.slow_model)?;
    let folder = bench.fresh_folder()?;
    let target = program.start_with(model, folder.path(), &[])?;
    let (ids, accepted) = submit(&target, jobs).await?;
    let polls = ids
        .into_iter()
        .map(|id| Question::get(format!("/jobs/{id}")));
    load::ask_until(target.address, polls.collect(), has_completed).await?;
    Ok(Seen {
        accepted,
        together: most_at_once(model).await?,
        peak_memory: target.process.peak_memory()?,
    })
}

pub(super) async fn submit(target: &Target, jobs: usize) -> Result<(Vec<String>, Duration)> {
    #[derive(Deserialize)]
    struct Handle {
        job_id: String,
    }
    let connections = CONNECTIONS.min(jobs);
    let (answers, elapsed) =
        load::ask_in_all(target.address, &Question::job(), connections, jobs).await?;
    let id = |answer: &Bytes| Ok(serde_json::from_slice::<Handle>(answer)?.job_id);
    Ok((answers.iter().map(id).collect::<Result<_>>()?, elapsed))
}

fn has_completed(answer: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Job<'a> {
        status: &'a str,
    }
    serde_json::from_slice::<Job<'_>>(answer).is_ok_and(|job| job.status == "completed")
}

async fn most_at_once(model: SocketAddr) -> Result<usize> {
    let most = load::ask_once(model, &Question::get(MOST_AT_ONCE)).await?;
    Ok(std::str::from_utf8(&most)?.parse()?)
}

/// Few and many jobs that wait: they are in the file, so they take no memory.
async fn waiting(bench: &Bench) -> Result<Line> {
    let [few, many] = bench.scale.queued;
    let mut rounds = Vec::new();
    for _ in 0..bench.scale.in_flight_rounds {
        let mut seen = Vec::new();
        for jobs in [few, many] {
            let (_model, model) = start_model(Duration::from_secs(3_600))?;
            let folder = bench.fresh_folder()?;
            let most = jobs.to_string();
            let options = ["--max-running", "1", "--max-queued", &most];
            let target = bench.flowmill.start_with(model, folder.path(), &options)?;
            submit(&target, jobs).await?;
            seen.push(megabytes(target.process.peak_memory()?));
        }
        rounds.push(Pair {
            reference: seen[0],
            flowmill: seen[1],
        });
    }
    let what = format!("{many} jobs that wait: peak memory (reference: {few})");
    Ok(Line::paired(what, "MB", Measure::Ratio, &rounds).within(QUEUE_MEMORY_RATIO))
}

/// From the start of a server to the moment in which it has taken up all the jobs that a killed one
/// left.
async fn after_a_restart(bench: &mut Bench) -> Result<Line> {
    let jobs = possible_jobs(bench)?;
    let mut times = Vec::new();
    for _ in 0..bench.scale.in_flight_rounds {
        let (_model, model) = start_model(Duration::from_secs(3_600))?;
        let folder = bench.fresh_folder()?;
        let target = bench
            .flowmill
            .start_with(model, folder.path(), &["--max-running", "1"])?;
        submit(&target, jobs).await?;
        drop(target);
        let started = Instant::now();
        let target = bench.flowmill.start_with(model, folder.path(), &[])?;
        let pending = Question::get("/jobs?status=pending&limit=1");
        loop {
            let page = load::ask_once(target.address, &pending).await?;
            if is_empty(&page)? {
                break;
            }
            ensure!(
                started.elapsed() < Duration::from_secs(60),
                "jobs are not taken up"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        times.push(started.elapsed().as_secs_f64());
    }
    let what = format!("{jobs} jobs after a restart: taken up after");
    Ok(Line::alone(what, "s", &times).within(RECOVERY_S))
}

fn is_empty(page: &[u8]) -> Result<bool> {
    #[derive(Deserialize)]
    struct Page {
        jobs: Vec<serde::de::IgnoredAny>,
    }
    Ok(serde_json::from_slice::<Page>(page)?.jobs.is_empty())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 jobs")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
