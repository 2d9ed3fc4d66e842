//! `/metrics`, parsed by prometheus-client.

use serde_json::{Value, json};

use super::rig::{model, project, rig};
use crate::http::{client, post, start_with};

/// Fails unless a sample has that value.
#[track_caller]
fn is(families: &Value, name: &str, labels: &Value, expected: f64) {
    let samples = families
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|family| family["samples"].as_array().expect("a list"));
    let found: Vec<&Value> = samples
        .filter(|sample| sample[0] == name && sample[1] == *labels)
        .collect();
    assert_eq!(found.len(), 1, "{name} {labels} in {families:#}");
    let value = found[0][2].as_f64().expect("a number");
    assert!((value - expected).abs() < 1e-9, "{name} {labels}: {value}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_counted_in_a_form_that_prometheus_reads() {
    let Some(rig) = rig() else { return };
    let (model, project) = (model(), project("counted"));
    let mut server = start_with(
        &model,
        &project,
        "workflow.yaml --store memory --prices prices.json",
    );
    let url = server.url();
    for topic in ["again otters", "refuse", "otters"] {
        post(format!("{url}/run"), json!({"topic": topic})).await;
    }
    let (_, job) = post(format!("{url}/jobs"), json!({"inputs": {"topic": "hang"}})).await;
    model.called(8).await;
    client()
        .get(format!("{url}/no/such/path"))
        .send()
        .await
        .expect("an answer");
    let answer = client()
        .get(format!("{url}/metrics"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = answer.text().await.expect("text");
    let families = rig.ask(&json!({"what": "metrics", "text": text}));

    let workflow = |status: &str| json!({"workflow": "counted", "status": status});
    is(
        &families,
        "flowmill_runs_total",
        &workflow("completed"),
        2.0,
    );
    is(&families, "flowmill_runs_total", &workflow("failed"), 1.0);
    is(
        &families,
        "flowmill_runs_total",
        &workflow("cancelled"),
        0.0,
    );
    let route = json!({"method": "POST", "route": "/run", "status": "200"});
    is(&families, "flowmill_http_requests_total", &route, 2.0);
    let route = json!({"method": "GET", "route": "unknown", "status": "404"});
    is(&families, "flowmill_http_requests_total", &route, 1.0);
    let of_model = json!({"workflow": "counted", "model": "openai/test", "outcome": "answered"});
    // Three of the first run, two of the third, one of the job.
    is(&families, "flowmill_model_calls_total", &of_model, 6.0);
    let tokens = json!({"workflow": "counted", "model": "openai/test", "kind": "input"});
    is(&families, "flowmill_tokens_total", &tokens, 60.0);
    let of_model = json!({"workflow": "counted", "model": "openai/test"});
    is(&families, "flowmill_cost_usd_total", &of_model, 0.09);
    let write = json!({"workflow": "counted", "node": "write"});
    is(&families, "flowmill_retries_total", &write, 1.0);
    is(
        &families,
        "flowmill_node_duration_seconds_count",
        &write,
        // The one that failed took its time, too.
        4.0,
    );
    let counted = json!({"workflow": "counted"});
    is(
        &families,
        "flowmill_run_duration_seconds_count",
        &counted,
        3.0,
    );
    is(&families, "flowmill_jobs_running", &json!({}), 1.0);
    is(&families, "flowmill_jobs_queued", &json!({}), 0.0);
    let submit = json!({"verb": "submit"});
    is(
        &families,
        "flowmill_store_duration_seconds_count",
        &submit,
        4.0,
    );
    let bucket = json!({"verb": "submit", "le": "+Inf"});
    is(
        &families,
        "flowmill_store_duration_seconds_bucket",
        &bucket,
        4.0,
    );
    for family in families.as_array().expect("a list") {
        assert_ne!(family["type"], "unknown", "{family}");
    }
    let job = job["job_id"].as_str().expect("an id");
    post(format!("{url}/jobs/{job}/cancel"), json!({})).await;
}
