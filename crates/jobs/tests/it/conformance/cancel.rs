use futures_util::future::join;
use jobs::job::Status;
use jobs::store::{CancelRequested, Error, ReplicaId};
use tokio::task::JoinSet;

use super::Store;
use crate::fixtures::{at, claim, completed, id, new_job, run, start, start_as, stranger, submit};

pub(crate) async fn a_waiting_job_is_cancelled_and_never_claimed(store: Store) {
    submit(&*store, new_job(1)).await;
    assert_eq!(
        store.request_cancel(id(1), at(2)).await.unwrap(),
        CancelRequested::Cancelled
    );
    let job = store.get(id(1)).await.unwrap().unwrap();
    assert_eq!(
        (job.status, job.completed_at, job.started_at),
        (Status::Cancelled, Some(at(2)), None)
    );
    assert!(claim(&*store, 10, 99).await.is_empty());
}

pub(crate) async fn a_running_job_is_told(store: Store) {
    start(&*store, new_job(1)).await;
    for _ in 0..2 {
        assert_eq!(
            store.request_cancel(id(1), at(2)).await.unwrap(),
            CancelRequested::Cancelling
        );
    }
    assert_eq!(
        store.get(id(1)).await.unwrap().unwrap().status,
        Status::Cancelling
    );
}

pub(crate) async fn an_ended_job_says_how_it_ended(store: Store) {
    run(&*store, new_job(1), 2).await;
    submit(&*store, new_job(2)).await;
    store.request_cancel(id(2), at(3)).await.unwrap();
    let ended = |status| CancelRequested::Ended(status);
    assert_eq!(
        store.request_cancel(id(1), at(4)).await.unwrap(),
        ended(Status::Completed)
    );
    assert_eq!(
        store.request_cancel(id(2), at(4)).await.unwrap(),
        ended(Status::Cancelled)
    );
    assert_eq!(
        store.get(id(2)).await.unwrap().unwrap().completed_at,
        Some(at(3))
    );
}

pub(crate) async fn a_missing_job_is_not_found(store: Store) {
    assert!(matches!(
        store.request_cancel(id(1), at(1)).await,
        Err(Error::NotFound)
    ));
}

pub(crate) async fn cancel_and_completion_race_to_one_end(store: Store) {
    const RACES: u32 = 10_000;
    const AT_ONCE: u32 = 200;
    let by = stranger(&*store, at(1)).await;
    let mut told = 0;
    for first in (1..=RACES).step_by(AT_ONCE as usize) {
        let races = (first..first + AT_ONCE).map(|number| race(store.clone(), by, number));
        let races: JoinSet<bool> = races.collect();
        told += races
            .join_all()
            .await
            .into_iter()
            .filter(|won| *won)
            .count();
    }
    // Both won.
    assert!((1..RACES as usize).contains(&told), "{told}");
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.ended, counts.running), (RACES as usize, 0));
}

/// One race; whether the cancel came first.
async fn race(store: Store, by: ReplicaId, number: u32) -> bool {
    let lease = start_as(&*store, by, new_job(number)).await.lease;
    let id = id(number.into());
    let finish = store.finish(&lease, completed(9), Vec::new());
    let cancel = store.request_cancel(id, at(9));
    let (ended, found) = if number.is_multiple_of(2) {
        join(finish, cancel).await
    } else {
        let (found, ended) = join(cancel, finish).await;
        (ended, found)
    };
    let ended = ended.unwrap();
    assert_eq!(ended.status, Status::Completed);
    assert_eq!(store.get(id).await.unwrap(), Some(ended));
    match found.unwrap() {
        CancelRequested::Cancelling => true,
        CancelRequested::Ended(Status::Completed) => false,
        other => panic!("{other:?}"),
    }
}
