//! `flowmill report`, of a server and of a store file.

use serde_json::{Value, json};
use testing::{FakeModel, Reply, TempProject};

use crate::http::{post, start_with};
use crate::support::{GREETING, run_in, words};

const PRICES: &str = r#"{"version": "ours-1", "openai": {"test": {"input": 1, "output": 2}}}"#;

/// Two runs of `greeting` that completed, one that failed, and one of `other`.
async fn runs(project: &TempProject, line: &str) -> (crate::support::Running, String) {
    let model = FakeModel::answering(|request| {
        if request.prompt().contains("Bob") {
            return Reply::status(400);
        }
        Reply::json(json!({"result": "Hello"})).usage(1000, 500)
    });
    let other = GREETING.replace("name: greeting", "name: \"other, one\"");
    std::fs::write(project.root().join("other.yaml"), other).expect("it is written");
    std::fs::write(project.root().join("prices.json"), PRICES).expect("it is written");
    let files = "greeting.yaml other.yaml --prices prices.json";
    let mut server = start_with(&model, project, &format!("{files} {line}"));
    let url = server.url();
    for (workflow, name, expected) in [
        ("greeting", "Ada", 200),
        ("greeting", "Bob", 500),
        ("greeting", "Cy", 200),
        ("other,%20one", "Ada", 200),
    ] {
        let (status, answer) = post(
            format!("{url}/workflows/{workflow}/run"),
            json!({"name": name}),
        )
        .await;
        assert_eq!(status, expected, "{answer}");
        if expected == 200 {
            assert_eq!(answer["usage"]["price_table"], json!("ours-1"));
            assert_eq!(answer["usage"]["nodes"]["greet"]["cost_usd"], json!(0.002));
            assert_eq!(
                answer["usage"]["nodes"]["greet"]["model"],
                json!("openai/test")
            );
        }
    }
    drop(model);
    (server, url)
}

fn row(report: &Value, position: usize) -> (String, u64, u64, u64, f64) {
    let row = &report["rows"][position];
    let number = |key: &str| {
        row[key]
            .as_u64()
            .unwrap_or_else(|| panic!("{key}: {report}"))
    };
    (
        row["group"].as_str().expect("a name").to_owned(),
        number("runs"),
        number("llm_calls"),
        number("input_tokens"),
        row["cost_usd"].as_f64().expect("a number"),
    )
}

#[tokio::test]
async fn a_server_and_its_file_report_the_same() {
    let project = TempProject::with_file("greeting.yaml", GREETING);
    let (server, url) = runs(&project, "").await;
    let lines = [
        "costs --format csv",
        "runs --by model",
        "costs --by node --format csv",
        "runs --workflow greeting",
    ];
    let report = |line: &str, place: &str| {
        run_in(project.root(), words(&format!("report {line} {place}"))).exits(0)
    };
    let remote: Vec<String> = lines
        .iter()
        .map(|line| report(line, &format!("--server {url}")).stdout)
        .collect();
    run_in(
        project.root(),
        words(&format!("report costs --by key --server {url}")),
    )
    .exits(2)
    .says(&["--store"]);
    run_in(
        project.root(),
        words("report costs --store sqlite:flowmill.db"),
    )
    .exits(4)
    .says(&["another process is using this store", "--server"]);
    drop(server);
    let store = "--store sqlite:flowmill.db";
    for (line, remote) in lines.iter().zip(&remote) {
        assert_eq!(&report(line, store).stdout, remote, "{line}");
    }
    assert_eq!(
        remote[0],
        "workflow,runs,llm_calls,input_tokens,cached_tokens,output_tokens,cost_usd,unpriced_runs\n\
         greeting,3,3,2000,0,1000,0.004,0\n\
         \"other, one\",1,1,1000,0,500,0.002,0\n"
    );

    let costs = report("costs --by workflow --format json", store).json();
    assert_eq!(row(&costs, 0), ("greeting".into(), 3, 3, 2000, 0.004));
    assert_eq!(costs["total"]["runs"], json!(4));
    assert_eq!(costs["price_tables"], json!(["ours-1"]));
    let runs = report("runs --by workflow --format json", store).json();
    assert_eq!(runs["rows"][0]["completed"], json!(2));
    assert_eq!(runs["rows"][0]["failed"], json!(1));
    assert!(runs["rows"][0]["p95_ms"].is_u64(), "{runs}");
    let keys = report("runs --by key --format json", store).json();
    assert_eq!(row(&keys, 0).0, "(no key)");
    let table = report("costs", store).stdout;
    assert!(table.starts_with("WORKFLOW"), "{table}");
    assert!(
        table
            .trim_end()
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("total")),
        "{table}"
    );
    let earlier = report(
        "costs --until 2000-01-01T00:00:00Z --since 30000d --format json",
        store,
    )
    .json();
    assert_eq!(earlier["rows"], json!([]));
    assert_eq!(
        report("runs --since 0 --format json", store).json()["total"]["runs"],
        json!(0)
    );
}

#[tokio::test]
async fn what_has_no_price_is_said() {
    let project = TempProject::with_file("greeting.yaml", GREETING);
    let model = FakeModel::answering(|_| Reply::json(json!({"result": "Hello"})));
    let mut server = start_with(&model, &project, "greeting.yaml");
    let url = server.url();
    let (status, answer) = post(format!("{url}/run"), json!({"name": "Ada"})).await;
    assert_eq!(
        (status.as_u16(), &answer["usage"]["cost_usd"]),
        (200, &Value::Null)
    );
    let costs = run_in(
        project.root(),
        words(&format!("report costs --server {url}")),
    )
    .exits(0)
    .says(&["1 of the runs called a model without a known price"]);
    assert!(costs.stdout.contains("$0.0000"), "{}", costs.stdout);
}

#[test]
fn a_report_needs_a_time_it_can_read_and_jobs_it_can_reach() {
    let project = TempProject::new();
    run_in(project.root(), words("report costs --since soon"))
        .exits(2)
        .says(&["soon", "7d"]);
    run_in(project.root(), words("report costs --store sqlite:none.db"))
        .exits(4)
        .says(&["does not exist"]);
    run_in(
        project.root(),
        words("report costs --server http://127.0.0.1:1"),
    )
    .exits(4);
}
