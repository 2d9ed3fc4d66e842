//! Webhooks: owed from the end of their job on, given out to be tried, settled once.

use std::sync::Arc;
use std::time::Duration;

use jobs::job::{End, JobId, NewJob};
use jobs::store::{CancelRequested, Error};
use jobs::webhook::{ClaimedDelivery, Delivery, DeliveryCapacity, DeliveryState, Settlement};

use super::Store;
use crate::fixtures::{
    LEASE, at, completed, ending, hooked, id, new_job, run, start, stranger, submit, webhook,
};

fn capacity(total: usize) -> DeliveryCapacity {
    DeliveryCapacity {
        total,
        per_host: 100,
        ..DeliveryCapacity::default()
    }
}

async fn claim(store: &Store, total: usize, second: i64) -> Vec<ClaimedDelivery> {
    store
        .claim_deliveries(&capacity(total), LEASE, at(second))
        .await
        .unwrap()
}

fn jobs(claimed: &[ClaimedDelivery]) -> Vec<JobId> {
    claimed.iter().map(|claimed| claimed.lease.job).collect()
}

async fn shown(store: &Store, number: u128) -> Delivery {
    let job = store.get(id(number)).await.unwrap().unwrap();
    job.webhook.expect("it has a webhook")
}

fn again(seconds: u64) -> Settlement {
    Settlement::TryAgain {
        after: Duration::from_secs(seconds),
        error: "it was busy".into(),
    }
}

pub(crate) async fn a_webhook_is_due_from_the_end_of_its_job(store: Store) {
    let lease = start(&*store, hooked(1, "a")).await.lease;
    submit(&*store, hooked(2, "a")).await;
    run(&*store, new_job(3), 4).await;
    assert!(claim(&store, 9, 1_000).await.is_empty());
    let waiting = Delivery {
        url: "https://a/".into(),
        state: DeliveryState::Waiting,
        attempts: 0,
        last_error: None,
        next_attempt_at: None,
    };
    assert_eq!(shown(&store, 1).await, waiting);

    let job = store
        .finish(&lease, ending(End::Failed, 10), Vec::new())
        .await
        .unwrap();
    let pending = Delivery {
        state: DeliveryState::Pending,
        next_attempt_at: Some(at(10)),
        ..waiting
    };
    assert_eq!(job.webhook, Some(pending.clone()));
    assert_eq!(shown(&store, 1).await, pending);
    assert!(claim(&store, 9, 9).await.is_empty());
    let claimed = claim(&store, 9, 10).await;
    assert_eq!(jobs(&claimed), [id(1)]);
    assert_eq!((claimed[0].attempt, claimed[0].ended_at), (1, at(10)));
    assert_eq!(claimed[0].webhook, webhook("a"));
    let tried = Delivery {
        attempts: 1,
        next_attempt_at: None,
        ..pending
    };
    assert_eq!(shown(&store, 1).await, tried);
    assert_eq!(store.get(id(3)).await.unwrap().unwrap().webhook, None);
}

pub(crate) async fn a_job_cancelled_before_it_began_owes_its_webhook(store: Store) {
    submit(&*store, hooked(1, "a")).await;
    let cancelled = store.request_cancel(id(1), at(7)).await.unwrap();
    assert_eq!(cancelled, CancelRequested::Cancelled);
    let claimed = claim(&store, 9, 7).await;
    assert_eq!((jobs(&claimed), claimed[0].ended_at), (vec![id(1)], at(7)));
}

pub(crate) async fn a_running_job_that_is_to_stop_owes_nothing_yet(store: Store) {
    start(&*store, hooked(1, "a")).await;
    store.request_cancel(id(1), at(7)).await.unwrap();
    assert!(claim(&store, 9, 100).await.is_empty());
}

pub(crate) async fn a_delivery_is_given_out_once_until_its_lease_lapses(store: Store) {
    run(&*store, hooked(1, "a"), 10).await;
    let first = claim(&store, 9, 10).await.remove(0).lease;
    assert!(claim(&store, 9, 39).await.is_empty());
    let second = claim(&store, 9, 40).await.remove(0);
    assert_eq!(second.attempt, 2);
    assert!(second.lease.token > first.token);
    let late = store
        .settle_delivery(&first, Settlement::Delivered, at(0))
        .await;
    assert!(matches!(late, Err(Error::LeaseLost(job)) if job == id(1)));
    store
        .settle_delivery(&second.lease, Settlement::Delivered, at(41))
        .await
        .unwrap();
    let twice = store
        .settle_delivery(&second.lease, Settlement::Delivered, at(41))
        .await;
    assert!(matches!(twice, Err(Error::LeaseLost(_))), "{twice:?}");
    assert!(claim(&store, 9, 100_000).await.is_empty());
}

