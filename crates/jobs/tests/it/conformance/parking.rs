//! Jobs that wait for something outside: parked, woken, and ended while they wait.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use jobs::job::{JobId, NewJob, Status};
use jobs::json::Json;
use jobs::parking::{MAX_WAKE_UPS, Parked, Wait, WakeUp, Woken};
use jobs::store::{
    CancelRequested, Claimed, Counts, Error, Filter, JobStore, PROGRESS_EVENT, StoredEvent,
    SubmitOptions, Submitted,
};
use jobs::webhook::DeliveryState;
use serde_json::json;
use tokio::task::JoinSet;

use super::Store;
use super::leases::assert_lost;
use crate::fixtures::{
    self, at, completed, event, hooked, id, keyed, new_job, progress, start, start_as, stranger,
    submit,
};

/// For an approval that nothing but a wake-up ends.
pub(crate) fn approval() -> Wait {
    Wait {
        kind: "approval".into(),
        wakes_at: None,
        details: Some(Json::of(&json!({"question": "Really?"}))),
    }
}

/// For a time.
fn until(second: i64) -> Wait {
    Wait {
        kind: "timer".into(),
        wakes_at: Some(at(second)),
        details: None,
    }
}

pub(crate) fn wake_up(key: &str, second: i64) -> WakeUp {
    WakeUp {
        key: key.into(),
        payload: Some(Json::of(&json!({"by": key}))),
        at: at(second),
    }
}

async fn park(store: &dyn JobStore, claimed: &Claimed, wait: Wait) -> Parked {
    store
        .park(&claimed.lease, wait, None, Vec::new())
        .await
        .unwrap()
}

/// Submits a job, claims it, and parks it.
async fn start_and_park(store: &dyn JobStore, job: NewJob, wait: Wait) -> Claimed {
    let claimed = start(store, job).await;
    assert_eq!(park(store, &claimed, wait).await, Parked::Waiting);
    claimed
}

async fn status(store: &Store, number: u128) -> Status {
    store.get(id(number)).await.unwrap().unwrap().status
}

async fn claim(store: &Store, second: i64) -> Vec<Claimed> {
    fixtures::claim(&**store, 10, second).await
}

fn ids(claimed: &[Claimed]) -> Vec<JobId> {
    claimed.iter().map(|claimed| claimed.job.id).collect()
}

pub(crate) async fn a_parked_job_is_saved_and_gives_its_lease_back(store: Store) {
    let claimed = start(&*store, new_job(1)).await;
    let parked = store
        .park(
            &claimed.lease,
            approval(),
            Some(progress(3)),
            vec![event(1), event(2)],
        )
        .await
        .unwrap();
    assert_eq!(parked, Parked::Waiting);
    let waiting = Counts {
        waiting: 1,
        ..Counts::default()
    };
    assert_eq!(store.counts().await.unwrap(), waiting);
    let job = store.get(id(1)).await.unwrap().unwrap();
    assert_eq!(
        (job.status, job.started_at, job.completed_at),
        (Status::Waiting, Some(at(1)), None)
    );
    let workload = store.workload(id(1)).await.unwrap().unwrap();
    assert_eq!(workload.progress, Some(progress(3)));
    assert_eq!(
        store.events(id(1), 0, 9).await.unwrap(),
        [event(1), event(2)]
    );
    assert_eq!(store.waits_for(id(1)).await.unwrap(), Some(approval()));
    assert_lost(&store, &claimed.lease).await;
    // However long it waits: there is no lease that could lapse.
    assert!(claim(&store, 1_000_000).await.is_empty());
    assert_eq!(store.release_leases().await.unwrap(), 0);
    assert!(claim(&store, 1_000_000).await.is_empty());
}

