//! Replicas: who is alive, what a beat tells, and what becomes of the jobs of one that is gone.

use jobs::store::{Beat, Error, Lease, Renewal, Replica, ReplicaId};

use super::Store;
use super::leases::assert_lost;
use super::parking::approval;
use crate::fixtures::{
    LEASE, at, claim, claiming, completed, event, id, naming, new_job, progress, register, replica,
    start, start_as, stranger, submit,
};

async fn beat(store: &Store, by: ReplicaId, leases: &[Lease], second: i64) -> Beat {
    store.beat(by, naming(leases), at(second)).await.unwrap()
}

fn assert_fenced(result: &Result<Beat, Error>, by: ReplicaId) {
    assert!(
        matches!(result, Err(Error::Fenced(replica)) if *replica == by),
        "{result:?}"
    );
}

async fn alive(store: &Store) -> Vec<ReplicaId> {
    let replicas = store.replicas().await.unwrap();
    replicas.into_iter().map(|replica| replica.id).collect()
}

pub(crate) async fn a_beat_extends_the_lease_of_all_jobs(store: Store) {
    let by = register(&*store, "a", 1).await;
    for number in [1, 2] {
        start_as(&*store, by, new_job(number)).await;
    }
    beat(&store, by, &[], 20).await;
    assert!(claim(&*store, 9, 49).await.is_empty());
    assert_eq!(claim(&*store, 9, 50).await.len(), 2);
}

pub(crate) async fn a_lapsed_lease_that_nobody_took_is_still_held(store: Store) {
    let long_after = 10_000;
    let claimed = start(&*store, new_job(1)).await;
    store
        .checkpoint(&claimed.lease, Some(progress(1)), vec![event(1)])
        .await
        .unwrap();
    let told = beat(&store, claimed.lease.replica, &[claimed.lease], long_after).await;
    assert_eq!(told, Beat::default());
    assert!(claim(&*store, 1, long_after).await.is_empty());
}

pub(crate) async fn a_replica_that_was_declared_dead_is_fenced(store: Store) {
    let claimed = start(&*store, new_job(1)).await;
    let gone = claimed.lease.replica;
    let other = stranger(&*store, at(31)).await;
    let taken = store.claim(other, 1, at(31)).await.unwrap();
    assert_eq!(taken[0].job.id, id(1));
    for second in [31, 32] {
        let told = store.beat(gone, naming(&[claimed.lease]), at(second)).await;
        assert_fenced(&told, gone);
    }
    assert_lost(&store, &claimed.lease).await;
    submit(&*store, new_job(2)).await;
    assert!(store.claim(gone, 9, at(32)).await.unwrap().is_empty());
    assert_eq!(alive(&store).await, [other]);
}

/// (A report: a worker that was paused longer than its lease went on writing beside the one that
/// had taken its job over.)
pub(crate) async fn a_paused_replica_cannot_write_after_a_takeover(store: Store) {
    let paused = start(&*store, new_job(1)).await.lease;
    let taken = claim(&*store, 1, 60).await.remove(0);
    assert_lost(&store, &paused).await;
    // What the other has done since stays, too.
    store
        .checkpoint(&taken.lease, Some(progress(2)), vec![event(1)])
        .await
        .unwrap();
    assert_lost(&store, &paused).await;
    store
        .finish(&taken.lease, completed(61), Vec::new())
        .await
        .unwrap();
    assert_lost(&store, &paused).await;
}

pub(crate) async fn a_claim_that_finds_no_job_declares_replicas_dead_as_well(store: Store) {
    let gone = register(&*store, "gone", 1).await;
    assert!(claim(&*store, 1, 31).await.is_empty());
    assert_fenced(&store.beat(gone, naming(&[]), at(31)).await, gone);
}

pub(crate) async fn until_its_job_is_taken_a_dead_replica_may_still_write(store: Store) {
    let gone = register(&*store, "gone", 1).await;
    let taken = start_as(&*store, gone, new_job(1)).await.lease;
    let left = start_as(&*store, gone, new_job(2)).await.lease;
    assert_eq!(claim(&*store, 1, 60).await[0].job.id, id(1));
    assert_lost(&store, &taken).await;
    store
        .checkpoint(&left, Some(progress(1)), vec![event(1)])
        .await
        .unwrap();
    store
        .finish(&left, completed(61), Vec::new())
        .await
        .unwrap();
    assert!(claim(&*store, 9, 61).await.is_empty());
}

