use jobs::job::Status;
use jobs::store::{Error, Lease, PROGRESS_EVENT, StoredEvent};

use super::Store;
use super::parking::approval;
use crate::fixtures::{at, claim, completed, event, id, naming, new_job, progress, start, submit};

/// None of a lease's rights are left.
pub(crate) async fn assert_lost(store: &Store, lease: &Lease) {
    let lost = |result: Result<(), Error>| {
        assert!(
            matches!(result, Err(Error::LeaseLost(job)) if job == lease.job),
            "{result:?}"
        );
    };
    let before = (
        store.get(lease.job).await.unwrap(),
        store.workload(lease.job).await.unwrap(),
    );
    lost(
        store
            .checkpoint(lease, Some(progress(99)), vec![event(99)])
            .await,
    );
    lost(
        store
            .finish(lease, completed(99), vec![event(99)])
            .await
            .map(drop),
    );
    lost(store.hand_back(lease).await);
    lost(
        store
            .park(lease, approval(), Some(progress(99)), vec![event(99)])
            .await
            .map(drop),
    );
    match store.beat(lease.replica, naming(&[*lease]), at(99)).await {
        Ok(beat) => {
            assert_eq!(beat.lost, [*lease]);
            assert!(!beat.unnamed.contains(lease), "{beat:?}");
        }
        Err(error) => assert!(
            matches!(error, Error::Fenced(replica) if replica == lease.replica),
            "{error:?}"
        ),
    }
    assert_eq!(
        (
            store.get(lease.job).await.unwrap(),
            store.workload(lease.job).await.unwrap()
        ),
        before
    );
    assert!(store.events(lease.job, 98, 10).await.unwrap().is_empty());
}

pub(crate) async fn a_worker_that_lost_its_lease_cannot_write(store: Store) {
    let first = start(&*store, new_job(1)).await;
    claim(&*store, 1, 60).await;
    assert_lost(&store, &first.lease).await;
}

pub(crate) async fn a_handed_back_job_waits_in_its_old_place_with_its_attempts(store: Store) {
    let claimed = start(&*store, new_job(1)).await;
    submit(&*store, new_job(2)).await;
    store.hand_back(&claimed.lease).await.unwrap();
    let job = store.get(id(1)).await.unwrap().unwrap();
    assert_eq!((job.status, job.attempts), (Status::Pending, 0));
    let next = claim(&*store, 1, 3).await;
    assert_eq!((next[0].job.id, next[0].job.attempts), (id(1), 1));
}

pub(crate) async fn a_claim_says_whether_the_worker_before_was_lost(store: Store) {
    let first = start(&*store, new_job(1)).await;
    assert!(!first.was_lost);
    let next = claim(&*store, 1, 60).await;
    assert!(next[0].was_lost);
    store.hand_back(&next[0].lease).await.unwrap();
    let next = claim(&*store, 1, 61).await;
    assert!(!next[0].was_lost);
}

pub(crate) async fn a_worker_that_handed_its_job_back_cannot_write(store: Store) {
    let claimed = start(&*store, new_job(1)).await;
    store.hand_back(&claimed.lease).await.unwrap();
    assert_lost(&store, &claimed.lease).await;
    claim(&*store, 1, 3).await;
    assert_lost(&store, &claimed.lease).await;
}

pub(crate) async fn a_cancelling_job_handed_back_is_claimed_to_be_ended(store: Store) {
    let first = start(&*store, new_job(1)).await;
    store.request_cancel(id(1), at(2)).await.unwrap();
    store.hand_back(&first.lease).await.unwrap();
    assert_lost(&store, &first.lease).await;
    let next = claim(&*store, 1, 3).await;
    assert_eq!(
        (next[0].job.id, next[0].job.status),
        (id(1), Status::Cancelling)
    );
}

pub(crate) async fn progress_stays_when_only_events_are_saved(store: Store) {
    let lease = start(&*store, new_job(1)).await.lease;
    store
        .checkpoint(&lease, Some(progress(1)), vec![event(1)])
        .await
        .unwrap();
    store
        .checkpoint(&lease, None, vec![event(2)])
        .await
        .unwrap();
    assert_eq!(
        store.workload(id(1)).await.unwrap().unwrap().progress,
        Some(progress(1))
    );
    assert_eq!(
        store.events(id(1), 0, 10).await.unwrap(),
        [event(1), event(2)]
    );
}

pub(crate) async fn starts_are_counted_since_the_run_last_got_on(store: Store) {
    let mut lease = start(&*store, new_job(1)).await.lease;
    let claim = async |second: i64| {
        let mut claimed = claim(&*store, 1, second).await;
        let claimed = claimed.pop().expect("its lease has lapsed");
        (claimed.lease, claimed.starts, claimed.job.attempts)
    };
    let done = |id: u64| StoredEvent {
        kind: PROGRESS_EVENT.into(),
        ..event(id)
    };
    // Each start is told of, and gets on or does not.
    let history: [(&[StoredEvent], u32); 6] = [
        (&[event(1)], 2),
        (&[event(2)], 3),
        (&[event(3), done(4)], 1),
        (&[event(5)], 2),
        (&[], 3),
        (&[done(6), event(7)], 1),
    ];
    for (number, (events, starts)) in (2..).zip(history) {
        store
            .checkpoint(&lease, None, events.to_vec())
            .await
            .unwrap();
        let claimed = claim(1_000 * i64::from(number)).await;
        assert_eq!((claimed.1, claimed.2), (starts, number));
        lease = claimed.0;
    }
    store.hand_back(&lease).await.unwrap();
    assert_eq!(claim(9_000).await.1, 1, "a start that was handed back");
}
