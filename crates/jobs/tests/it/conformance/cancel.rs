use jobs::job::Status;
use jobs::store::{CancelRequested, Error};

use super::Store;
use crate::fixtures::{at, completed, id, new_job, run, start, submit, worker};

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
    assert!(
        store
            .claim(&worker("w"), 10, at(99))
            .await
            .unwrap()
            .is_empty()
    );
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
    for number in 1..=200 {
        let lease = start(&*store, new_job(number)).await.lease;
        let (finishing, cancelling) = (store.clone(), store.clone());
        let finish =
            tokio::spawn(async move { finishing.finish(&lease, completed(9), Vec::new()).await });
        let cancel =
            tokio::spawn(async move { cancelling.request_cancel(id(number.into()), at(9)).await });
        assert_eq!(finish.await.unwrap().unwrap().status, Status::Completed);
        let found = cancel.await.unwrap().unwrap();
        assert!(
            matches!(
                found,
                CancelRequested::Cancelling | CancelRequested::Ended(Status::Completed)
            ),
            "{found:?}"
        );
        assert_eq!(
            store.get(id(number.into())).await.unwrap().unwrap().status,
            Status::Completed
        );
    }
}
