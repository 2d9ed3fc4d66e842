//! Verbs that are repeated because their answer was lost: they change nothing more, and answer as
//! they did.

use jobs::job::{End, Status};
use jobs::parking::Woken;
use jobs::store::{CancelRequested, Counts, Error, SubmitOptions, Submitted};

use super::Store;
use super::parking::{approval, wake_up};
use crate::fixtures::{
    at, claim, claiming, completed, ending, event, hooked, id, keyed, new_job, progress, register,
    run, start, start_as, submit,
};

pub(crate) async fn a_submission_repeated_makes_one_job(store: Store) {
    for _ in 0..2 {
        submit(&*store, new_job(1)).await;
    }
    let waiting = Counts {
        pending: 1,
        ..Counts::default()
    };
    assert_eq!(store.counts().await.unwrap(), waiting);
    assert_eq!(claim(&*store, 9, 2).await.len(), 1);
    assert!(claim(&*store, 9, 3).await.is_empty());
}

pub(crate) async fn a_submission_repeated_finds_its_job_in_a_queue_it_has_filled(store: Store) {
    let options = SubmitOptions {
        max_pending: Some(1),
        ..SubmitOptions::default()
    };
    for _ in 0..2 {
        let submitted = store.submit(new_job(1), options.clone()).await.unwrap();
        assert!(matches!(submitted, Submitted::New(None)), "{submitted:?}");
    }
    let full = store.submit(new_job(2), options).await;
    assert!(matches!(full, Err(Error::QueueFull { .. })), "{full:?}");
}

pub(crate) async fn a_submission_with_a_claim_repeated_gives_the_same_lease(store: Store) {
    let by = register(&*store, "a", 1).await;
    let first = start_as(&*store, by, hooked(1, "a")).await;
    let again = start_as(&*store, by, hooked(1, "a")).await;
    assert_eq!(
        (again.lease, &again.job, &again.workload),
        (first.lease, &first.job, &first.workload)
    );
    assert_eq!(
        (again.last_event, again.starts, again.was_lost),
        (0, 1, false)
    );
    assert_eq!(store.counts().await.unwrap().running, 1);
    // Repeated once more, after the job has gone to another, it gives none.
    let taken = claim(&*store, 1, 60).await.remove(0);
    let again = store.submit(hooked(1, "a"), claiming(by)).await.unwrap();
    assert!(matches!(again, Submitted::New(None)), "{again:?}");
    store
        .finish(&taken.lease, completed(61), Vec::new())
        .await
        .unwrap();
    let again = store.submit(hooked(1, "a"), claiming(by)).await.unwrap();
    assert!(matches!(again, Submitted::New(None)), "{again:?}");
    assert_eq!(
        store.get(id(1)).await.unwrap().unwrap().status,
        Status::Completed
    );
}

pub(crate) async fn a_submission_with_a_key_repeated_is_new_again(store: Store) {
    for _ in 0..2 {
        submit(&*store, keyed(1, "s", "k", "f")).await;
    }
    // The key still finds the job for others.
    let other = store.submit(keyed(2, "s", "k", "f"), SubmitOptions::default());
    let other = other.await.unwrap();
    assert!(
        matches!(&other, Submitted::Existing(job) if job.id == id(1)),
        "{other:?}"
    );
    let by = register(&*store, "a", 3).await;
    let first = start_as(&*store, by, keyed(3, "s", "l", "f")).await;
    let again = start_as(&*store, by, keyed(3, "s", "l", "f")).await;
    assert_eq!(again.lease, first.lease);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.pending, counts.running), (1, 1));
}

pub(crate) async fn a_definition_counts_a_repeated_submission_once(store: Store) {
    for _ in 0..3 {
        submit(&*store, new_job(1)).await;
    }
    store.request_cancel(id(1), at(2)).await.unwrap();
    assert!(store.definition("h").await.unwrap().is_some());
    store.delete(id(1)).await.unwrap();
    run(&*store, new_job(2), 3).await;
    assert!(store.definition("h").await.unwrap().is_some());
}

pub(crate) async fn a_job_that_has_ended_already_is_stored_once(store: Store) {
    let by = register(&*store, "a", 1).await;
    let submit = || {
        let events = vec![event(1), event(2)];
        store.submit_ended(hooked(1, "a"), by, completed(9), events)
    };
    let first = submit().await.unwrap();
    assert_eq!(submit().await.unwrap(), first);
    assert_eq!(store.get(id(1)).await.unwrap(), Some(first));
    assert_eq!(
        store.events(id(1), 0, 9).await.unwrap(),
        [event(1), event(2)]
    );
    assert_eq!(store.counts().await.unwrap().ended, 1);
}

