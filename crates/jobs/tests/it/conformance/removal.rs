use std::time::Duration;

use jobs::store::Error;

use super::Store;
use crate::fixtures::{at, completed, event, id, new_job, run, start, submit};

pub(crate) async fn an_active_job_cannot_be_deleted(store: Store) {
    submit(&*store, new_job(1)).await;
    start(&*store, new_job(2)).await;
    for number in [1, 2] {
        let refused = store.delete(id(number)).await;
        assert!(
            matches!(refused, Err(Error::Active(job)) if job == id(number)),
            "{refused:?}"
        );
        assert!(store.get(id(number)).await.unwrap().is_some());
    }
}

pub(crate) async fn a_deleted_job_is_gone_with_all_it_had(store: Store) {
    let lease = start(&*store, new_job(1)).await.lease;
    store
        .finish(&lease, completed(2), vec![event(1)])
        .await
        .unwrap();
    store.delete(id(1)).await.unwrap();
    assert_eq!(store.get(id(1)).await.unwrap(), None);
    assert_eq!(store.workload(id(1)).await.unwrap(), None);
    assert!(store.events(id(1), 0, 10).await.unwrap().is_empty());
    assert!(matches!(store.delete(id(1)).await, Err(Error::NotFound)));
}

pub(crate) async fn the_oldest_ends_expire_first_up_to_the_limit(store: Store) {
    const KEPT: Duration = Duration::from_secs(100);
    for (number, end) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
        run(&*store, new_job(number), end).await;
    }
    assert_eq!(store.expire(KEPT, 2, at(140)).await.unwrap(), 2);
    assert!(store.get(id(2)).await.unwrap().is_none() && store.get(id(3)).await.unwrap().is_none());
    assert_eq!(store.expire(KEPT, 2, at(140)).await.unwrap(), 1);
    assert_eq!(store.expire(KEPT, 2, at(140)).await.unwrap(), 0);
    assert!(store.get(id(4)).await.unwrap().is_some());
}

pub(crate) async fn the_oldest_ends_go_while_the_store_takes_too_much(store: Store) {
    for (number, end) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
        run(&*store, new_job(number), end).await;
    }
    assert_eq!(store.expire_over(u64::MAX, 10).await.unwrap(), 0);
    assert_eq!(store.expire_over(0, 2).await.unwrap(), 2);
    assert!(store.get(id(2)).await.unwrap().is_none() && store.get(id(3)).await.unwrap().is_none());
    assert_eq!(store.expire_over(0, 9).await.unwrap(), 2);
}

pub(crate) async fn active_jobs_never_expire(store: Store) {
    submit(&*store, new_job(1)).await;
    start(&*store, new_job(2)).await;
    assert_eq!(
        store
            .expire(Duration::ZERO, 10, at(1_000_000))
            .await
            .unwrap(),
        0
    );
    assert_eq!(store.expire_over(0, 10).await.unwrap(), 0);
    assert_eq!(
        store.counts().await.unwrap().pending + store.counts().await.unwrap().running,
        2
    );
}
