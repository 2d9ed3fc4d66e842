//! `flowmill jobs`, against a server and against a store file.

use serde_json::{Value, json};
use testing::{FakeModel, Reply, TempProject};

use crate::http::{post, start, start_with};
use crate::support::{Ended, Running, greeting, run_in, words};

/// `flowmill jobs LINE` at a server.
fn ask(project: &TempProject, url: &str, line: &str) -> Ended {
    run_in(
        project.root(),
        words(&format!("jobs {line} --server {url}")),
    )
}

/// `flowmill jobs LINE` in the file of a server that has ended.
fn open(project: &TempProject, line: &str) -> Ended {
    run_in(
        project.root(),
        words(&format!("jobs {line} --store sqlite:flowmill.db")),
    )
}

fn id(answer: &Value) -> String {
    answer["job_id"].as_str().expect("an id").to_owned()
}

/// A server with three jobs that completed, the oldest first.
async fn three_jobs(project: &TempProject) -> (Running, String, Vec<String>) {
    let mut server = start(project, "greeting.yaml --offline");
    let url = server.url();
    let mut ids = Vec::new();
    for name in ["Ada", "Bob", "Cy"] {
        let (_, answer) = post(format!("{url}/run"), json!({"name": name})).await;
        ids.push(id(&answer));
    }
    (server, url, ids)
}

#[tokio::test]
async fn a_server_and_its_file_show_the_same() {
    let project = greeting();
    let (server, url, ids) = three_jobs(&project).await;
    let lines = [
        "list --format json".to_owned(),
        "list --format json --limit 2".to_owned(),
        format!("list --format json --all --cursor {}", ids[1]),
        "list --format json --status failed --workflow greeting".to_owned(),
        "list --format json --created-before 2000-01-01T00:00:00Z".to_owned(),
        format!("show {} --format json", ids[0]),
        format!("show {}", ids[0]),
        format!("events {} --format json", ids[0]),
        format!("events {} --after 1", ids[0]),
    ];
    let shown: Vec<String> = lines
        .iter()
        .map(|line| ask(&project, &url, line).exits(0).stdout)
        .collect();
    drop(server);
    for (line, shown) in lines.iter().zip(&shown) {
        assert_eq!(&open(&project, line).exits(0).stdout, shown, "{line}");
    }
    let listed = |position: usize| -> Vec<String> {
        let page: Value = serde_json::from_str(&shown[position]).expect("JSON");
        page["jobs"]
            .as_array()
            .expect("a page")
            .iter()
            .map(id)
            .collect()
    };
    let newest_first: Vec<_> = ids.iter().rev().cloned().collect();
    assert_eq!(listed(0), newest_first);
    assert_eq!(listed(1), newest_first[..2]);
    assert_eq!(listed(2), newest_first[2..]);
    assert_eq!(listed(3), Vec::<String>::new());
    assert_eq!(listed(4), Vec::<String>::new());
    assert!(shown[5].contains("\"name\":\"Ada\""), "{}", shown[5]);
    assert!(
        shown[8].trim_end().ends_with("run_completed"),
        "{}",
        shown[8]
    );
}

#[tokio::test]
async fn a_table_says_how_to_see_the_rest() {
    let project = greeting();
    let (_server, url, ids) = three_jobs(&project).await;
    let ended = ask(&project, &url, "list --limit 1")
        .exits(0)
        .says(&["there are more jobs: add --cursor ", "--all"]);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with("JOB "), "{}", ended.stdout);
    assert!(lines[1].starts_with(&ids[2]), "{}", ended.stdout);
    assert_eq!(lines.len(), 2);
}

#[tokio::test]
async fn jobs_are_cancelled_retried_and_forgotten() {
    let model = FakeModel::scripted([Reply::hang()]);
    let project = greeting();
    let mut server = start_with(&model, &project, "greeting.yaml --sync-timeout 20ms");
    let url = server.url();
    let job = id(&post(format!("{url}/run"), json!({"name": "Ada"})).await.1);
    model.called(1).await;
    ask(&project, &url, &format!("delete {job}"))
        .exits(1)
        .says(&["cancel it first"]);
    let said = ask(&project, &url, &format!("cancel {job}")).exits(0);
    assert!(
        said.stdout.contains("is being cancelled"),
        "{}",
        said.stdout
    );
    // Follows it to its end.
    let events = ask(&project, &url, &format!("events {job} --follow")).exits(0);
    assert!(events.stdout.contains("run_cancelled"), "{}", events.stdout);
    let again = ask(&project, &url, &format!("retry {job} --format json")).exits(0);
    let again = id(&again.json());
    ask(&project, &url, &format!("events {again} --follow")).exits(0);
    let job_again = ask(&project, &url, &format!("show {again} --format json")).exits(0);
    assert_eq!(job_again.json()["retried_from"], json!(job));
    ask(&project, &url, &format!("cancel {again}"))
        .exits(1)
        .says(&["already completed"]);
    ask(&project, &url, &format!("delete {job}")).exits(0);
    ask(&project, &url, &format!("show {job}")).exits(1);
    drop(server);

    open(&project, &format!("retry {again}"))
        .exits(2)
        .says(&["needs a running server"]);
    open(&project, &format!("cancel {again}"))
        .exits(1)
        .says(&["already completed"]);
    open(&project, &format!("delete {again}")).exits(0);
    open(&project, &format!("show {again}"))
        .exits(1)
        .says(&["job not found"]);
}

#[tokio::test]
async fn what_cannot_be_asked_is_said_with_a_way_out() {
    let project = greeting();
    let (_server, url, _) = three_jobs(&project).await;
    ask(&project, &url, "list --status done")
        .exits(2)
        .says(&["status"]);
    ask(&project, &url, "show nonsense").exits(1);
    ask(&project, "http://127.0.0.1:1", "list")
        .exits(4)
        .says(&["cannot be reached", "flowmill serve"]);
    ask(&project, "nowhere", "list")
        .exits(2)
        .says(&["is not the address of a server"]);
    open(&project, "list")
        .exits(4)
        .says(&["another process is using this store", "--server"]);
    let check = |line: &str, code: i32, says: &[&str]| {
        run_in(project.root(), words(line)).exits(code).says(says);
    };
    check(
        "jobs list --store sqlite:absent.db",
        4,
        &["`absent.db` does not exist"],
    );
    check("jobs list --store memory", 2, &["--server"]);
    check(
        "jobs list --store sqlite:flowmill.db --server http://x",
        2,
        &["give one"],
    );
    assert!(!project.path("absent.db").exists());
}