pub(crate) async fn a_worker_that_lost_its_lease_cannot_park(store: Store) {
    let stale = start(&*store, new_job(1)).await.lease;
    let held = claim(&store, 60).await.remove(0);
    let refused = store
        .park(&stale, approval(), Some(progress(9)), vec![event(9)])
        .await;
    assert!(matches!(refused, Err(Error::LeaseLost(_))), "{refused:?}");
    assert_eq!(status(&store, 1).await, Status::Running);
    assert_eq!(store.waits_for(id(1)).await.unwrap(), None);
    assert!(store.events(id(1), 0, 9).await.unwrap().is_empty());
    assert_eq!(park(&*store, &held, approval()).await, Parked::Waiting);
    let again = store.park(&held.lease, approval(), None, Vec::new()).await;
    assert!(matches!(again, Err(Error::LeaseLost(_))), "{again:?}");
    let missing = jobs::store::Lease {
        job: id(7),
        ..held.lease
    };
    let refused = store.park(&missing, approval(), None, Vec::new()).await;
    assert!(matches!(refused, Err(Error::LeaseLost(_))), "{refused:?}");
}

pub(crate) async fn a_woken_job_is_queued_in_its_old_place_with_what_it_had(store: Store) {
    let claimed = start(&*store, new_job(1)).await;
    submit(&*store, new_job(2)).await;
    store
        .park(
            &claimed.lease,
            approval(),
            Some(progress(3)),
            vec![event(1)],
        )
        .await
        .unwrap();
    let woken = store.wake(id(1), wake_up("yes", 50)).await.unwrap();
    assert_eq!(woken, Woken::Queued);
    assert_eq!(status(&store, 1).await, Status::Pending);
    assert_eq!(store.waits_for(id(1)).await.unwrap(), None);
    let queued = Counts {
        pending: 2,
        ..Counts::default()
    };
    assert_eq!(store.counts().await.unwrap(), queued);
    let next = fixtures::claim(&*store, 1, 60).await.remove(0);
    assert_eq!(next.job.id, id(1), "the older one goes first");
    assert!(next.lease.token > claimed.lease.token);
    assert_eq!(
        (next.workload.progress, next.last_event, next.was_lost),
        (Some(progress(3)), 1, false)
    );
    assert_eq!(next.wake_ups, [wake_up("yes", 50)]);
    let ended = store
        .finish(&next.lease, completed(70), vec![event(2)])
        .await
        .unwrap();
    assert_eq!(ended.status, Status::Completed);
}

pub(crate) async fn parking_spends_no_attempt_and_no_start(store: Store) {
    let mut claimed = start(&*store, new_job(1)).await;
    for round in 1..=5_u32 {
        assert_eq!((claimed.job.attempts, claimed.starts), (1, 1), "{round}");
        assert_eq!(park(&*store, &claimed, approval()).await, Parked::Waiting);
        store
            .wake(id(1), wake_up(&round.to_string(), 2))
            .await
            .unwrap();
        claimed = claim(&store, 3).await.remove(0);
    }
    // Two workers are lost; the run that parks after that has made it.
    for (starts, second) in [(2, 100), (3, 200)] {
        claimed = claim(&store, second).await.remove(0);
        assert_eq!((claimed.job.attempts, claimed.starts), (starts, starts));
        assert!(claimed.was_lost);
    }
    assert_eq!(park(&*store, &claimed, approval()).await, Parked::Waiting);
    store.wake(id(1), wake_up("last", 201)).await.unwrap();
    let claimed = claim(&store, 202).await.remove(0);
    assert_eq!((claimed.job.attempts, claimed.starts), (3, 1));
}

pub(crate) async fn progress_before_a_park_still_counts_after_it(store: Store) {
    let claimed = start(&*store, new_job(1)).await;
    let done = StoredEvent {
        kind: PROGRESS_EVENT.into(),
        ..event(1)
    };
    store
        .park(&claimed.lease, until(5), None, vec![done])
        .await
        .unwrap();
    assert_eq!(claim(&store, 5).await[0].starts, 1);
    assert_eq!(claim(&store, 100).await[0].starts, 2);
}

pub(crate) async fn a_wake_up_outlives_the_worker_that_was_given_it(store: Store) {
    start_and_park(&*store, new_job(1), approval()).await;
    store.wake(id(1), wake_up("yes", 2)).await.unwrap();
    let lost = claim(&store, 3).await.remove(0);
    assert_eq!(lost.wake_ups, [wake_up("yes", 2)]);
    let next = claim(&store, 100).await.remove(0);
    assert!(next.was_lost);
    assert_eq!(next.wake_ups, [wake_up("yes", 2)]);
    store.hand_back(&next.lease).await.unwrap();
    assert_eq!(
        claim(&store, 101).await[0].wake_ups,
        [wake_up("yes", 2)],
        "nor is it lost with a worker that stops"
    );
}

