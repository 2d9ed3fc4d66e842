//! How many jobs an owner may have at once: counted from the jobs themselves, so that nothing leaks
//! whatever becomes of a job.

use std::sync::Arc;

use jobs::job::{End, JobId, NewJob};
use jobs::store::{Error, OwnerLimits, SubmitOptions, Submitted, Unfinished};
use tokio::task::JoinSet;

use super::Store;
use crate::fixtures::{
    at, claim, claiming, completed, ending, id, keyed, new_job, register, start, submit,
};

fn owned(number: u32) -> NewJob {
    NewJob {
        owner: Some("shop".into()),
        ..new_job(number)
    }
}

fn limits(max_running: Option<u32>, max_queued: Option<u32>) -> SubmitOptions {
    SubmitOptions {
        owner_limits: OwnerLimits {
            max_running,
            max_queued,
        },
        ..SubmitOptions::default()
    }
}

/// Submits a job, and tells what became of it.
async fn told(store: &Store, job: NewJob, options: SubmitOptions) -> String {
    match store.submit(job, options).await {
        Ok(Submitted::New(None)) => "queued".to_owned(),
        Ok(Submitted::New(Some(_))) => "claimed".to_owned(),
        Ok(Submitted::Existing(job)) => format!("job {}", job.id.0.as_u128()),
        Err(Error::OwnerLimited { is_queue, most }) => {
            let kind = if is_queue { "queued" } else { "unfinished" };
            format!("{most} {kind} already")
        }
        other => panic!("{other:?}"),
    }
}

async fn standing(store: &Store) -> (usize, usize) {
    let counted = store.unfinished(Some("shop")).await.unwrap();
    let owned = counted.get("shop").copied().unwrap_or_default();
    (owned.running, owned.queued)
}

pub(crate) async fn unfinished_jobs_are_counted_by_owner(store: Store) {
    assert!(store.unfinished(None).await.unwrap().is_empty());
    submit(&*store, new_job(1)).await;
    submit(&*store, owned(2)).await;
    let begun = start(&*store, owned(3)).await;
    let other = NewJob {
        owner: Some("other".into()),
        ..new_job(4)
    };
    submit(&*store, other).await;
    let all = store.unfinished(None).await.unwrap();
    let counted = |owner: &str| all.get(owner).copied();
    let expected = Unfinished {
        running: 1,
        queued: 1,
    };
    assert_eq!(counted("shop"), Some(expected));
    assert_eq!(counted("other").map(|owned| owned.queued), Some(1));
    assert_eq!(all.len(), 2);
    let end = completed(9);
    store.finish(&begun.lease, end, Vec::new()).await.unwrap();
    assert_eq!(standing(&store).await, (0, 1));
    assert!(store.unfinished(Some("x")).await.unwrap().is_empty());
}

pub(crate) async fn an_owner_has_so_many_unfinished_jobs_and_no_more(store: Store) {
    let by = register(&*store, "r", 0).await;
    let claimed = || SubmitOptions {
        claim: Some(by),
        ..limits(Some(2), None)
    };
    assert_eq!(told(&store, owned(1), claimed()).await, "claimed");
    assert_eq!(
        told(&store, owned(2), limits(Some(2), None)).await,
        "queued"
    );
    for options in [claimed(), limits(Some(2), None)] {
        assert_eq!(
            told(&store, owned(3), options).await,
            "2 unfinished already"
        );
    }
    assert!(
        store.get(id(3)).await.unwrap().is_none(),
        "nothing was stored"
    );
    // Others are not counted with them, nor are those without an owner.
    assert_eq!(
        told(&store, new_job(4), limits(Some(2), None)).await,
        "queued"
    );
    // Who has no limit has none.
    assert_eq!(told(&store, owned(5), claiming(by)).await, "claimed");
}

