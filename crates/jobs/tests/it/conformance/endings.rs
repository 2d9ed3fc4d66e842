use std::time::Duration;

use jobs::job::{End, Ending, Job, NewJob, Status};
use jobs::json::Json;
use jobs::store::{Counts, Error, MAX_EVENTS, Tail};
use serde_json::json;

use super::Store;
use crate::fixtures::{
    at, claim, completed, ending, event, id, new_job, progress, start, stranger,
};

pub(crate) async fn a_completed_job_carries_its_ending(store: Store) {
    let lease = start(&*store, new_job(1)).await.lease;
    let job = store
        .finish(&lease, completed(9), Vec::new())
        .await
        .unwrap();
    assert_eq!(
        (job.status, job.completed_at, job.execution_time_ms),
        (Status::Completed, Some(at(9)), Some(12))
    );
    assert_eq!(
        (&job.outputs, &job.usage),
        (&completed(9).outputs, &completed(9).usage)
    );
    assert_eq!(store.get(id(1)).await.unwrap(), Some(job));
}

pub(crate) async fn a_failed_job_carries_its_ending(store: Store) {
    let lease = start(&*store, new_job(1)).await.lease;
    let problem = Some(Json::of(&json!({"code": "no_route"})));
    let failed = Ending {
        error: Some("No.".into()),
        problem: problem.clone(),
        ..ending(End::Failed, 9)
    };
    let job = store.finish(&lease, failed, Vec::new()).await.unwrap();
    assert_eq!(
        (job.status, job.error.as_deref(), &job.problem),
        (Status::Failed, Some("No."), &problem)
    );
    assert_eq!(job.outputs, None);
}

pub(crate) async fn a_job_ends_once(store: Store) {
    let lease = start(&*store, new_job(1)).await.lease;
    let job = store
        .finish(&lease, completed(9), vec![event(1)])
        .await
        .unwrap();
    let again = store
        .finish(&lease, ending(End::Failed, 10), vec![event(2)])
        .await;
    assert_eq!(again.unwrap(), job);
    assert_eq!(store.get(id(1)).await.unwrap(), Some(job));
    assert_eq!(store.events(id(1), 0, 10).await.unwrap(), [event(1)]);
}

pub(crate) async fn a_job_that_has_ended_already_is_stored_as_if_it_had_been_submitted_before(
    store: Store,
) {
    let lease = start(&*store, new_job(1)).await.lease;
    let in_two_steps = store
        .finish(&lease, completed(9), vec![event(1), event(2)])
        .await
        .unwrap();
    let second = NewJob {
        created_at: at(1),
        ..new_job(2)
    };
    let workload = second.workload.clone();
    let by = stranger(&*store, at(1)).await;
    let at_once = store
        .submit_ended(second, by, completed(9), vec![event(1), event(2)])
        .await
        .unwrap();
    assert_eq!(
        at_once,
        Job {
            id: id(2),
            ..in_two_steps
        }
    );
    assert_eq!(store.get(id(2)).await.unwrap().as_ref(), Some(&at_once));
    assert_eq!(
        store.events(id(2), 0, 10).await.unwrap(),
        [event(1), event(2)]
    );
    assert_eq!(store.workload(id(2)).await.unwrap(), Some(workload));
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            ended: 2,
            ..Counts::default()
        }
    );
    // Nobody can take it, and it is forgotten like any other.
    let later = 3600;
    assert!(claim(&*store, 10, later).await.is_empty());
    assert_eq!(
        store.expire(Duration::ZERO, 10, at(later)).await.unwrap(),
        2
    );
}

pub(crate) async fn a_job_that_has_ended_already_cannot_have_been_cancelled(store: Store) {
    let by = stranger(&*store, at(1)).await;
    let refused = store
        .submit_ended(new_job(1), by, ending(End::Cancelled, 9), Vec::new())
        .await;
    assert!(
        matches!(refused, Err(Error::NotCancelling(_))),
        "{refused:?}"
    );
    assert_eq!(store.get(id(1)).await.unwrap(), None);
    assert_eq!(store.counts().await.unwrap(), Counts::default());
}

pub(crate) async fn a_job_ends_as_cancelled_only_when_asked_to(store: Store) {
    let lease = start(&*store, new_job(1)).await.lease;
    let refused = store
        .finish(&lease, ending(End::Cancelled, 9), vec![event(1)])
        .await;
    assert!(
        matches!(refused, Err(Error::NotCancelling(_))),
        "{refused:?}"
    );
    assert!(store.events(id(1), 0, 10).await.unwrap().is_empty());
    store.request_cancel(id(1), at(9)).await.unwrap();
    let job = store
        .finish(&lease, ending(End::Cancelled, 10), Vec::new())
        .await
        .unwrap();
    assert_eq!(
        (job.status, job.completed_at),
        (Status::Cancelled, Some(at(10)))
    );
}

