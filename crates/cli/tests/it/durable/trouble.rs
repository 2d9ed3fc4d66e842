//! A store that cannot be written: a full disk, a file that another program has locked. It is said,
//! nothing new is accepted, what was accepted goes on once it can.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::header::{ETAG, IF_NONE_MATCH};
use serde_json::{Value, json};
use testing::{Gate, Reply};

use super::fixture::{Rig, Server};
use crate::http::get;
use crate::support::words;

/// Runs that were accepted before.
const ACCEPTED: u64 = 10;

fn held() -> (Rig, Gate) {
    let gate = Gate::shut();
    let held = gate.clone();
    let rig = Rig::answering(move |_| Reply::json(json!({"result": "ok"})).behind(&held));
    (rig, gate)
}

/// Waits until requests should be sent there again.
async fn is_ready_again(server: &Server) {
    let ready = async {
        while server.readiness().await.0 != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, ready)
        .await
        .expect("it is ready in the end");
}

fn is_refused((status, problem): (u16, Value), code: &str) {
    assert_eq!(status, 503, "{problem}");
    assert_eq!(problem["code"], json!(code), "{problem}");
    assert_eq!(problem["retryable"], json!(true), "{problem}");
}

/// Refused for want of the store, for the reason.
async fn is_not_ready(server: &Server, reason: &str) {
    let (status, problem) = server.readiness().await;
    is_refused((status, problem.clone()), "store_unavailable");
    let detail = problem["detail"].as_str().expect("a sentence");
    assert!(detail.contains(reason), "{detail}");
    assert_eq!(get(format!("{}/health/live", server.url)).await.0, 200);
}

/// Accepted runs have their ends, each of whose calls was made once.
async fn everything_ends(rig: &Rig, server: &Server, ids: &[String]) {
    server.all_complete(ids).await;
    rig.nothing_was_paid_for_twice(0..ACCEPTED);
    for (prompt, calls) in rig.asked() {
        let (_, n) = prompt.rsplit_once(' ').expect("it ends with the run");
        let n: u64 = n.parse().expect("a number");
        assert!(calls == 1 || n >= ACCEPTED, "`{prompt}` {calls} times");
    }
}

/// How to start a program that sees a disk of its own in `disk` of so many megabytes, if this
/// machine lets us.
fn with_a_small_disk(folder: &Path, megabytes: u32) -> Option<Command> {
    let mount = format!("mount -t tmpfs -o size={megabytes}m tmpfs disk && exec \"$@\"");
    std::fs::create_dir(folder.join("disk")).expect("a folder");
    let command = |namespaces: &str, program: &str| {
        let mut command = Command::new("unshare");
        command
            .args(words(namespaces))
            .args(["sh", "-c", &mount, "sh", program])
            .current_dir(folder)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        command
    };
    let works = |namespaces: &&'static str| {
        let tried = command(namespaces, "true").output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    match ["--user --map-root-user --mount", "--mount"]
        .into_iter()
        .find(works)
    {
        Some(namespaces) => Some(command(namespaces, env!("CARGO_BIN_EXE_flowmill"))),
        None => testing::rigs::cannot(
            "a server on a full disk",
            "a small disk takes a mount namespace, which this user may not make here",
        ),
    }
}

/// The server's own view of its disk.
fn disk_of(server: &Server, rig: &Rig) -> PathBuf {
    let root = rig.project.root().strip_prefix("/");
    PathBuf::from(format!("/proc/{}/root", server.process.id()))
        .join(root.expect("an absolute path"))
        .join("disk")
}