pub(crate) async fn a_wake_up_that_comes_before_the_park_is_not_lost(store: Store) {
    let claimed = start(&*store, new_job(1)).await;
    let kept = store.wake(id(1), wake_up("yes", 2)).await.unwrap();
    assert_eq!(kept, Woken::Kept);
    assert_eq!(status(&store, 1).await, Status::Running);
    let parked = store
        .park(
            &claimed.lease,
            until(9_000),
            Some(progress(4)),
            vec![event(1)],
        )
        .await
        .unwrap();
    assert_eq!(parked, Parked::Queued);
    assert_lost(&store, &claimed.lease).await;
    assert_eq!(status(&store, 1).await, Status::Pending);
    assert_eq!(store.waits_for(id(1)).await.unwrap(), None);
    let next = claim(&store, 3).await.remove(0);
    assert_eq!(next.wake_ups, [wake_up("yes", 2)]);
    assert_eq!((next.job.attempts, next.starts, next.last_event), (1, 1, 1));
    assert_eq!(next.workload.progress, Some(progress(4)));
}

pub(crate) async fn a_wake_up_that_the_worker_was_given_does_not_end_its_next_wait(store: Store) {
    submit(&*store, new_job(1)).await;
    let kept = store.wake(id(1), wake_up("early", 2)).await.unwrap();
    assert_eq!(kept, Woken::Kept, "it is in the queue");
    let claimed = claim(&store, 3).await.remove(0);
    assert_eq!(claimed.wake_ups, [wake_up("early", 2)]);
    assert_eq!(park(&*store, &claimed, approval()).await, Parked::Waiting);
    store.wake(id(1), wake_up("late", 4)).await.unwrap();
    let claimed = claim(&store, 5).await.remove(0);
    assert_eq!(claimed.wake_ups, [wake_up("early", 2), wake_up("late", 4)]);
}

pub(crate) async fn a_job_is_woken_once_by_each_key(store: Store) {
    start_and_park(&*store, new_job(1), approval()).await;
    store.wake(id(1), wake_up("yes", 2)).await.unwrap();
    let other = WakeUp {
        payload: None,
        ..wake_up("yes", 3)
    };
    for when in ["queued", "running", "parked again"] {
        let again = store.wake(id(1), other.clone()).await.unwrap();
        assert_eq!(again, Woken::Known, "{when}");
        if when == "queued" {
            let claimed = claim(&store, 4).await.remove(0);
            assert_eq!(claimed.wake_ups, [wake_up("yes", 2)], "the first counts");
        } else if when == "running" {
            let claimed = claim(&store, 100).await.remove(0);
            assert_eq!(park(&*store, &claimed, approval()).await, Parked::Waiting);
        }
    }
    assert_eq!(status(&store, 1).await, Status::Waiting);
}

pub(crate) async fn a_wake_up_says_what_it_found(store: Store) {
    let missing = store.wake(id(9), wake_up("yes", 2)).await;
    assert!(matches!(missing, Err(Error::NotFound)), "{missing:?}");
    start_and_park(&*store, new_job(1), approval()).await;
    store.request_cancel(id(1), at(2)).await.unwrap();
    let late = store.wake(id(1), wake_up("yes", 3)).await.unwrap();
    assert_eq!(late, Woken::Ended(Status::Cancelled));
    let claimed = start(&*store, new_job(2)).await;
    store.request_cancel(id(2), at(3)).await.unwrap();
    let stopping = store.wake(id(2), wake_up("yes", 3)).await.unwrap();
    assert_eq!(stopping, Woken::Kept);
    assert_eq!(status(&store, 2).await, Status::Cancelling);
    store
        .finish(&claimed.lease, completed(4), Vec::new())
        .await
        .unwrap();
    let late = store.wake(id(2), wake_up("again", 5)).await.unwrap();
    assert_eq!(late, Woken::Ended(Status::Completed));
}