pub(crate) async fn a_beat_names_the_leases_that_are_lost(store: Store) {
    let by = register(&*store, "a", 1).await;
    let ended = start_as(&*store, by, new_job(1)).await.lease;
    let held = start_as(&*store, by, new_job(2)).await.lease;
    let handed_back = start_as(&*store, by, new_job(3)).await.lease;
    let parked = start_as(&*store, by, new_job(4)).await.lease;
    store
        .finish(&ended, completed(5), Vec::new())
        .await
        .unwrap();
    store.hand_back(&handed_back).await.unwrap();
    store
        .park(&parked, approval(), None, Vec::new())
        .await
        .unwrap();
    let missing = Lease { job: id(9), ..held };
    let stale = Lease { token: 0, ..held };
    let named = [ended, held, handed_back, parked, missing];
    let mut told = beat(&store, by, &named, 6).await;
    told.lost.sort_by_key(|lease| lease.job);
    let expected = Beat {
        lost: vec![ended, handed_back, parked, missing],
        ..Beat::default()
    };
    assert_eq!(told, expected);
    let told = beat(&store, by, &[stale], 6).await;
    assert_eq!((told.lost, told.unnamed), (vec![stale], vec![held]));
}

pub(crate) async fn a_job_that_was_claimed_again_is_lost_under_its_old_lease_only(store: Store) {
    let by = register(&*store, "a", 1).await;
    let old = start_as(&*store, by, new_job(1)).await.lease;
    store.hand_back(&old).await.unwrap();
    let new = store.claim(by, 1, at(2)).await.unwrap()[0].lease;
    let expected = Beat {
        lost: vec![old],
        ..Beat::default()
    };
    for named in [[old, new], [new, old]] {
        assert_eq!(beat(&store, by, &named, 3).await, expected);
    }
}

pub(crate) async fn a_beat_tells_of_a_cancel(store: Store) {
    let by = register(&*store, "a", 1).await;
    let first = start_as(&*store, by, new_job(1)).await.lease;
    let second = start_as(&*store, by, new_job(2)).await.lease;
    store.request_cancel(id(1), at(2)).await.unwrap();
    let expected = Beat {
        cancelling: vec![id(1)],
        ..Beat::default()
    };
    assert_eq!(beat(&store, by, &[first, second], 3).await, expected);
}

/// (A report: a claim whose answer was lost left its jobs running nowhere for ever.)
pub(crate) async fn a_beat_finds_the_jobs_of_a_claim_whose_answer_was_lost(store: Store) {
    let by = register(&*store, "a", 1).await;
    let known = start_as(&*store, by, new_job(1)).await.lease;
    submit(&*store, new_job(2)).await;
    let lost = store.claim(by, 9, at(3)).await.unwrap().remove(0).lease;
    let also_lost = start_as(&*store, by, new_job(3)).await.lease;
    let mut told = beat(&store, by, &[known], 4).await;
    told.unnamed.sort_by_key(|lease| lease.job);
    let expected = Beat {
        unnamed: vec![lost, also_lost],
        ..Beat::default()
    };
    assert_eq!(told, expected);
    // They can be handed back by what the beat told.
    store.hand_back(&told.unnamed[0]).await.unwrap();
    let told = beat(&store, by, &[known, also_lost], 5).await;
    assert_eq!(told, Beat::default());
}

pub(crate) async fn jobs_of_others_are_not_told(store: Store) {
    let first = register(&*store, "a", 1).await;
    let second = register(&*store, "b", 1).await;
    let of_first = start_as(&*store, first, new_job(1)).await.lease;
    start_as(&*store, second, new_job(2)).await;
    assert_eq!(beat(&store, first, &[of_first], 3).await, Beat::default());
    store.request_cancel(id(2), at(4)).await.unwrap();
    assert!(store.cancelling(first).await.unwrap().is_empty());
    assert_eq!(store.cancelling(second).await.unwrap(), [id(2)]);
}

pub(crate) async fn jobs_that_were_asked_to_stop_are_told_between_beats(store: Store) {
    let by = register(&*store, "a", 1).await;
    let lease = start_as(&*store, by, new_job(1)).await.lease;
    start_as(&*store, by, new_job(2)).await;
    assert!(store.cancelling(by).await.unwrap().is_empty());
    store.request_cancel(id(1), at(2)).await.unwrap();
    assert_eq!(store.cancelling(by).await.unwrap(), [id(1)]);
    store
        .finish(&lease, completed(3), Vec::new())
        .await
        .unwrap();
    assert!(store.cancelling(by).await.unwrap().is_empty());
}

