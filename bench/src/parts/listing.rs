//! Pages of `GET /jobs` where very many jobs are stored.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::Connection;

use super::{Bench, milliseconds, start_model};
use crate::load::{self, Question};
use crate::report::{Budget, Line};
use crate::target::Program;

const PAGE_MS: Budget = Budget::AtMost(5.0);

/// Jobs written in one transaction.
const BATCH: usize = 100_000;

/// When the first job was made, and how long after it the next: a million in seven days.
pub(super) const FIRST_MS: u64 = 1_790_000_000_000;
pub(super) const EVERY_MS: u64 = 600;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Line>> {
    let Program::Flowmill(_) = &bench.flowmill else {
        return Ok(Vec::new());
    };
    let (_model, model) = start_model(Duration::from_secs(3_600))?;
    let folder = bench.fresh_folder()?;
    // It makes the tables.
    drop(bench.flowmill.start_with(model, folder.path(), &[])?);
    let jobs = bench.scale.listed;
    fill(&folder.path().join("flowmill.db"), jobs).context("the store could not be filled")?;
    // They have ended a while ago.
    let options = ["--max-running", "1", "--job-retention", "36500d"];
    let target = bench.flowmill.start_with(model, folder.path(), &options)?;

    let mut typical: Vec<f64> = Vec::new();
    let mut slow: Vec<f64> = Vec::new();
    for query in queries(jobs)? {
        let page = Question::get(format!("/jobs?{query}"));
        load::times(target.address, &page, bench.scale.pages / 10).await?;
        let sample = load::times(target.address, &page, bench.scale.pages).await?;
        typical.push(milliseconds(sample.percentile(50)));
        slow.push(milliseconds(sample.percentile(99)));
    }
    let worst = |figures: Vec<f64>| figures.into_iter().fold(0.0, f64::max);
    let line = |what: &str, figures| {
        let what = format!("a page of 200 of {jobs} jobs, the slowest filter: {what}");
        Line::alone(what, "ms", &[worst(figures)])
    };
    Ok(vec![
        line("p50", typical).within(PAGE_MS),
        // What a busy machine adds shows here.
        line("p99", slow),
    ])
}

/// Every filter, alone and combined; deep pages too.
pub(super) fn queries(jobs: usize) -> Result<Vec<String>> {
    let jobs = jobs as u64;
    let middle = id(jobs / 2);
    let cursor = format!(
        "{}-{}-{}-{}-{}",
        &middle[..8],
        &middle[8..12],
        &middle[12..16],
        &middle[16..20],
        &middle[20..]
    );
    let connection = Connection::open_in_memory()?;
    let earlier = time(&connection, jobs / 3)?;
    let later = time(&connection, jobs * 2 / 3)?;
    let filters = [
        String::new(),
        format!("cursor={cursor}"),
        "status=pending".to_owned(),
        "status=completed".to_owned(),
        "status=failed".to_owned(),
        "status=running".to_owned(),
        "workflow=workflow_3".to_owned(),
        format!("workflow=workflow_3&cursor={cursor}"),
        "workflow=workflow_3&status=failed".to_owned(),
        "workflow=none".to_owned(),
        format!("created_before={later}"),
        format!("created_after={earlier}&created_before={later}"),
        format!("status=failed&created_after={earlier}&created_before={later}"),
        format!("workflow=workflow_3&created_before={earlier}"),
        format!("workflow=workflow_3&created_after={later}"),
    ];
    let query = |filter: String| {
        format!("limit=200&{filter}")
            .trim_end_matches('&')
            .to_owned()
    };
    Ok(filters.into_iter().map(query).collect())
}

fn made_ms(job: u64) -> u64 {
    FIRST_MS + job * EVERY_MS
}

/// As 32 hexadecimal digits: version 7, with the time in front.
fn id(job: u64) -> String {
    format!("{:012x}70008{job:015x}", made_ms(job))
}

/// When a job was made, as a query has it.
fn time(connection: &Connection, job: u64) -> Result<String> {
    let seconds = made_ms(job) / 1_000;
    let sql = "SELECT strftime('%Y-%m-%dT%H:%M:%SZ', ?1, 'unixepoch')";
    Ok(connection.query_row(sql, [seconds], |row| row.get(0))?)
}

/// Ten workflows; of a hundred jobs two wait, three were cancelled, five failed, ninety completed.
fn fill(file: &Path, jobs: usize) -> Result<()> {
    let mut connection = Connection::open(file)?;
    connection.execute_batch(
        "PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -200000;",
    )?;
    connection.execute(
        "INSERT INTO definitions (seq, hash, name, jobs) VALUES (1, 'bench', 'greeting.yaml', ?1)",
        [jobs],
    )?;
    connection.execute(
        "INSERT INTO definition_texts (definition, text) VALUES (1, ?1)",
        [include_str!("../../workflows/greeting.yaml")],
    )?;
    for first in (0..jobs).step_by(BATCH) {
        let last = (first + BATCH).min(jobs);
        let transaction = connection.transaction()?;
        {
            let mut job = transaction.prepare(
                "INSERT INTO jobs (seq, id, workflow, definition, status, metadata, created_at,
                     started_at, completed_at, execution_time_ms, error, problem, usage, attempts, token)
                 VALUES (?1, unhex(?2), 'workflow_' || (?1 % 10), 1, ?3, '{\"customer\":\"Ada\"}', ?4,
                     iif(?3 = 0, NULL, ?4), iif(?3 = 0, NULL, ?4 + 812000000),
                     iif(?3 = 0, NULL, 812),
                     iif(?3 = 4, 'node greet: the model gave no answer', NULL),
                     iif(?3 = 4, '{\"type\":\"about:blank\",\"status\":502,\"code\":\"model_error\"}', NULL),
                     iif(?3 = 0, NULL, '{\"input_tokens\":12,\"output_tokens\":9,\"llm_calls\":1}'),
                     ?3 <> 0, ?3 <> 0)",
            )?;
            let mut work = transaction
                .prepare("INSERT INTO work (job, inputs) VALUES (?1, '{\"name\":\"Ada\"}')")?;
            for number in first..last {
                let status = match number % 97 {
                    0 | 1 => 0,
                    2..=4 => 5,
                    5..=9 => 4,
                    _ => 3,
                };
                let number = number as u64;
                let seq = number + 1;
                job.execute((seq, id(number), status, made_ms(number) * 1_000_000))?;
                work.execute([seq])?;
            }
        }
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_times_are_as_flowmill_writes_them() {
        assert_eq!(id(7).len(), 32);
        assert!(id(7) < id(8));
        let connection = Connection::open_in_memory().unwrap();
        assert_eq!(time(&connection, 0).unwrap(), "2026-09-21T14:13:20Z");
    }
}