pub(crate) async fn many_wakers_at_once_wake_a_job_once(store: Store) {
    start_and_park(&*store, new_job(1), approval()).await;
    let mut wakers = JoinSet::new();
    for number in 0..40 {
        let store = store.clone();
        let key = ["same", "other"][number % 2];
        wakers.spawn(async move { store.wake(id(1), wake_up(key, 2)).await.unwrap() });
    }
    let found = wakers.join_all().await;
    let count = |woken| found.iter().filter(|found| **found == woken).count();
    assert_eq!(
        (
            count(Woken::Queued),
            count(Woken::Kept),
            count(Woken::Known)
        ),
        (1, 1, 38)
    );
    let claimed = claim(&store, 3).await;
    assert_eq!(ids(&claimed), [id(1)]);
    assert_eq!(
        claimed[0].wake_ups,
        [wake_up("other", 2), wake_up("same", 2)]
    );
}

pub(crate) async fn a_park_and_a_wake_up_at_once_leave_no_job_behind(store: Store) {
    const RACES: u32 = 1_000;
    let by = stranger(&*store, at(1)).await;
    let mut races = JoinSet::new();
    for number in 1..=RACES {
        let store = store.clone();
        races.spawn(async move {
            let claimed = start_as(&*store, by, new_job(number)).await;
            let id = id(number.into());
            let park = store.park(&claimed.lease, approval(), None, Vec::new());
            let wake = store.wake(id, wake_up("yes", 2));
            let (parked, woken) = if number.is_multiple_of(2) {
                join(park, wake).await
            } else {
                let (woken, parked) = join(wake, park).await;
                (parked, woken)
            };
            match (parked.unwrap(), woken.unwrap()) {
                (Parked::Waiting, Woken::Queued) => true,
                (Parked::Queued, Woken::Kept) => false,
                other => panic!("{other:?}"),
            }
        });
    }
    let parked_first = races.join_all().await;
    let parked_first = parked_first.into_iter().filter(|first| *first).count();
    assert!(
        (1..RACES as usize).contains(&parked_first),
        "{parked_first}"
    );
    let queued = Counts {
        pending: RACES as usize,
        ..Counts::default()
    };
    assert_eq!(store.counts().await.unwrap(), queued);
}

pub(crate) async fn a_job_wakes_by_itself_when_its_time_has_come(store: Store) {
    for (number, second) in [(1, 50), (2, 40), (3, 60)] {
        start_and_park(&*store, new_job(number), until(second)).await;
    }
    assert!(claim(&store, 39).await.is_empty());
    assert_eq!(ids(&claim(&store, 50).await), [1, 2].map(id));
    assert_eq!(store.waits_for(id(2)).await.unwrap(), None);
    let running = std::collections::BTreeMap::new();
    let by = stranger(&*store, at(60)).await;
    let fairly = store.claim_fairly(by, 9, &running, at(60)).await.unwrap();
    assert_eq!(ids(&fairly), [id(3)]);
    assert!(fairly[0].wake_ups.is_empty() && !fairly[0].was_lost);
}

pub(crate) async fn a_woken_job_does_not_wake_again_at_its_time(store: Store) {
    start_and_park(&*store, new_job(1), until(50)).await;
    store.wake(id(1), wake_up("early", 10)).await.unwrap();
    let claimed = claim(&store, 11).await.remove(0);
    assert_eq!(park(&*store, &claimed, approval()).await, Parked::Waiting);
    assert!(claim(&store, 1_000).await.is_empty());
    assert_eq!(status(&store, 1).await, Status::Waiting);
}

pub(crate) async fn a_full_queue_takes_a_woken_job(store: Store) {
    start_and_park(&*store, new_job(1), approval()).await;
    let one = SubmitOptions {
        max_pending: Some(1),
        ..SubmitOptions::default()
    };
    store.submit(new_job(2), one.clone()).await.unwrap();
    let woken = store.wake(id(1), wake_up("yes", 3)).await.unwrap();
    assert_eq!(woken, Woken::Queued);
    let full = store.submit(new_job(3), one).await;
    let Err(Error::QueueFull { pending }) = full else {
        panic!("{full:?}");
    };
    // A shared store may have counted before the wake-up.
    assert!(
        pending == 2 || (store.is_shared() && pending == 1),
        "{pending}"
    );
}

