//! A server is killed, and another one goes on with its runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use testing::postgres::Server;
use testing::{FakeModel, Reply};

use super::{Bench, float, on, until, until_count};
use crate::parts::jobs::submit;
use crate::report::{Budget, Line};

/// Two nodes: the first is paid for when its server is killed, the second is not.
const WORKFLOW: &str = r#"
schema_version: "1.0"
flow: {name: greeting}
state:
  fields:
    name: {type: str, required: true}
    plan: {type: str}
    greeting: {type: str}
nodes:
  - {id: plan, prompt: "first for {name}", output_schema: {type: str}, outputs: [plan]}
  - {id: greet, prompt: "second for {name}", output_schema: {type: str}, outputs: [greeting]}
edges:
  - {from: START, to: plan}
  - {from: plan, to: greet}
  - {from: greet, to: END}
"#;

const LEASE: Duration = Duration::from_secs(5);
/// What the dead server held, the other one runs after its lease and 2 s.
const ALL_RUN_S: Budget = Budget::AtMost(7.0);
const REPEATED: Budget = Budget::AtMost(0.0);

pub(super) async fn measure(bench: &Bench, server: &Server) -> Result<Vec<Line>> {
    let jobs = bench.scale.shared_jobs / 2;
    let is_open = Arc::new(AtomicBool::new(false));
    let opened = is_open.clone();
    let model = FakeModel::answering(move |request| {
        if request.prompt().starts_with("first") || opened.load(Ordering::SeqCst) {
            Reply::json(json!({"result": "ok"}))
        } else {
            Reply::hang()
        }
    });
    let database = server.database();
    let url = database.url();
    let lease = format!("{}s", LEASE.as_secs());
    let start = || {
        let options = on(&url, &["--job-lease", &lease]);
        bench
            .flowmill
            .start_workflow(WORKFLOW, model.address(), bench.folder(), &options)
    };
    let killed = start()?;
    submit(&killed, jobs).await?;
    let limit = Duration::from_secs(60);
    until("all are at their second node", limit, || {
        model.in_flight() == jobs
    })
    .await?;
    let survivor = start()?;
    // Each completed node is stored.
    let stored = "SELECT count(*) FROM flowmill.events WHERE kind = 'node_completed'";
    until_count(&database, stored, i64::try_from(jobs)?).await?;

    let called = model.calls();
    drop(killed);
    let died = Instant::now();
    until("all run again", limit, || model.calls() >= called + jobs).await?;
    let again = died.elapsed();

    // The calls that hang are lost with the connections that are closed by a second death.
    is_open.store(true, Ordering::SeqCst);
    drop(survivor);
    let _last = start()?;
    let unfinished = "SELECT count(*) FROM flowmill.active";
    until_count(&database, unfinished, 0).await?;
    let firsts = model
        .requests()
        .iter()
        .filter(|request| request.prompt().starts_with("first"))
        .count();
    let repeated = firsts.saturating_sub(jobs);
    let what = format!("one of two servers with {jobs} runs is killed, lease {lease}");
    Ok(vec![
        Line::alone(
            format!("{what}: all run again after"),
            "s",
            &[again.as_secs_f64()],
        )
        .within(ALL_RUN_S),
        Line::alone(
            format!("{what}: completed nodes called again"),
            "",
            &[float(repeated as u64)],
        )
        .within(REPEATED),
    ])
}