pub(crate) async fn a_checkpoint_repeated_saves_once(store: Store) {
    let lease = start(&*store, new_job(1)).await.lease;
    for _ in 0..2 {
        store
            .checkpoint(&lease, Some(progress(1)), vec![event(1), event(2)])
            .await
            .unwrap();
    }
    assert_eq!(
        store.events(id(1), 0, 9).await.unwrap(),
        [event(1), event(2)]
    );
}

pub(crate) async fn an_ending_repeated_returns_the_job_as_the_first_one_left_it(store: Store) {
    let lease = start(&*store, hooked(1, "a")).await.lease;
    let job = store
        .finish(&lease, completed(9), vec![event(1)])
        .await
        .unwrap();
    let again = store.finish(&lease, completed(9), vec![event(1)]).await;
    assert_eq!(again.unwrap(), job);
    // What the repeated call says does not matter.
    let other = store
        .finish(&lease, ending(End::Cancelled, 10), vec![event(2)])
        .await;
    assert_eq!(other.unwrap(), job);
    assert_eq!(store.get(id(1)).await.unwrap(), Some(job));
    assert_eq!(store.events(id(1), 0, 9).await.unwrap(), [event(1)]);
    assert_eq!(store.counts().await.unwrap().ended, 1);
}

pub(crate) async fn an_ending_repeated_is_known_after_a_restart_of_the_job(store: Store) {
    let first = start(&*store, new_job(1)).await.lease;
    let second = claim(&*store, 1, 60).await.remove(0).lease;
    let job = store.finish(&second, completed(61), Vec::new()).await;
    let job = job.unwrap();
    assert_eq!(
        store
            .finish(&second, completed(61), Vec::new())
            .await
            .unwrap(),
        job
    );
    // The replica that lost the job does not learn how it ended by that.
    let lost = store.finish(&first, completed(61), Vec::new()).await;
    assert!(matches!(lost, Err(Error::LeaseLost(_))), "{lost:?}");
}

pub(crate) async fn the_end_of_a_cancelled_job_can_be_told_twice(store: Store) {
    let lease = start(&*store, new_job(1)).await.lease;
    for _ in 0..2 {
        let asked = store.request_cancel(id(1), at(2)).await.unwrap();
        assert_eq!(asked, CancelRequested::Cancelling);
    }
    let cancelled = || store.finish(&lease, ending(End::Cancelled, 3), Vec::new());
    let job = cancelled().await.unwrap();
    assert_eq!(job.status, Status::Cancelled);
    assert_eq!(cancelled().await.unwrap(), job);
    let asked = store.request_cancel(id(1), at(4)).await.unwrap();
    assert_eq!(asked, CancelRequested::Ended(Status::Cancelled));
}

pub(crate) async fn a_job_that_ended_without_its_lease_is_not_told_to_its_last_holder(
    store: Store,
) {
    let lease = start(&*store, new_job(1)).await.lease;
    store.hand_back(&lease).await.unwrap();
    let cancelled = store.request_cancel(id(1), at(2)).await.unwrap();
    assert_eq!(cancelled, CancelRequested::Cancelled);
    let late = store.finish(&lease, completed(3), Vec::new()).await;
    assert!(matches!(late, Err(Error::LeaseLost(_))), "{late:?}");
    let lease = start(&*store, new_job(2)).await.lease;
    store
        .park(&lease, approval(), None, Vec::new())
        .await
        .unwrap();
    store.request_cancel(id(2), at(3)).await.unwrap();
    let late = store.finish(&lease, completed(4), Vec::new()).await;
    assert!(matches!(late, Err(Error::LeaseLost(_))), "{late:?}");
}

pub(crate) async fn what_gives_a_lease_back_is_refused_when_repeated(store: Store) {
    let lease = start(&*store, new_job(1)).await.lease;
    store.hand_back(&lease).await.unwrap();
    let again = store.hand_back(&lease).await;
    assert!(matches!(again, Err(Error::LeaseLost(_))), "{again:?}");
    let lease = start(&*store, new_job(2)).await.lease;
    let park = || store.park(&lease, approval(), Some(progress(1)), vec![event(1)]);
    park().await.unwrap();
    let again = park().await;
    assert!(matches!(again, Err(Error::LeaseLost(_))), "{again:?}");
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.pending, counts.waiting), (1, 1));
    assert_eq!(store.events(id(2), 0, 9).await.unwrap(), [event(1)]);
    // The job waits as it was told to.
    let woken = store.wake(id(2), wake_up("yes", 3)).await.unwrap();
    assert_eq!(woken, Woken::Queued);
    let woken = store.wake(id(2), wake_up("yes", 3)).await.unwrap();
    assert_eq!(woken, Woken::Known);
}
