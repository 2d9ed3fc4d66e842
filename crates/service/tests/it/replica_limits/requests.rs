//! Requests a minute: one bucket for all replicas.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use service::access::Access;
use service::limits::{Exceeded, Limits, Window};
use tokio::time::Instant;

use super::{Replicas, secret};
use crate::fixture::{Answer, FakeModels};

fn a_minute(requests: u32) -> Limits {
    Limits {
        requests_per_minute: NonZeroU32::new(requests),
        ..Limits::default()
    }
}

/// As the server counts a request.
async fn request(access: &Arc<Access>) -> Result<Option<Window>, Exceeded> {
    let identity = access.identify(&secret()).expect("the key is valid");
    match identity.account().request() {
        Some(counted) => counted,
        None => identity.account().request_of_store().await,
    }
}

async fn replicas(number: usize, limits: Limits) -> Replicas {
    let models = FakeModels::new(|_, _| Answer::Text("done"));
    Replicas::new(&vec![0; number], limits, &models).await
}

/// So many requests at each replica at once; returns how many were let in.
async fn request_at_all(replicas: &Replicas, requests: usize) -> usize {
    let asking = replicas.all.iter().flat_map(|replica| {
        let access = &replica.access;
        (0..requests).map(move |_| request(access))
    });
    let answers = futures_util::future::join_all(asking).await;
    answers.into_iter().flatten().count()
}

#[tokio::test(start_paused = true)]
async fn replicas_let_in_as_many_requests_together_as_one_alone() {
    let replicas = replicas(3, a_minute(60)).await;
    assert_eq!(request_at_all(&replicas, 40).await, 60);
    let refused = request(&replicas.all[0].access).await.unwrap_err();
    assert!(refused.retry_after <= Duration::from_secs(1), "{refused:?}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let let_in = request_at_all(&replicas, 40).await;
    assert!((9..=10).contains(&let_in), "{let_in}");
}

#[tokio::test(start_paused = true)]
async fn in_a_quarter_of_an_hour_no_more_are_let_in_than_the_limit_says() {
    for limit in [1, 7, 600] {
        let replicas = replicas(3, a_minute(limit)).await;
        let begun = Instant::now();
        let mut let_in = 0;
        for round in 0..900_u32 {
            let at = (round / 7 % 3) as usize;
            for _ in 0..limit.div_ceil(30) {
                let_in += u32::from(request(&replicas.all[at].access).await.is_ok());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // As many at once, and those of the time since.
        let most = f64::from(limit) * (1.0 + begun.elapsed().as_secs_f64() / 60.0);
        let let_in = f64::from(let_in);
        assert!(let_in <= most, "{let_in} of {most}");
        assert!(let_in >= most * 0.9 - 1.0, "{let_in} of {most}");
    }
}

/// Most requests are let in without asking the store.
#[tokio::test(start_paused = true)]
async fn a_busy_key_asks_the_store_now_and_then() {
    let replicas = replicas(1, a_minute(60_000)).await;
    let before = replicas.store.spend_calls();
    for _ in 0..20 {
        for _ in 0..100 {
            assert!(request(&replicas.all[0].access).await.is_ok());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let calls = replicas.store.spend_calls() - before;
    assert!(calls <= 200, "{calls} for 2,000 requests");
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_refused_do_not_ask_the_store_each_time() {
    let replicas = replicas(2, a_minute(10)).await;
    request_at_all(&replicas, 10).await;
    let before = replicas.store.spend_calls();
    for _ in 0..1_000 {
        let _ = request(&replicas.all[0].access).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let calls = replicas.store.spend_calls() - before;
    assert!(calls <= 10, "{calls} for 1,000 requests");
}

#[tokio::test(start_paused = true)]
async fn while_the_store_does_not_answer_requests_are_not_kept_out() {
    let replicas = replicas(1, a_minute(60)).await;
    replicas.store.lose_one_of(1);
    for _ in 0..3 {
        assert!(request(&replicas.all[0].access).await.is_ok());
    }
}