pub(crate) async fn a_waiting_job_takes_no_place_in_the_queue(store: Store) {
    start_and_park(&*store, new_job(1), approval()).await;
    let one = SubmitOptions {
        max_pending: Some(1),
        ..SubmitOptions::default()
    };
    let submitted = store.submit(new_job(2), one).await.unwrap();
    assert!(matches!(submitted, Submitted::New(None)), "{submitted:?}");
}

pub(crate) async fn a_waiting_job_that_is_cancelled_ends_at_once(store: Store) {
    start_and_park(&*store, hooked(1, "a"), until(50)).await;
    let cancelled = store.request_cancel(id(1), at(9)).await.unwrap();
    assert_eq!(cancelled, CancelRequested::Cancelled);
    let job = store.get(id(1)).await.unwrap().unwrap();
    assert_eq!(
        (job.status, job.completed_at),
        (Status::Cancelled, Some(at(9)))
    );
    assert_eq!(job.webhook.unwrap().state, DeliveryState::Pending);
    assert_eq!(store.waits_for(id(1)).await.unwrap(), None);
    assert!(claim(&store, 1_000).await.is_empty());
    let ended = Counts {
        ended: 1,
        ..Counts::default()
    };
    assert_eq!(store.counts().await.unwrap(), ended);
}

pub(crate) async fn a_run_that_was_asked_to_stop_cannot_park(store: Store) {
    let claimed = start(&*store, new_job(1)).await;
    store.request_cancel(id(1), at(2)).await.unwrap();
    let parked = store
        .park(
            &claimed.lease,
            approval(),
            Some(progress(9)),
            vec![event(9)],
        )
        .await
        .unwrap();
    assert_eq!(parked, Parked::Cancelling);
    assert_eq!(status(&store, 1).await, Status::Cancelling);
    assert!(store.events(id(1), 0, 9).await.unwrap().is_empty());
    // It still holds the lease, and ends it.
    let ended = store
        .finish(&claimed.lease, completed(3), vec![event(1)])
        .await
        .unwrap();
    assert_eq!(ended.status, Status::Completed);
}

pub(crate) async fn a_waiting_job_whose_deadline_passes_is_claimed_to_be_ended(store: Store) {
    let due = |number, second| NewJob {
        deadline: Some(at(second)),
        ..new_job(number)
    };
    start_and_park(&*store, due(1, 50), approval()).await;
    start_and_park(&*store, due(2, 40), until(90)).await;
    start_and_park(&*store, due(3, 99), approval()).await;
    submit(&*store, due(4, 45)).await;
    let by = stranger(&*store, at(50)).await;
    let overdue = store.claim_overdue(by, 9, at(50)).await.unwrap();
    assert_eq!(ids(&overdue), [2, 4, 1].map(id));
    assert!(overdue.iter().all(|claimed| !claimed.was_lost));
    assert_eq!(status(&store, 1).await, Status::Running);
    assert_eq!(store.waits_for(id(1)).await.unwrap(), None);
    store.hand_back(&overdue[0].lease).await.unwrap();
    assert_eq!(status(&store, 2).await, Status::Pending);
    let overdue = store.claim_overdue(by, 9, at(98)).await.unwrap();
    assert_eq!(ids(&overdue), [id(2)], "it no longer waits");
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.waiting, counts.running), (1, 3));
    store.wake(id(3), wake_up("yes", 98)).await.unwrap();
    let overdue = store.claim_overdue(by, 9, at(99)).await.unwrap();
    assert_eq!(
        ids(&overdue),
        [id(3)],
        "in the queue its deadline counts, too"
    );
}