pub(crate) async fn a_cancelling_job_may_still_complete(store: Store) {
    let lease = start(&*store, new_job(1)).await.lease;
    store.request_cancel(id(1), at(2)).await.unwrap();
    let job = store
        .finish(&lease, completed(3), Vec::new())
        .await
        .unwrap();
    assert_eq!(job.status, Status::Completed);
}

pub(crate) async fn the_last_events_are_stored_with_the_end(store: Store) {
    let lease = start(&*store, new_job(1)).await.lease;
    store
        .checkpoint(&lease, None, vec![event(1)])
        .await
        .unwrap();
    store
        .finish(&lease, completed(3), vec![event(2), event(3)])
        .await
        .unwrap();
    assert_eq!(
        store.events(id(1), 0, 10).await.unwrap(),
        [event(1), event(2), event(3)]
    );
}

pub(crate) async fn an_event_saved_again_is_stored_once(store: Store) {
    let lease = start(&*store, new_job(1)).await.lease;
    store
        .checkpoint(&lease, None, vec![event(1), event(2)])
        .await
        .unwrap();
    store
        .checkpoint(&lease, None, vec![event(2), event(3)])
        .await
        .unwrap();
    store
        .finish(&lease, completed(3), vec![event(3), event(4)])
        .await
        .unwrap();
    assert_eq!(
        store.events(id(1), 0, 10).await.unwrap(),
        [1, 2, 3, 4].map(event)
    );
}

pub(crate) async fn events_are_read_from_any_position(store: Store) {
    let lease = start(&*store, new_job(1)).await.lease;
    let numbers = [1, 2, 5, 6];
    store
        .checkpoint(&lease, None, numbers.map(event).to_vec())
        .await
        .unwrap();
    for after in 0..=7 {
        let expected: Vec<_> = numbers
            .into_iter()
            .filter(|number| *number > after)
            .map(event)
            .collect();
        assert_eq!(
            store.events(id(1), after, 10).await.unwrap(),
            expected,
            "after {after}"
        );
        assert_eq!(
            store.events(id(1), after, 1).await.unwrap(),
            expected[..expected.len().min(1)],
            "after {after}"
        );
    }
    assert!(store.events(id(2), 0, 10).await.unwrap().is_empty());
}

pub(crate) async fn many_positions_are_read_at_once(store: Store) {
    let first = start(&*store, new_job(1)).await.lease;
    store
        .checkpoint(&first, None, [1, 2, 5].map(event).to_vec())
        .await
        .unwrap();
    let second = start(&*store, new_job(2)).await.lease;
    store
        .finish(&second, completed(9), [1, 2, 3].map(event).to_vec())
        .await
        .unwrap();
    start(&*store, new_job(3)).await;
    let positions = [
        (2, 1),
        (9, 0),
        (1, 0),
        (3, 0),
        (1, 2),
        (2, u64::MAX),
        (2, 0),
    ];
    let positions = positions.map(|(number, after)| (id(number), after));
    let expected = |events: &[u64], status| {
        Some(Tail {
            status,
            events: events.iter().copied().map(event).collect(),
        })
    };
    let tails = store.tails(&positions, 2).await.unwrap();
    assert_eq!(
        tails,
        [
            expected(&[2, 3], Status::Completed),
            None,
            expected(&[1, 2], Status::Running),
            expected(&[], Status::Running),
            expected(&[5], Status::Running),
            expected(&[], Status::Completed),
            expected(&[1, 2], Status::Completed),
        ]
    );
    assert!(store.tails(&[], 2).await.unwrap().is_empty());
}

pub(crate) async fn the_oldest_events_of_a_very_long_job_go(store: Store) {
    let lease = start(&*store, new_job(1)).await.lease;
    let most = MAX_EVENTS as u64;
    store
        .checkpoint(&lease, None, (1..=most).map(event).collect())
        .await
        .unwrap();
    store
        .checkpoint(&lease, None, vec![event(most + 1), event(most + 2)])
        .await
        .unwrap();
    assert_eq!(store.events(id(1), 0, 1).await.unwrap(), [event(3)]);
    assert_eq!(
        store.events(id(1), most, 9).await.unwrap(),
        [event(most + 1), event(most + 2)]
    );
}

pub(crate) async fn work_outlives_the_end(store: Store) {
    let lease = start(&*store, new_job(1)).await.lease;
    store
        .checkpoint(&lease, Some(progress(4)), Vec::new())
        .await
        .unwrap();
    store
        .finish(&lease, ending(End::Failed, 9), Vec::new())
        .await
        .unwrap();
    let workload = store.workload(id(1)).await.unwrap().unwrap();
    assert_eq!(
        (workload.inputs, workload.progress),
        (new_job(1).workload.inputs, Some(progress(4)))
    );
    assert_eq!(store.workload(id(2)).await.unwrap(), None);
}