pub(crate) async fn a_replica_that_is_not_registered_claims_nothing(store: Store) {
    submit(&*store, new_job(1)).await;
    let overdue = jobs::job::NewJob {
        deadline: Some(at(3)),
        ..new_job(2)
    };
    submit(&*store, overdue).await;
    let unknown = replica("unknown").id;
    let running = std::collections::BTreeMap::new();
    for claimed in [
        store.claim(unknown, 9, at(5)).await,
        store.claim_fairly(unknown, 9, &running, at(5)).await,
        store.claim_overdue(unknown, 9, at(5)).await,
    ] {
        assert!(claimed.unwrap().is_empty());
    }
    assert_fenced(&store.beat(unknown, naming(&[]), at(5)).await, unknown);
    assert!(store.cancelling(unknown).await.unwrap().is_empty());
    assert_eq!(claim(&*store, 9, 5).await.len(), 2);
}

pub(crate) async fn a_job_submitted_by_a_replica_that_is_not_alive_has_lapsed(store: Store) {
    let unknown = replica("unknown").id;
    let left = register(&*store, "left", 1).await;
    store.deregister(left).await.unwrap();
    let by = register(&*store, "a", 1).await;
    for (number, gone) in [(1, unknown), (2, left)] {
        // Before it there was nothing to find.
        assert!(store.claim(by, 9, at(3)).await.unwrap().is_empty());
        start_as(&*store, gone, new_job(number)).await;
        let claimed = store.claim(by, 9, at(3)).await.unwrap();
        let claimed: Vec<_> = claimed
            .iter()
            .map(|claimed| (claimed.job.id, claimed.was_lost))
            .collect();
        assert_eq!(claimed, [(id(number.into()), true)]);
    }
}

pub(crate) async fn the_jobs_of_a_replica_that_leaves_have_lapsed(store: Store) {
    let leaves = register(&*store, "leaves", 1).await;
    let stays = register(&*store, "stays", 1).await;
    let lease = start_as(&*store, leaves, new_job(1)).await.lease;
    start_as(&*store, stays, new_job(2)).await;
    // Repeated, it changes nothing more.
    for _ in 0..2 {
        store.deregister(leaves).await.unwrap();
    }
    assert_eq!(alive(&store).await, [stays]);
    assert_fenced(&store.beat(leaves, naming(&[lease]), at(3)).await, leaves);
    let claimed = claim(&*store, 9, 3).await;
    assert_eq!((claimed.len(), claimed[0].job.id), (1, id(1)));
    assert!(claimed[0].was_lost);
    assert_lost(&store, &lease).await;
}

pub(crate) async fn a_fenced_replica_goes_on_under_a_fresh_id(store: Store) {
    let before = register(&*store, "before", 1).await;
    let lease = start_as(&*store, before, new_job(1)).await.lease;
    let taken = claim(&*store, 1, 31).await;
    assert_eq!(taken.len(), 1);
    assert_fenced(&store.beat(before, naming(&[lease]), at(32)).await, before);
    let after = register(&*store, "after", 32).await;
    submit(&*store, new_job(2)).await;
    let claimed = store.claim(after, 9, at(33)).await.unwrap();
    assert_eq!(claimed[0].job.id, id(2));
    // What it held in its earlier life is not its own.
    let told = beat(&store, after, &[claimed[0].lease, lease], 34).await;
    let expected = Beat {
        lost: vec![lease],
        ..Beat::default()
    };
    assert_eq!(told, expected);
    assert_lost(&store, &lease).await;
}

pub(crate) async fn registering_again_under_the_same_id_extends_the_lease(store: Store) {
    let by = register(&*store, "a", 1).await;
    let lease = start_as(&*store, by, new_job(1)).await.lease;
    register(&*store, "a", 20).await;
    assert_eq!(alive(&store).await, [by]);
    assert!(claim(&*store, 9, 49).await.is_empty());
    assert_eq!(beat(&store, by, &[lease], 49).await, Beat::default());
}

/// A token alone does not make a lease: after a failover that lost commits, tokens repeat.
pub(crate) async fn a_lease_is_that_of_one_replica(store: Store) {
    let by = register(&*store, "a", 1).await;
    let other = register(&*store, "b", 1).await;
    let lease = start_as(&*store, by, new_job(1)).await.lease;
    let of_other = Lease {
        replica: other,
        ..lease
    };
    assert_lost(&store, &of_other).await;
    store
        .checkpoint(&lease, Some(progress(1)), vec![event(1)])
        .await
        .unwrap();
    store
        .finish(&lease, completed(3), Vec::new())
        .await
        .unwrap();
    assert_lost(&store, &of_other).await;
}