/// Takes all the space that is left on a disk.
fn fill(filler: &Path) {
    let mut file = File::create(filler).expect("it can be created");
    let page = [b'x'; 4096];
    while file.write_all(&page).is_ok() {}
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_accepted_is_lost() {
    let (rig, gate) = held();
    let Some(mut command) = with_a_small_disk(rig.project.root(), 2) else {
        return;
    };
    command.args(words(
        "serve story.yaml --port 0 --store sqlite:disk/jobs.db",
    ));
    let mut server = rig.started(&mut command);
    let disk = disk_of(&server, &rig);
    let mut ids = server.submit_all(0..ACCEPTED).await;
    rig.model.called(10).await;
    fill(&disk.join("filler"));

    // What fits into places that are free already may still be accepted.
    let mut accepted = ACCEPTED;
    let refused = loop {
        match server
            .post_job(accepted, json!({}))
            .await
            .expect("an answer")
        {
            (202, handle) => ids.push(handle["job_id"].as_str().expect("an id").to_owned()),
            refused => break refused,
        }
        accepted += 1;
        assert!(accepted < 100, "the disk is not full");
    };
    is_refused(refused, "store_unavailable");
    server.process.line_with("there is no space left");
    is_not_ready(&server, "there is no space left").await;
    // The answers that were paid for come, and cannot be stored.
    gate.open();
    server.process.line_with("cannot store a run; retrying");
    is_not_ready(&server, "there is no space left").await;
    assert_eq!(server.job(&ids[0]).await["status"], json!("running"));

    std::fs::remove_file(disk.join("filler")).expect("it can be removed");
    is_ready_again(&server).await;
    everything_ends(&rig, &server, &ids).await;
    let late = server.submit(accepted).await;
    server.all_complete(&[late]).await;
    assert_eq!(server.count_jobs().await, ids.len() + 1);
    // A copy of it: the disk goes with its server.
    server.process.signal("STOP");
    for suffix in ["", "-wal"] {
        let copy = rig.project.path(format!("copy.db{suffix}"));
        std::fs::copy(disk.join(format!("jobs.db{suffix}")), copy).expect("a copy");
    }
    Rig::is_sound_at(&rig.project.path("copy.db"));
}

#[tokio::test]
async fn a_locked_file_is_said_and_still_read() {
    let (rig, gate) = held();
    let mut server = rig.serve("");
    let ids = server.submit_all(0..ACCEPTED).await;
    rig.model.called(10).await;
    let status = format!("{}/status/{}", server.url, ids[0]);
    let first = server.client.get(&status).send().await.expect("an answer");
    let tag = first.headers()[ETAG].clone();

    let other = rig.connection();
    other
        .busy_timeout(crate::support::PATIENCE)
        .expect("a time to wait");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    // Polls and pages do not wait for the writer, who cannot get on.
    for _ in 0..50 {
        let poll = server.client.get(&status).header(IF_NONE_MATCH, &tag);
        assert_eq!(poll.send().await.expect("an answer").status(), 304);
    }
    assert_eq!(server.count_jobs().await, ids.len());
    let refused = server.post_job(ACCEPTED, json!({})).await;
    is_refused(refused.expect("an answer"), "store_unavailable");
    is_not_ready(&server, "another program has locked its file").await;
    gate.open();
    server.process.line_with("cannot store a run; retrying");

    other.execute_batch("COMMIT").expect("the lock is released");
    is_ready_again(&server).await;
    everything_ends(&rig, &server, &ids).await;
    let late = server.submit(ACCEPTED).await;
    server.all_complete(&[late]).await;
    assert_eq!(server.count_jobs().await, ids.len() + 1);
    server.kill();
    rig.is_sound();
}

#[tokio::test]
async fn a_disk_that_the_store_filled_itself_has_a_way_back() {
    let rig = Rig::new();
    let Some(mut command) = with_a_small_disk(rig.project.root(), 16) else {
        return;
    };
    command.args(words(
        "serve story.yaml --port 0 --store sqlite:disk/jobs.db",
    ));
    let server = rig.started(&mut command);
    let reserve = disk_of(&server, &rig).join("jobs.db.reserve");
    assert!(reserve.exists());
    let run = async |n: usize, bytes: usize| {
        let request = server
            .client
            .post(format!("{}/run", server.url))
            .header("prefer", "wait=5")
            .json(&json!({"n": n, "items": ["x".repeat(bytes)]}));
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json::<Value>().await.expect("JSON"))
    };
    let mut ended = Vec::new();
    // To the last page.
    for bytes in [300_000, 30_000, 3_000, 3] {
        let refused = loop {
            match run(ended.len(), bytes).await {
                (200, result) => {
                    ended.push(result["job_id"].as_str().expect("an id").to_owned());
                }
                // Accepted, but its end has no space.
                (202, _) => {}
                refused => break refused,
            }
            assert!(ended.len() < 500, "the disk is not full");
        };
        is_refused(refused, "store_unavailable");
    }
    is_not_ready(&server, "there is no space left").await;
    for id in &ended {
        let delete = server.client.delete(format!("{}/jobs/{id}", server.url));
        let deleted = delete.send().await.expect("an answer");
        assert_eq!(deleted.status(), 204, "{id}");
    }
    is_ready_again(&server).await;
    assert_eq!(run(1_000, 300_000).await.0, 200);
    assert!(reserve.exists(), "there is space for the next time");
}

