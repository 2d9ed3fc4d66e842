//! Tokens and dollars a day: all replicas together spend the limit to the last call, and never more.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use jobs::allotment::{Amounts, DailyLimits, Wish};
use jobs::job::Status;
use jobs::signals::{InProcess, Signals};
use jobs::spend::{BatchNumber, Day, SpendStore, Spent};
use jobs::store::{JobStore, Replica, ReplicaId};
use service::limits::{Limit, Limits};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Replicas, limit_of, owned};
use crate::fixture::{Answer, FakeModels, HOUR, problem_code};

/// Each model call takes half a dollar, and a run makes two.
fn dollars(a_day: f64) -> Limits {
    Limits {
        cost_per_day_usd: Some(a_day),
        ..Limits::default()
    }
}

/// The day of the tests begins eight hours before them.
const EVENING: Duration = Duration::from_secs(16 * 60 * 60);

/// So many runs at each replica at once; returns how many completed.
async fn run_at_all(replicas: &Replicas, runs: usize) -> usize {
    let mut running = JoinSet::new();
    for replica in &replicas.all {
        for _ in 0..runs {
            let (service, workflow) = (
                replica.fixture.service.clone(),
                replica.fixture.workflow.clone(),
            );
            running.spawn(async move {
                let Ok(accepted) = service.submit(&workflow, owned()).await else {
                    return false;
                };
                let job = service.wait_for(accepted.id, HOUR).await;
                job.unwrap().unwrap().status == Status::Completed
            });
        }
    }
    let completed = running.join_all().await;
    completed.into_iter().filter(|completed| *completed).count()
}

/// What the store has, of today.
async fn sum(replicas: &Replicas) -> Spent {
    // Everything is stored within a second.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let sums = replicas.store.spent(Some("shop"), Day(0)).await.unwrap();
    sums.last().map(|sum| sum.spent).unwrap_or_default()
}

