//! The metrics of a run in MLflow.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::outcome::{Finished, NodeUsage, Outcome};

/// Counts of a node in this attempt at the run.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Count {
    pub(super) time_ms: u64,
    pub(super) retries: u64,
    pub(super) failed: bool,
}

/// Totals of the run, then of each node under `node.<id>.`.
pub(super) fn of(finished: &Finished, counts: &BTreeMap<Arc<str>, Count>) -> Vec<(String, f64)> {
    let usage = &finished.usage;
    let mut metrics = Vec::new();
    let retries: u64 = counts.values().map(|count| count.retries).sum();
    put(
        &mut metrics,
        "",
        &NodeUsage {
            model: None,
            input_tokens: usage.input_tokens,
            cached_tokens: usage.cached_tokens,
            output_tokens: usage.output_tokens,
            llm_calls: usage.llm_calls,
            cost_usd: usage.cost_usd,
            is_estimated: usage.is_estimated,
        },
        Some(Count {
            time_ms: finished.execution_time_ms,
            retries,
            failed: !matches!(finished.outcome, Outcome::Completed { .. }),
        }),
    );
    for (node, of_node) in &usage.nodes {
        let count = counts.get(node.as_str()).copied();
        put(&mut metrics, &format!("node.{node}."), of_node, count);
    }
    metrics
}

/// Adds the metrics of the run or a node. A node that ran in an earlier attempt has no `count`.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn put(metrics: &mut Vec<(String, f64)>, prefix: &str, usage: &NodeUsage, count: Option<Count>) {
    let success = |count: Count| f64::from(u8::from(!count.failed));
    let figures = [
        ("execution_time_ms", count.map(|count| count.time_ms as f64)),
        ("success", count.map(success)),
        ("input_tokens", Some(usage.input_tokens as f64)),
        ("output_tokens", Some(usage.output_tokens as f64)),
        ("cached_tokens", Some(usage.cached_tokens as f64)),
        ("cost_usd", usage.cost_usd),
        ("model_calls", Some(usage.llm_calls as f64)),
        ("retries", count.map(|count| count.retries as f64)),
    ];
    let known = figures
        .into_iter()
        .filter_map(|(name, value)| Some((format!("{prefix}{name}"), value?)));
    metrics.extend(known);
}
