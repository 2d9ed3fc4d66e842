//! Which of the waiting jobs are taken when slots are scarce, and what a process alone on its store
//! may do.

use std::collections::BTreeMap;
use std::sync::Arc;

use jobs::job::{JobId, NewJob, Status};
use jobs::store::Claimed;

use super::Store;
use crate::fixtures::{at, claim, id, new_job, start, stranger, submit};

fn of(workflow: &str, number: u32) -> NewJob {
    NewJob {
        workflow: workflow.into(),
        ..new_job(number)
    }
}

fn ids(claimed: &[Claimed]) -> Vec<JobId> {
    claimed.iter().map(|claimed| claimed.job.id).collect()
}

async fn claim_fairly(store: &Store, limit: usize, running: &[(&str, usize)]) -> Vec<JobId> {
    let running: BTreeMap<Arc<str>, usize> = running
        .iter()
        .map(|(workflow, runs)| (Arc::from(*workflow), *runs))
        .collect();
    let by = stranger(&**store, at(25)).await;
    ids(&store
        .claim_fairly(by, limit, &running, at(25))
        .await
        .unwrap())
}

pub(crate) async fn a_long_queue_leaves_the_others_their_turn(store: Store) {
    for number in 1..=20 {
        submit(&*store, of("long", number)).await;
    }
    submit(&*store, of("short", 21)).await;
    submit(&*store, of("short", 22)).await;
    assert_eq!(claim_fairly(&store, 3, &[]).await, [1, 21, 2].map(id));
    assert_eq!(
        claim_fairly(&store, 1, &[("long", 2), ("short", 1)]).await,
        [id(22)]
    );
    assert_eq!(
        claim_fairly(&store, 2, &[("short", 9)]).await,
        [3, 4].map(id)
    );
    assert_eq!(claim_fairly(&store, 50, &[]).await.len(), 16);
    assert!(claim_fairly(&store, 50, &[]).await.is_empty());
}

pub(crate) async fn a_lapsed_lease_goes_before_every_queue(store: Store) {
    let lapsed = start(&*store, of("long", 1)).await;
    store.deregister(lapsed.lease.replica).await.unwrap();
    submit(&*store, of("long", 2)).await;
    submit(&*store, of("short", 3)).await;
    assert_eq!(
        claim_fairly(&store, 2, &[]).await,
        [lapsed.job.id, id(3)],
        "the lapsed one counts as running"
    );
}

pub(crate) async fn what_left_a_queue_is_not_dealt(store: Store) {
    for number in 1..=4 {
        submit(&*store, of("w", number)).await;
    }
    store.request_cancel(id(1), at(5)).await.unwrap();
    claim(&*store, 1, 6).await;
    let taken = start(&*store, of("w", 5)).await;
    store.hand_back(&taken.lease).await.unwrap();
    assert_eq!(
        claim_fairly(&store, 9, &[]).await,
        [2, 3, 4, 5].map(id)[1..]
    );
}

pub(crate) async fn released_leases_can_be_claimed_at_once(store: Store) {
    let first = start(&*store, new_job(1)).await;
    let second = start(&*store, new_job(2)).await;
    submit(&*store, new_job(3)).await;
    store.request_cancel(id(2), at(3)).await.unwrap();
    if store.is_shared() {
        // Their holders may be other processes.
        assert_eq!(store.release_leases().await.unwrap(), 0);
        assert_eq!(ids(&claim(&*store, 9, 4).await), [id(3)]);
        return;
    }
    assert_eq!(store.release_leases().await.unwrap(), 2);
    let claimed = claim(&*store, 9, 4).await;
    assert_eq!(ids(&claimed), [1, 2, 3].map(id));
    let statuses: Vec<Status> = claimed.iter().map(|claimed| claimed.job.status).collect();
    assert_eq!(
        statuses,
        [Status::Running, Status::Cancelling, Status::Running]
    );
    for lost in [&first, &second] {
        assert!(
            store
                .checkpoint(&lost.lease, None, Vec::new())
                .await
                .is_err()
        );
    }
}