#[tokio::test]
async fn a_store_that_is_removed_under_a_server_loses_nothing() {
    let rig = Rig::new();
    let server = rig.serve("");
    let mut ids = server.submit_all(0..ACCEPTED).await;
    server.all_complete(&ids).await;
    std::fs::remove_file(rig.file()).expect("it is there");
    let again = ACCEPTED..2 * ACCEPTED;
    ids.extend(server.submit_all(again).await);
    server.all_complete(&ids).await;
    is_ready_again(&server).await;
    server.kill();
    rig.is_sound();
    let server = rig.serve("");
    assert_eq!(server.count_jobs().await, ids.len());
    server.all_complete(&ids).await;
}

#[tokio::test]
async fn a_server_whose_data_directory_is_removed_says_so_and_accepts_nothing() {
    let rig = Rig::new();
    let server = rig.serve("--data-dir data");
    let ids = server.submit_all(0..ACCEPTED).await;
    server.all_complete(&ids).await;
    std::fs::remove_dir_all(rig.project.path("data")).expect("it is there");
    let refused = server.post_job(ACCEPTED, json!({})).await;
    is_refused(refused.expect("an answer"), "store_unavailable");
    is_not_ready(&server, "its file was removed").await;
    let asked = rig.model.calls();
    for n in 0..9 {
        let refused = server.post_job(ACCEPTED + n, json!({})).await;
        is_refused(refused.expect("an answer"), "store_unavailable");
    }
    assert_eq!(rig.model.calls(), asked, "nothing is paid for in vain");
    std::fs::create_dir(rig.project.path("data")).expect("it is gone");
    is_ready_again(&server).await;
    assert_eq!(server.count_jobs().await, ids.len());
}

#[test]
fn a_store_that_cannot_be_worked_with_is_refused_at_the_start() {
    let project = crate::support::greeting();
    let file = project.path("flowmill.db");
    let start = |options: &str, user: Option<u32>| {
        let mut command = crate::support::flowmill(
            project.root(),
            words("serve greeting.yaml --port 0 --offline"),
        );
        command.args(words(options));
        if let Some(user) = user {
            command.uid(user);
        }
        crate::support::Ended::of(&mut command)
    };
    std::fs::create_dir(&file).expect("a folder");
    start("", None).exits(4).says(&["flowmill.db"]);
    std::fs::remove_dir(&file).expect("a folder");

    let store = jobs::sqlite::SqliteStore::open(&file, &jobs::sqlite::Options::default());
    drop(store.expect("a store"));
    let all = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(project.root(), all(0o777)).expect("it is ours");
    std::fs::set_permissions(&file, all(0o444)).expect("it is ours");
    // Root may write everything.
    let is_root = std::fs::metadata("/proc/self").expect("Linux").uid() == 0;
    std::fs::remove_file(project.path("flowmill.db.lock")).expect("it is there");
    start("", is_root.then_some(65_534)).exits(4).says(&[
        "cannot be written",
        "belongs to user",
        "change the file's owner",
    ]);

    std::fs::set_permissions(&file, all(0o644)).expect("it is ours");
    let bytes = std::fs::metadata(&file).expect("it is there").len();
    let raw = File::options().write(true).open(&file).expect("it is ours");
    raw.set_len(bytes / 2).expect("it can be cut off");
    let _ = std::fs::remove_file(project.path("flowmill.db.lock"));
    start("", None)
        .exits(4)
        .says(&["the store is damaged", "restore a copy"]);
}
