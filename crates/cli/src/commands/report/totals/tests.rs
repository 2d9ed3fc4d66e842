use serde_json::{Value, json};

use super::*;

fn node(model: &str, cost: Option<f64>) -> Value {
    json!({"model": model, "input_tokens": 10, "cached_tokens": 4, "output_tokens": 5, "llm_calls": 1, "cost_usd": cost})
}

fn job(workflow: &str, status: &str, took: Option<u64>, nodes: &[(&str, Value)]) -> Facts {
    let count = nodes.len() as u64;
    let costs: Option<Vec<f64>> = nodes
        .iter()
        .map(|(_, usage)| usage["cost_usd"].as_f64())
        .collect();
    let nodes: serde_json::Map<String, Value> = nodes
        .iter()
        .map(|(id, usage)| ((*id).to_owned(), usage.clone()))
        .collect();
    serde_json::from_value(json!({
        "workflow": workflow, "status": status, "execution_time_ms": took, "job_id": "ignored",
        "usage": took.map(|_| json!({
            "input_tokens": 10 * count, "cached_tokens": 4 * count, "output_tokens": 5 * count, "llm_calls": count,
            "cost_usd": costs.map(|costs| costs.iter().sum::<f64>()), "price_table": "2026-11", "nodes": nodes,
        })),
    }))
    .unwrap()
}

fn report(by: By) -> Report {
    let mut report = Report::new(by);
    report.add(&job(
        "a",
        "completed",
        Some(10),
        &[
            ("x", node("p/one", Some(0.5))),
            ("y", node("p/two", Some(0.25))),
        ],
    ));
    report.add(&job(
        "a",
        "failed",
        Some(30),
        &[("x", node("p/one", Some(0.5)))],
    ));
    report.add(&job(
        "b",
        "completed",
        Some(20),
        &[("x", node("p/one", Some(1.0))), ("z", node("q/free", None))],
    ));
    report.add(&job("b", "pending", None, &[]));
    report
}

fn groups(by: By) -> Vec<(String, u64, f64, u64)> {
    let row = |row: Row| (row.group, row.runs, row.cost_usd, row.unpriced_runs);
    report(by).rows().into_iter().map(row).collect()
}

#[test]
fn jobs_are_summed_by_workflow_node_model_and_key() {
    let row = |name: &str, runs, cost, unpriced| (name.to_owned(), runs, cost, unpriced);
    assert_eq!(
        groups(By::Workflow),
        [row("a", 2, 1.25, 0), row("b", 2, 1.0, 1)]
    );
    assert_eq!(
        groups(By::Node),
        [
            row("a/x", 2, 1.0, 0),
            row("b/x", 1, 1.0, 0),
            row("a/y", 1, 0.25, 0),
            row("b/z", 1, 0.0, 1)
        ]
    );
    assert_eq!(
        groups(By::Model),
        [
            row("p/one", 3, 2.0, 0),
            row("p/two", 1, 0.25, 0),
            row("q/free", 1, 0.0, 1)
        ]
    );
    assert_eq!(groups(By::Key), [row(NO_KEY, 4, 2.25, 1)]);
}

#[test]
fn a_total_counts_each_job_once_however_many_groups_it_is_in() {
    let report = report(By::Model);
    assert_eq!(
        report.total(),
        Row {
            group: "total".into(),
            runs: 4,
            completed: 2,
            failed: 1,
            cancelled: 0,
            active: 1,
            p50_ms: Some(20),
            p95_ms: Some(30),
            llm_calls: 5,
            input_tokens: 50,
            cached_tokens: 20,
            output_tokens: 25,
            cost_usd: 2.25,
            unpriced_runs: 1,
            estimated_runs: 0,
        }
    );
    assert_eq!(report.price_tables().collect::<Vec<_>>(), ["2026-11"]);
}

#[test]
fn runs_whose_tokens_were_estimated_are_counted() {
    let mut report = Report::new(By::Node);
    for marked in [true, false] {
        let mut usage = json!({"model": "openai/m", "input_tokens": 10, "cached_tokens": 0, "output_tokens": 5,
            "llm_calls": 1, "cost_usd": 0.5});
        if marked {
            usage["estimated"] = json!(true);
        }
        let mut whole = usage.clone();
        whole["nodes"] = json!({ "a": usage });
        let facts =
            json!({"workflow": "w", "status": "completed", "execution_time_ms": 5, "usage": whole});
        report.add(&serde_json::from_value(facts).unwrap());
    }
    assert_eq!(report.total().estimated_runs, 1);
    assert_eq!(report.rows()[0].estimated_runs, 1);
}