/// (Reports: counters that each process keeps for itself, or adds up now and then, let through
/// several times the limit.)
#[tokio::test(start_paused = true)]
async fn four_replicas_spend_a_limit_to_the_last_call_and_no_more() {
    let models = FakeModels::new(|_, nth| {
        Answer::After(Duration::from_millis(5 + (nth as u64 * 7) % 90), "done")
    });
    let replicas = Replicas::new(&[0; 4], dollars(50.0), &models).await;
    let completed = run_at_all(&replicas, 64).await;
    assert_eq!(models.all_calls(), 100);
    assert!(completed <= 50, "{completed}");
    let sum = sum(&replicas).await;
    assert_eq!((sum.model_calls, sum.cost_nano_usd), (100, 50_000_000_000));
    for at in 0..4 {
        let usage = replicas.usage(at).await;
        assert_eq!(usage.left.cost_usd, Some(0.0));
        assert_eq!(limit_of(replicas.submit(at).await), Limit::Cost);
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_lost_let_nobody_spend_twice_or_less() {
    let models = FakeModels::new(|_, nth| {
        Answer::After(Duration::from_millis(5 + (nth as u64 * 7) % 90), "done")
    });
    let replicas = Replicas::new(&[0; 4], dollars(30.0), &models).await;
    replicas.store.lose_one_of(4);
    while models.all_calls() < 60 {
        run_at_all(&replicas, 16).await;
    }
    run_at_all(&replicas, 16).await;
    assert_eq!(models.all_calls(), 60);
    replicas.store.lose_one_of(0);
    let sum = sum(&replicas).await;
    assert_eq!((sum.model_calls, sum.cost_nano_usd), (60, 30_000_000_000));
}

/// A call may take thousands of tokens, and takes fifteen: what it does not take is for others.
#[tokio::test(start_paused = true)]
async fn what_calls_do_not_take_of_what_was_set_aside_is_for_others() {
    let models = FakeModels::new(|_, _| Answer::After(Duration::from_millis(30), "done"));
    let limits = Limits {
        tokens_per_day: NonZeroU64::new(6_000),
        ..Limits::default()
    };
    let replicas = Replicas::new(&[0; 4], limits, &models).await;
    // Only one call fits at a time.
    assert_eq!(run_at_all(&replicas, 8).await, 32);
    assert_eq!(sum(&replicas).await.tokens(), 64 * 15);
    run_at_all(&replicas, 64).await;
    let most = sum(&replicas).await.tokens();
    assert!(most <= 6_000, "{most}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_where_a_key_was_idle_knows_what_it_has_spent_elsewhere() {
    let models = FakeModels::new(|_, _| Answer::Text("done"));
    let replicas = Replicas::new(&[0; 2], dollars(1.0), &models).await;
    let accepted = replicas.submit(0).await.unwrap();
    assert_eq!(replicas.ended(&accepted).await.status, Status::Completed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(limit_of(replicas.submit(1).await), Limit::Cost);
    assert_eq!(replicas.usage(1).await.left.cost_usd, Some(0.0));
}

/// What a replica does not use any more is there for the others within seconds.
#[tokio::test(start_paused = true)]
async fn what_one_replica_has_set_aside_and_does_not_use_goes_to_another() {
    let models = FakeModels::new(|_, _| Answer::Text("done"));
    let replicas = Replicas::new(&[0; 2], dollars(8.0), &models).await;
    for _ in 0..4 {
        let accepted = replicas.submit(0).await.unwrap();
        replicas.ended(&accepted).await;
    }
    let begun = Instant::now();
    for _ in 0..4 {
        let accepted = replicas.submit(1).await.unwrap();
        let job = replicas.ended(&accepted).await;
        assert_eq!(job.status, Status::Completed);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{begun:?}");
    assert_eq!(models.all_calls(), 16);
}

/// The same with signals: whoever needs it asks for it.
#[tokio::test(start_paused = true)]
async fn what_another_replica_does_not_use_is_given_back_at_once_when_it_is_asked_for() {
    let models = FakeModels::new(|_, _| Answer::Text("done"));
    let all = InProcess::default();
    let signals = || -> Arc<dyn Signals> { Arc::new(all.join()) };
    let replicas = Replicas::signalling(&[0; 2], dollars(2.0), &models, signals).await;
    let accepted = replicas.submit(0).await.unwrap();
    replicas.ended(&accepted).await;
    let begun = Instant::now();
    let accepted = replicas.submit(1).await.unwrap();
    let job = replicas.ended(&accepted).await;
    assert_eq!(job.status, Status::Completed);
    let waited = begun.elapsed();
    assert!(waited < Duration::from_millis(500), "{waited:?}");
    assert_eq!(models.all_calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_replica_has_set_aside_is_free_with_its_lease() {
    let models = FakeModels::new(|_, _| Answer::Text("done"));
    let replicas = Replicas::new(&[0], dollars(1.0), &models).await;
    let dying = Replica {
        id: ReplicaId(uuid::Uuid::from_u128(77)),
        name: "dying".into(),
        version: "1".into(),
        level: 1,
        lease_for: Duration::from_secs(20),
    };
    let now = replicas.all[0].fixture.service.host().now();
    replicas.store.register(&dying, now).await.unwrap();
    let all = Amounts {
        tokens: 0,
        nano_usd: 1_000_000_000,
    };
    let wish = Wish {
        key: "shop".into(),
        limits: DailyLimits {
            tokens: None,
            nano_usd: Some(all.nano_usd),
        },
        keep: Amounts::default(),
        least: all,
        all,
        spare: Amounts::default(),
        requests: None,
    };
    let batch = BatchNumber {
        writer: dying.id,
        number: 1,
    };
    let allotted = replicas
        .store
        .allot(batch, dying.id, Vec::new(), vec![wish], now);
    assert_eq!(allotted.await.unwrap().allotments[0].1.held, all);
    let begun = Instant::now();
    let accepted = replicas.submit(0).await.unwrap();
    assert_eq!(replicas.ended(&accepted).await.status, Status::Completed);
    let waited = begun.elapsed();
    assert!(
        (Duration::from_secs(18)..Duration::from_secs(23)).contains(&waited),
        "{waited:?}"
    );
}

/// Clocks that are ten minutes wrong: the day of a limit is that of the store.
#[tokio::test(start_paused = true)]
async fn a_day_ends_when_the_store_says_so_whatever_the_clocks_of_replicas_say() {
    let models = FakeModels::new(|_, _| Answer::Text("done"));
    let replicas = Replicas::new(&[-600, 0, 600], dollars(1.0), &models).await;
    tokio::time::advance(EVENING.saturating_sub(Duration::from_secs(300))).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let accepted = replicas.submit(2).await.unwrap();
    replicas.ended(&accepted).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for at in 0..3 {
        assert_eq!(limit_of(replicas.submit(at).await), Limit::Cost, "at {at}");
        let today = replicas.usage(at).await.today;
        assert_eq!((&*today.day, today.runs), ("2027-01-15", 1));
    }
    tokio::time::sleep(Duration::from_secs(300)).await;
    let accepted = replicas.submit(0).await.unwrap();
    let job = replicas.ended(&accepted).await;
    assert_eq!(job.status, Status::Completed, "{:?}", job.error);
    tokio::time::sleep(Duration::from_secs(2)).await;
    for at in 0..3 {
        assert_eq!(limit_of(replicas.submit(at).await), Limit::Cost, "at {at}");
        let today = replicas.usage(at).await.today;
        assert_eq!((&*today.day, today.runs), ("2027-01-16", 1));
    }
    assert_eq!(models.all_calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_fit_any_more_fails_its_run() {
    let models = FakeModels::new(|_, _| Answer::Text("done"));
    let replicas = Replicas::new(&[0; 2], dollars(1.5), &models).await;
    let accepted = replicas.submit(0).await.unwrap();
    assert_eq!(replicas.ended(&accepted).await.status, Status::Completed);
    let accepted = replicas.submit(1).await.unwrap();
    let job = replicas.ended(&accepted).await;
    assert_eq!(problem_code(&job), "quota_exhausted");
    let error = job.error.as_deref().unwrap();
    assert!(error.contains("has used 1.5 of 1.5 US dollars"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_idle_cost_the_store_nothing() {
    let models = FakeModels::new(|_, _| Answer::Text("done"));
    let replicas = Replicas::new(&[0; 3], dollars(10.0), &models).await;
    run_at_all(&replicas, 2).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = replicas.store.spend_calls();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(replicas.store.spend_calls() - before, 0);
}