pub(crate) async fn a_failed_try_is_repeated_when_its_time_has_come(store: Store) {
    run(&*store, hooked(1, "a"), 10).await;
    let lease = claim(&store, 9, 10).await.remove(0).lease;
    store
        .settle_delivery(&lease, again(49), at(11))
        .await
        .unwrap();
    let expected = Delivery {
        url: "https://a/".into(),
        state: DeliveryState::Pending,
        attempts: 1,
        last_error: Some("it was busy".into()),
        next_attempt_at: Some(at(60)),
    };
    assert_eq!(shown(&store, 1).await, expected);
    assert!(claim(&store, 9, 59).await.is_empty());
    assert_eq!(claim(&store, 9, 60).await[0].attempt, 2);
}

pub(crate) async fn a_settled_delivery_is_never_due_again(store: Store) {
    let error: Arc<str> = "no".into();
    let settlements = [
        (1, Settlement::Delivered, DeliveryState::Delivered),
        (
            2,
            Settlement::Gone {
                error: error.clone(),
            },
            DeliveryState::Gone,
        ),
        (
            3,
            Settlement::GivenUp {
                error: error.clone(),
            },
            DeliveryState::GivenUp,
        ),
    ];
    for (number, settlement, state) in settlements {
        run(&*store, hooked(number, "a"), 10).await;
        let lease = claim(&store, 9, 10).await.remove(0).lease;
        store
            .settle_delivery(&lease, again(1), at(10))
            .await
            .unwrap();
        let lease = claim(&store, 9, 11).await.remove(0).lease;
        let failed = settlement != Settlement::Delivered;
        store
            .settle_delivery(&lease, settlement, at(12))
            .await
            .unwrap();
        let expected = Delivery {
            url: "https://a/".into(),
            state,
            attempts: 2,
            last_error: failed.then(|| error.clone()),
            next_attempt_at: None,
        };
        assert_eq!(shown(&store, number.into()).await, expected);
    }
    assert!(claim(&store, 9, 1_000_000).await.is_empty());
}

pub(crate) async fn a_try_that_was_handed_back_does_not_count(store: Store) {
    run(&*store, hooked(1, "a"), 10).await;
    let lease = claim(&store, 9, 10).await.remove(0).lease;
    store
        .settle_delivery(&lease, again(10), at(10))
        .await
        .unwrap();
    let lease = claim(&store, 9, 20).await.remove(0).lease;
    let back = Settlement::HandedBack;
    store.settle_delivery(&lease, back, at(21)).await.unwrap();
    let delivery = shown(&store, 1).await;
    assert_eq!(delivery.attempts, 1);
    assert_eq!(delivery.last_error.as_deref(), Some("it was busy"));
    assert_eq!(claim(&store, 9, 21).await[0].attempt, 2);
}

pub(crate) async fn released_deliveries_can_be_claimed_at_once(store: Store) {
    run(&*store, hooked(1, "a"), 10).await;
    run(&*store, hooked(2, "a"), 11).await;
    let first = claim(&store, 1, 12).await.remove(0).lease;
    store.release_leases().await.unwrap();
    if store.is_shared() {
        // The holder may be another process.
        assert_eq!(jobs(&claim(&store, 9, 12).await), [id(2)]);
        return;
    }
    let lost = store
        .settle_delivery(&first, Settlement::Delivered, at(0))
        .await;
    assert!(matches!(lost, Err(Error::LeaseLost(_))), "{lost:?}");
    assert_eq!(shown(&store, 1).await.next_attempt_at, Some(at(10)));
    assert_eq!(jobs(&claim(&store, 9, 12).await), [id(1), id(2)]);
}

pub(crate) async fn the_longest_due_go_first_as_far_as_there_is_room(store: Store) {
    for (number, host, end) in [(1, "a", 30), (2, "a", 10), (3, "a", 20), (4, "b", 40)] {
        run(&*store, hooked(number, host), end).await;
    }
    let narrow = |in_flight: &[(&str, usize)]| DeliveryCapacity {
        total: 3,
        per_host: 2,
        in_flight: in_flight
            .iter()
            .map(|(host, number)| ((*host).into(), *number))
            .collect(),
    };
    let claim = async |capacity: DeliveryCapacity, second| {
        jobs(
            &store
                .claim_deliveries(&capacity, LEASE, at(second))
                .await
                .unwrap(),
        )
    };
    assert_eq!(claim(narrow(&[("a", 2)]), 35).await, []);
    assert_eq!(claim(narrow(&[("a", 2)]), 40).await, [id(4)]);
    assert_eq!(claim(narrow(&[]), 41).await, [id(2), id(3)]);
    assert_eq!(claim(capacity(0), 41).await, []);
    assert_eq!(claim(capacity(9), 41).await, [id(1)]);
}

pub(crate) async fn two_claims_at_once_share_no_delivery(store: Store) {
    for number in 1..=20 {
        run(&*store, hooked(number, "a"), 10).await;
    }
    let (capacity, now) = (capacity(10), at(10));
    let (one, other) = tokio::join!(
        store.claim_deliveries(&capacity, LEASE, now),
        store.claim_deliveries(&capacity, LEASE, now)
    );
    let mut all = jobs(&one.unwrap());
    all.extend(jobs(&other.unwrap()));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 20);
}

