//! Pages of the listing while jobs come and go.

use std::collections::BTreeSet;

use futures_util::future::join;
use serde_json::{Value, json};

use super::fixture::{Rig, Server};

async fn page(server: &Server, query: &str) -> (Vec<String>, Option<String>) {
    let url = format!("{}/jobs?{query}", server.url);
    let page = server.client.get(url).send().await.expect("an answer");
    assert_eq!(page.status(), 200);
    let page: Value = page.json().await.expect("JSON");
    let rows = page["jobs"].as_array().expect("rows").iter();
    let ids = rows.map(|row| row["job_id"].as_str().expect("an id").to_owned());
    (
        ids.collect(),
        page["next_cursor"].as_str().map(str::to_owned),
    )
}

/// All pages; `between` is done after each of them.
async fn walk(
    server: &Server,
    query: &str,
    mut between: impl AsyncFnMut(&[String]),
) -> Vec<String> {
    let (mut all, mut next) = (Vec::new(), query.to_owned());
    loop {
        let (ids, cursor) = page(server, &next).await;
        all.extend(ids);
        between(&all).await;
        match cursor {
            Some(cursor) => next = format!("{query}&cursor={cursor}"),
            None => return all,
        }
    }
}

async fn delete(server: &Server, id: &str) {
    let url = format!("{}/jobs/{id}", server.url);
    let response = server.client.delete(url).send().await.expect("an answer");
    assert_eq!(response.status(), 204);
}

/// Newest first, none twice, and all that were there all the time.
#[track_caller]
fn check(seen: &[String], there: &BTreeSet<String>, context: &str) {
    assert!(
        seen.is_sorted_by(|newer, older| newer > older),
        "{context}: {seen:#?}"
    );
    let seen: BTreeSet<String> = seen.iter().cloned().collect();
    let skipped: Vec<_> = there.difference(&seen).collect();
    assert!(skipped.is_empty(), "{context}: skipped {skipped:?}");
}

#[tokio::test]
async fn pages_neither_skip_nor_repeat_while_jobs_are_added_and_deleted() {
    let rig = Rig::new();
    let server = rig.serve("");
    let mut n = 60;
    let ids = server.submit_all(0..n).await;
    server.all_complete(&ids).await;
    let mut there: BTreeSet<String> = ids.into_iter().collect();
    for seed in 0..6 {
        let mut random = fastrand::Rng::with_seed(seed);
        let query = format!(
            "limit={}{}",
            random.usize(1..=9),
            ["", "&status=completed", "&workflow=story"][random.usize(..3)],
        );
        let mut added = Vec::new();
        let seen = walk(&server, &query, async |seen| {
            for _ in 0..random.usize(..3) {
                added.push(server.submit(n).await);
                n += 1;
            }
            // Anything that is there, or what the cursor stands on.
            for gone in [random.choice(&there).cloned(), seen.last().cloned()] {
                if let Some(gone) = gone.filter(|_| random.bool())
                    && there.remove(&gone)
                {
                    delete(&server, &gone).await;
                }
            }
        })
        .await;
        check(&seen, &there, &format!("seed {seed}, {query}"));
        server.all_complete(&added).await;
        there.extend(added);
        let now = walk(&server, "limit=200", async |_| {}).await;
        assert_eq!(now.into_iter().collect::<BTreeSet<_>>(), there);
    }
}

#[tokio::test]
async fn pages_hold_beside_requests_that_add_and_delete_at_the_same_time() {
    let rig = Rig::new();
    let server = rig.serve("");
    let ids = server.submit_all(0..80).await;
    server.all_complete(&ids).await;
    let (gone, there) = ids.split_at(40);
    let there: BTreeSet<String> = there.iter().cloned().collect();
    // Old and new, mixed: those that go lie between those that stay.
    let changing = async {
        for (n, id) in (80..).zip(gone) {
            delete(&server, id).await;
            server.submit(n).await;
        }
    };
    let walking = async {
        for round in 0..6 {
            let seen = walk(&server, &format!("limit={}", 3 + round), async |_| {}).await;
            check(&seen, &there, &format!("round {round}"));
        }
    };
    join(changing, walking).await;
    assert_eq!(server.count_jobs().await, 80);
    assert_eq!(server.readiness().await, (200, json!({"status": "ready"})));
}