pub(crate) async fn an_owner_has_so_many_queued_jobs_and_no_more(store: Store) {
    let by = register(&*store, "r", 0).await;
    let claimed = SubmitOptions {
        claim: Some(by),
        ..limits(None, Some(1))
    };
    assert_eq!(
        told(&store, owned(1), limits(None, Some(1))).await,
        "queued"
    );
    let another = told(&store, owned(2), limits(None, Some(1))).await;
    assert_eq!(another, "1 queued already");
    // One that is claimed at once does not queue.
    assert_eq!(told(&store, owned(3), claimed).await, "claimed");
    // One that was claimed does not queue any more.
    assert_eq!(claim(&*store, 1, 3).await.len(), 1);
    assert_eq!(
        told(&store, owned(4), limits(None, Some(1))).await,
        "queued"
    );
    let none = told(&store, owned(5), limits(None, Some(0))).await;
    assert_eq!(none, "0 queued already");
}

/// (Reports: permits leaked or were given back twice in an outage.)
pub(crate) async fn whatever_becomes_of_a_job_its_place_is_free_after_it(store: Store) {
    let by = register(&*store, "r", 0).await;
    let full = || SubmitOptions {
        claim: Some(by),
        ..limits(Some(1), None)
    };
    let begin = async |number| {
        let submitted = store.submit(owned(number), full()).await.unwrap();
        let Submitted::New(Some(claimed)) = submitted else {
            panic!("{submitted:?}");
        };
        assert_eq!(
            told(&store, owned(99), full()).await,
            "1 unfinished already"
        );
        claimed.lease
    };
    let lease = begin(1).await;
    for _ in 0..2 {
        store
            .finish(&lease, completed(1), Vec::new())
            .await
            .unwrap();
    }
    let lease = begin(2).await;
    let failed = ending(End::Failed, 2);
    store.finish(&lease, failed, Vec::new()).await.unwrap();
    let lease = begin(3).await;
    store.hand_back(&lease).await.unwrap();
    assert_eq!(
        told(&store, owned(99), full()).await,
        "1 unfinished already"
    );
    store.request_cancel(id(3), at(3)).await.unwrap();
    // Its replica is gone, and another one ends it.
    let lost = begin(4).await;
    let taken = claim(&*store, 1, 1_000).await.remove(0);
    assert_eq!(
        told(&store, owned(99), full()).await,
        "1 unfinished already"
    );
    let end = completed(4);
    store.finish(&taken.lease, end, Vec::new()).await.unwrap();
    assert!(store.finish(&lost, completed(5), Vec::new()).await.is_err());
    assert_eq!(standing(&store).await, (0, 0));
    begin(5).await;
}

pub(crate) async fn a_submission_repeated_is_not_kept_out_by_the_place_it_has_taken(store: Store) {
    let by = register(&*store, "r", 0).await;
    let claimed = || SubmitOptions {
        claim: Some(by),
        ..limits(Some(2), Some(1))
    };
    for _ in 0..2 {
        assert_eq!(told(&store, owned(1), claimed()).await, "claimed");
        let queued = told(&store, owned(2), limits(Some(2), Some(1))).await;
        assert_eq!(queued, "queued");
    }
    assert_eq!(standing(&store).await, (1, 1));
}

pub(crate) async fn a_known_key_is_found_though_its_owner_may_have_no_more(store: Store) {
    let job = |number: u32, key: &str| NewJob {
        owner: Some("shop".into()),
        ..keyed(number, "shop", key, "f")
    };
    let one = || limits(Some(1), None);
    assert_eq!(told(&store, job(1, "k"), one()).await, "queued");
    assert_eq!(told(&store, job(2, "k"), one()).await, "job 1");
    let refused = told(&store, job(2, "l"), one()).await;
    assert_eq!(refused, "1 unfinished already");
    // The key of a refused job is free.
    store.request_cancel(id(1), at(1)).await.unwrap();
    assert_eq!(told(&store, job(3, "l"), one()).await, "queued");
}

pub(crate) async fn many_submissions_at_once_stay_within_the_limit(store: Store) {
    let mut submissions = JoinSet::new();
    for number in 1..=60 {
        let store: Store = Arc::clone(&store);
        submissions.spawn(async move {
            let submitted = store.submit(owned(number), limits(Some(7), Some(5))).await;
            submitted.is_ok().then_some(id(number.into()))
        });
    }
    let stored: Vec<JobId> = submissions.join_all().await.into_iter().flatten().collect();
    assert_eq!(stored.len(), 5);
    assert_eq!(standing(&store).await, (0, 5));
}