pub(crate) async fn a_job_does_not_expire_while_its_webhook_is_owed(store: Store) {
    run(&*store, hooked(1, "a"), 10).await;
    run(&*store, new_job(2), 20).await;
    assert_eq!(store.counts().await.unwrap().ended, 2);
    assert_eq!(store.expire(Duration::ZERO, 9, at(1_000)).await.unwrap(), 1);
    assert!(store.get(id(2)).await.unwrap().is_none());
    let lease = claim(&store, 9, 1_000).await.remove(0).lease;
    store
        .settle_delivery(&lease, Settlement::Delivered, at(1_000))
        .await
        .unwrap();
    assert_eq!(store.expire(Duration::ZERO, 9, at(1_000)).await.unwrap(), 1);
    assert_eq!(store.counts().await.unwrap().ended, 0);
}

pub(crate) async fn jobs_that_owe_a_webhook_go_last_where_there_is_no_room(store: Store) {
    run(&*store, hooked(1, "a"), 10).await;
    run(&*store, new_job(2), 20).await;
    assert_eq!(store.expire_over(0, 1).await.unwrap(), 1);
    assert!(store.get(id(1)).await.unwrap().is_some());
    assert_eq!(store.expire_over(0, 9).await.unwrap(), 1);
    assert!(store.get(id(1)).await.unwrap().is_none());
    assert!(claim(&store, 9, 1_000).await.is_empty());
}

pub(crate) async fn a_deleted_jobs_webhook_is_gone(store: Store) {
    for number in [1, 2] {
        run(&*store, hooked(number, "a"), 10).await;
    }
    let lease = claim(&store, 1, 10).await.remove(0).lease;
    for number in [1, 2] {
        store.delete(id(number)).await.unwrap();
    }
    let settled = store
        .settle_delivery(&lease, Settlement::Delivered, at(1_000))
        .await;
    assert!(matches!(settled, Err(Error::LeaseLost(_))), "{settled:?}");
    assert!(claim(&store, 9, 1_000).await.is_empty());
    assert_eq!(store.webhook(id(1)).await.unwrap(), None);
}

pub(crate) async fn a_webhook_is_read_back_as_it_was_given(store: Store) {
    let of_the_server = jobs::webhook::Webhook {
        target: None,
        ..webhook("a")
    };
    submit(&*store, hooked(1, "a")).await;
    let with_default = NewJob {
        webhook: Some(of_the_server.clone()),
        ..new_job(2)
    };
    submit(&*store, with_default).await;
    submit(&*store, new_job(3)).await;
    assert_eq!(store.webhook(id(1)).await.unwrap(), Some(webhook("a")));
    assert_eq!(store.webhook(id(2)).await.unwrap(), Some(of_the_server));
    assert_eq!(store.webhook(id(3)).await.unwrap(), None);
    assert_eq!(store.webhook(id(4)).await.unwrap(), None);
}

pub(crate) async fn the_webhook_of_a_job_that_has_ended_already_is_due(store: Store) {
    let by = stranger(&*store, at(1)).await;
    let job = store
        .submit_ended(hooked(1, "a.example"), by, completed(9), Vec::new())
        .await
        .unwrap();
    assert_eq!(
        job.webhook.map(|delivery| delivery.state),
        Some(DeliveryState::Pending)
    );
    let due = store
        .claim_deliveries(&capacity(10), LEASE, at(9))
        .await
        .unwrap();
    assert_eq!(due.len(), 1);
}

pub(crate) async fn a_host_without_room_leaves_the_others_theirs(store: Store) {
    for number in 1..=40 {
        run(&*store, hooked(number, "black.hole"), 10).await;
    }
    for (number, host) in [(41, "a"), (42, "b"), (43, "a")] {
        run(&*store, hooked(number, host), 20).await;
    }
    let capacity = |in_flight: &[(&str, usize)]| DeliveryCapacity {
        total: 8,
        per_host: 4,
        in_flight: in_flight
            .iter()
            .map(|(host, number)| ((*host).into(), *number))
            .collect(),
    };
    let claim = async |capacity: DeliveryCapacity| {
        store
            .claim_deliveries(&capacity, LEASE, at(30))
            .await
            .unwrap()
    };
    let first = claim(capacity(&[])).await;
    let ids: Vec<_> = [1, 2, 3, 4, 41, 42, 43].map(id).into();
    assert_eq!(jobs(&first), ids);
    run(&*store, hooked(44, "c"), 25).await;
    let hanging = [("black.hole", 4), ("a", 2), ("b", 1)];
    assert_eq!(jobs(&claim(capacity(&hanging)).await), [id(44)]);
    // What is settled or goes makes way for what is next at its host.
    store
        .settle_delivery(&first[0].lease, again(970), at(30))
        .await
        .unwrap();
    store.delete(id(5)).await.unwrap();
    assert_eq!(jobs(&claim(capacity(&[("black.hole", 3)])).await), [id(6)]);
}