pub(crate) async fn replicas_are_told_with_what_they_hold(store: Store) {
    assert!(store.replicas().await.unwrap().is_empty());
    // The first one has the greater id.
    let first = register(&*store, "b", 1).await;
    let second = replica("a");
    let second = Replica {
        version: "2".into(),
        lease_for: 2 * LEASE,
        ..second
    };
    store.register(&second, at(2)).await.unwrap();
    for number in 1..=3 {
        start_as(&*store, first, new_job(number)).await;
    }
    let lease = start_as(&*store, second.id, new_job(4)).await.lease;
    store.request_cancel(id(1), at(5)).await.unwrap();
    let told = store.replicas().await.unwrap();
    let of = |replica: &jobs::store::ReplicaState| {
        (
            replica.id,
            (replica.name.to_string(), replica.version.to_string()),
            (replica.running, replica.is_draining),
            replica.lease_until,
        )
    };
    let text = |name: &str, version: &str| (name.to_owned(), version.to_owned());
    assert_eq!(
        told.iter().map(of).collect::<Vec<_>>(),
        [
            (first, text("b", "1"), (3, false), at(1) + LEASE),
            (second.id, text("a", "2"), (1, false), at(2) + 2 * LEASE),
        ]
    );
    let draining = Renewal {
        is_draining: true,
        lease_for: 3 * LEASE,
        leases: &[lease],
    };
    store.beat(second.id, draining, at(6)).await.unwrap();
    store
        .finish(&lease, completed(7), Vec::new())
        .await
        .unwrap();
    let told = store.replicas().await.unwrap();
    assert_eq!(
        of(&told[1]),
        (second.id, text("a", "2"), (0, true), at(6) + 3 * LEASE)
    );
}

/// Many replicas take the jobs of one that is gone, each job once.
pub(crate) async fn the_jobs_of_a_dead_replica_are_shared_out_once(store: Store) {
    const JOBS: u32 = 60;
    let gone = register(&*store, "gone", 1).await;
    for number in 1..=JOBS {
        start_as(&*store, gone, new_job(number)).await;
    }
    let mut claims = tokio::task::JoinSet::new();
    for name in ["a", "b", "c", "d"] {
        let by = register(&*store, name, 100).await;
        let store = store.clone();
        claims.spawn(async move {
            let mut all = Vec::new();
            loop {
                let some = store.claim(by, 7, at(100)).await.unwrap();
                if some.is_empty() {
                    return all;
                }
                assert!(some.iter().all(|claimed| claimed.was_lost));
                all.extend(some.iter().map(|claimed| claimed.job.id));
                tokio::task::yield_now().await;
            }
        });
    }
    let mut all = claims.join_all().await.concat();
    all.sort();
    assert_eq!(all, (1..=u128::from(JOBS)).map(id).collect::<Vec<_>>());
}

/// Whenever a replica leaves, before, while or after it is given jobs.
pub(crate) async fn no_job_is_left_behind_with_a_replica_that_leaves(store: Store) {
    const ROUNDS: u32 = 60;
    for round in 0..ROUNDS {
        let by = stranger(&*store, at(1)).await;
        let other = stranger(&*store, at(1)).await;
        for number in 1..=3 {
            submit(&*store, new_job(5 * round + number)).await;
        }
        let submitted = |number| {
            let options = claiming(by);
            store.submit(new_job(5 * round + number), options)
        };
        let (first, claimed, left, second, also_claimed) = tokio::join!(
            submitted(4),
            store.claim(by, 2, at(2)),
            store.deregister(by),
            submitted(5),
            store.claim(other, 1, at(2)),
        );
        left.unwrap();
        assert!(first.is_ok() && second.is_ok() && claimed.is_ok() && also_claimed.is_ok());
        store.deregister(other).await.unwrap();
        if round % 7 == 0 {
            // What has lapsed is found now, or later.
            claim(&*store, 3, 3).await;
        }
    }
    for replica in alive(&store).await {
        store.deregister(replica).await.unwrap();
    }
    let by = stranger(&*store, at(4)).await;
    let claimed = store.claim(by, usize::MAX, at(4)).await.unwrap();
    assert_eq!(claimed.len(), 5 * ROUNDS as usize);
    assert_eq!(store.counts().await.unwrap().running, claimed.len());
}

pub(crate) async fn the_oldest_of_all_lapsed_jobs_are_claimed_first(store: Store) {
    let names = ["c", "a", "b"];
    for name in names {
        register(&*store, name, 1).await;
    }
    for number in 1..=9_u32 {
        let by = replica(names[(number % 3) as usize]).id;
        let claimed = store.submit(new_job(number), claiming(by)).await.unwrap();
        assert!(matches!(claimed, jobs::store::Submitted::New(Some(_))));
    }
    let by = stranger(&*store, at(60)).await;
    for expected in [[1, 2, 3], [4, 5, 6], [7, 8, 9]] {
        let claimed = store.claim(by, 3, at(60)).await.unwrap();
        let claimed: Vec<_> = claimed.iter().map(|claimed| claimed.job.id).collect();
        assert_eq!(claimed, expected.map(id));
    }
}