pub(crate) async fn a_waiting_job_is_listed_as_such(store: Store) {
    let owned = NewJob {
        owner: Some("ann".into()),
        ..new_job(1)
    };
    start_and_park(&*store, owned, approval()).await;
    submit(&*store, new_job(2)).await;
    for owner in [None, Some("ann".to_owned())] {
        for workflow in [None, Some("w".to_owned())] {
            let filter = Filter {
                status: Some(Status::Waiting),
                owner: owner.clone(),
                workflow,
                ..Filter::default()
            };
            let page = store.list(&filter, None, 9).await.unwrap();
            let found: Vec<_> = page.jobs.iter().map(|job| (job.id, job.status)).collect();
            assert_eq!(found, [(id(1), Status::Waiting)], "{filter:?}");
        }
    }
    let of_owner = Filter {
        owner: Some("ann".to_owned()),
        ..Filter::default()
    };
    assert_eq!(store.list(&of_owner, None, 9).await.unwrap().jobs.len(), 1);
    let all = store.list(&Filter::default(), None, 9).await.unwrap();
    assert_eq!(all.jobs.len(), 2);
}

pub(crate) async fn a_waiting_job_is_neither_deleted_nor_expired(store: Store) {
    start_and_park(&*store, new_job(1), approval()).await;
    let refused = store.delete(id(1)).await;
    assert!(matches!(refused, Err(Error::Active(_))), "{refused:?}");
    assert_eq!(
        store
            .expire(Duration::ZERO, 9, at(1_000_000))
            .await
            .unwrap(),
        0
    );
    store.expire_over(0, 9).await.unwrap();
    assert_eq!(status(&store, 1).await, Status::Waiting);
}

pub(crate) async fn a_job_that_was_parked_is_forgotten_with_its_wake_ups(store: Store) {
    start_and_park(&*store, new_job(1), approval()).await;
    store.wake(id(1), wake_up("yes", 2)).await.unwrap();
    let claimed = claim(&store, 3).await.remove(0);
    store
        .finish(&claimed.lease, completed(4), Vec::new())
        .await
        .unwrap();
    store.delete(id(1)).await.unwrap();
    // Another job of that id knows nothing of it.
    let anew = start(&*store, new_job(1)).await;
    assert_eq!(park(&*store, &anew, approval()).await, Parked::Waiting);
    let woken = store.wake(id(1), wake_up("yes", 5)).await.unwrap();
    assert_eq!(woken, Woken::Queued);
}

pub(crate) async fn the_key_of_a_waiting_job_finds_it(store: Store) {
    start_and_park(&*store, keyed(1, "s", "k", "f"), approval()).await;
    let again = store
        .submit(keyed(2, "s", "k", "f"), SubmitOptions::default())
        .await
        .unwrap();
    let Submitted::Existing(job) = again else {
        panic!("{again:?}");
    };
    assert_eq!((job.id, job.status), (id(1), Status::Waiting));
}

pub(crate) async fn a_job_takes_so_many_wake_ups_and_no_more(store: Store) {
    start_and_park(&*store, new_job(1), approval()).await;
    let mut wakers = JoinSet::new();
    for number in 0..MAX_WAKE_UPS {
        let store = store.clone();
        let wake_up = wake_up(&number.to_string(), 2);
        wakers.spawn(async move { store.wake(id(1), wake_up).await.unwrap() });
    }
    wakers.join_all().await;
    let refused = store.wake(id(1), wake_up("more", 3)).await;
    assert!(
        matches!(refused, Err(Error::TooManyWakeUps(job)) if job == id(1)),
        "{refused:?}"
    );
    let known = store.wake(id(1), wake_up("7", 3)).await.unwrap();
    assert_eq!(known, Woken::Known);
    assert_eq!(claim(&store, 4).await[0].wake_ups.len(), MAX_WAKE_UPS);
}

pub(crate) async fn nothing_is_known_of_the_wait_of_a_job_that_is_not_there(store: Store) {
    assert_eq!(store.waits_for(id(1)).await.unwrap(), None);
    submit(&*store, new_job(1)).await;
    assert_eq!(store.waits_for(id(1)).await.unwrap(), None);
    let without: Arc<str> = "timer".into();
    start_and_park(&*store, new_job(2), until(50)).await;
    let wait = store.waits_for(id(2)).await.unwrap().unwrap();
    assert_eq!(
        (wait.kind, wait.wakes_at, wait.details),
        (without, Some(at(50)), None)
    );
}
