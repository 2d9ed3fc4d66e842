//! Pages of `GET /jobs` where very many jobs are in PostgreSQL.

use std::time::Duration;

use anyhow::Result;
use testing::postgres::{Database, Server};

use super::{Bench, on};
use crate::load::{self, Question};
use crate::parts::listing::{EVERY_MS, FIRST_MS, queries};
use crate::parts::{milliseconds, start_model};
use crate::report::{Budget, Line};

/// 5 ms and a round trip.
const PAGE_MS: Budget = Budget::AtMost(5.5);

pub(super) async fn measure(bench: &Bench, server: &Server) -> Result<Vec<Line>> {
    let (_model, model) = start_model(Duration::from_secs(3_600))?;
    let database = server.database();
    let url = database.url();
    // It makes the tables.
    drop(
        bench
            .flowmill
            .start_with(model, bench.folder(), &on(&url, &[]))?,
    );
    let jobs = bench.scale.listed;
    fill(&database, jobs);
    // They have ended a while ago.
    let options = ["--max-running", "1", "--job-retention", "36500d"];
    let target = bench
        .flowmill
        .start_with(model, bench.folder(), &on(&url, &options))?;
    let mut slowest = 0.0_f64;
    let mut which = String::new();
    for query in queries(jobs)? {
        let page = Question::get(format!("/jobs?{query}"));
        load::times(target.address, &page, bench.scale.pages / 10).await?;
        let sample = load::times(target.address, &page, bench.scale.pages).await?;
        let typical = milliseconds(sample.percentile(50));
        if typical > slowest {
            (slowest, which) = (typical, query);
        }
    }
    let what = format!("a page of 200 of {jobs} jobs in PostgreSQL, the slowest ({which}): p50");
    Ok(vec![Line::alone(what, "ms", &[slowest]).within(PAGE_MS)])
}

/// As the part `listing` does: ten workflows; of a hundred jobs two wait, three were cancelled, five
/// failed, ninety completed.
fn fill(database: &Database<'_>, jobs: usize) {
    database.query(&format!(
        "CREATE TABLE public.filling AS
        SELECT CAST(lpad(to_hex({FIRST_MS} + n * {EVERY_MS}), 12, '0') || '70008'
                || lpad(to_hex(n), 15, '0') AS uuid) AS id,
            'workflow_' || n % 10 AS workflow,
            to_timestamp(({FIRST_MS} + n * {EVERY_MS}) / 1000.0) AS created_at,
            CASE WHEN n % 97 < 2 THEN 0 WHEN n % 97 < 5 THEN 5 WHEN n % 97 < 10 THEN 4 ELSE 3 END
                AS status
        FROM generate_series(0, {jobs} - 1) n"
    ));
    database.query(
        "INSERT INTO flowmill.definitions (hash, name, text, last_used)
        VALUES ('bench', 'greeting.yaml', 'bench', current_date)",
    );
    database.query(
        "INSERT INTO flowmill.jobs (id, workflow, definition, metadata, created_at, level, status,
            started_at, completed_at, execution_ms, error, problem, usage, attempts)
        SELECT id, workflow, 'bench', '{\"customer\":\"Ada\"}', created_at, 1, nullif(status, 0),
            CASE WHEN status > 0 THEN created_at END,
            CASE WHEN status > 0 THEN created_at + interval '812 ms' END,
            CASE WHEN status > 0 THEN 812 END,
            CASE WHEN status = 4 THEN 'node greet: the model gave no answer' END,
            CASE WHEN status = 4
                THEN '{\"type\":\"about:blank\",\"status\":502,\"code\":\"model_error\"}' END,
            CASE WHEN status > 0
                THEN '{\"input_tokens\":12,\"output_tokens\":9,\"llm_calls\":1}' END,
            CASE WHEN status > 0 THEN 1 ELSE 0 END
        FROM filling",
    );
    database.query(
        "INSERT INTO flowmill.active (job, workflow, level, status, token, attempts, starts)
        SELECT id, workflow, 1, 0, 0, 0, 0 FROM filling WHERE status = 0",
    );
    database.query(
        "INSERT INTO flowmill.work (job, inputs) SELECT id, '{\"name\":\"Ada\"}' FROM filling",
    );
    database.query("DROP TABLE filling");
    database.query("VACUUM ANALYZE");
}
