//! `block_deploy`: a workflow whose latest recorded run failed such a gate is not deployed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use jobs::job::{Job, Status};
use jobs::store::{Filter, JobStore};
use lang::workflow::{OnGateFail, Workflow};
use serde_json::Value;

use crate::config::store::Store;
use crate::failure::{Exit, Failure, Result};
use crate::job_store;
use crate::runtime;

/// Most runs that are examined, newest first, for one that reached its gates.
const RUNS: usize = 100;

/// Events per page.
const EVENTS: usize = 256;

/// Gates whose failure forbids a deployment.
fn blocking(workflow: &Workflow) -> BTreeSet<&str> {
    let gates = &workflow.gates;
    gates
        .gates
        .iter()
        .filter(|gate| gate.on_fail.unwrap_or(gates.on_fail) == OnGateFail::BlockDeploy)
        .map(|gate| gate.metric.as_str())
        .collect()
}

/// Refuses a workflow whose latest run in the store failed a gate. Without a store there are no
/// recorded runs.
pub(super) fn check(workflow: &Workflow, store: &Store, ca: Option<&Path>) -> Result<()> {
    let blocking = blocking(workflow);
    let has_runs = match store {
        Store::Memory => false,
        Store::Sqlite(path) => path.exists(),
        Store::Postgres(_) => true,
    };
    if blocking.is_empty() || !has_runs {
        return Ok(());
    }
    let way_out = match store {
        Store::Sqlite(_) => {
            "stop the server that uses this store, name another with --runs, or add --ignore-gates"
        }
        Store::Memory | Store::Postgres(_) => {
            "name another store with --runs, or add --ignore-gates"
        }
    };
    let runtime = runtime::of_one_thread()?;
    let latest = runtime.block_on(async {
        let opened = job_store::open(store, ca).await.map_err(|failure| {
            failure.hint(format!(
                "the gates of this workflow forbid a deployment after a failed run, so its runs have to be read: {way_out}"
            ))
        })?;
        let latest = latest(&opened.jobs, &workflow.name, &blocking).await;
        latest.map_err(|error| Failure::new(Exit::Io, format!("{store}: {error}")))
    });
    match latest? {
        Some(Verdict { job, failed }) if !failed.is_empty() => Err(Failure::new(
            Exit::Failed,
            format!(
                "not deployed: the latest recorded run of `{}` failed a gate (job {}, {})",
                workflow.name, job.id, job.created_at
            ),
        )
        .details(failed)
        .hint("run it again with `flowmill serve` until it passes, or add --ignore-gates")),
        _ => Ok(()),
    }
}

/// The result of the gates for a run.
struct Verdict {
    job: Job,
    /// Messages of the failed gates that block a deployment.
    failed: Vec<String>,
}

/// The result of the newest run that reached its gates: it completed, or failed at one.
async fn latest(
    store: &Arc<dyn JobStore>,
    workflow: &str,
    blocking: &BTreeSet<&str>,
) -> Result<Option<Verdict>, jobs::store::Error> {
    let filter = Filter {
        workflow: Some(workflow.to_owned()),
        ..Filter::default()
    };
    for job in store.list(&filter, None, RUNS).await?.jobs {
        if !matches!(job.status, Status::Completed | Status::Failed) {
            continue;
        }
        let (mut any, mut failed, mut after) = (false, Vec::new(), 0);
        loop {
            let events = store.events(job.id, after, EVENTS).await?;
            let Some(last) = events.last() else { break };
            after = last.id;
            for event in events.iter().filter(|event| event.kind == "gate_failed") {
                any = true;
                let event: Value = event.data.read().unwrap_or_default();
                if event["metric"]
                    .as_str()
                    .is_some_and(|metric| blocking.contains(metric))
                {
                    failed.push(event["message"].as_str().unwrap_or_default().to_owned());
                }
            }
        }
        if any || job.status == Status::Completed {
            return Ok(Some(Verdict { job, failed }));
        }
    }
    Ok(None)
}
