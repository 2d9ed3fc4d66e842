//! Who is alive, as several handles of one database see it.

use futures_util::future::{join, join_all};
use jobs::store::{Beat, Error, JobStore, Lease, ReplicaId};
use testing::postgres::{database, sweep};

use super::at_callers_time;
use crate::conformance::leases::assert_lost;
use crate::fixtures::{at, id, naming, new_job, register, start_as, stranger};

/// (A report: a heartbeat that came late renewed a claim beside the one that had replaced it.)
#[tokio::test]
async fn a_late_beat_and_a_declaration_of_death_do_not_both_win() {
    const REPLICAS: u32 = 100;
    let Some(database) = database() else { return };
    let beating = at_callers_time(&database).await;
    let claiming = at_callers_time(&database).await;
    let mut leases: Vec<Lease> = Vec::new();
    for number in 1..=REPLICAS {
        let by = stranger(&beating, at(number.into())).await;
        leases.push(start_as(&beating, by, new_job(number)).await.lease);
    }
    let now = at(1_000);
    let beats = join_all(leases.iter().map(async |lease| {
        beating
            .beat(lease.replica, naming(std::slice::from_ref(lease)), now)
            .await
    }));
    let claims = async {
        let by = stranger(&claiming, now).await;
        let mut claimed = Vec::new();
        for _ in 0..20 {
            claimed.extend(claiming.claim(by, 20, now).await.unwrap());
        }
        claimed
    };
    let (beats, claimed) = join(beats, claims).await;
    let taken: Vec<_> = claimed.iter().map(|claimed| claimed.job.id).collect();
    for (lease, beat) in leases.iter().zip(beats) {
        match beat {
            Ok(told) => {
                assert_eq!(told, Beat::default());
                assert!(!taken.contains(&lease.job), "{lease:?}");
            }
            Err(Error::Fenced(by)) => assert_eq!(by, lease.replica),
            Err(error) => panic!("{error}"),
        }
    }
    // What no claim has found yet, the next ones do.
    let by = stranger(&claiming, now).await;
    claiming.claim(by, 100, now).await.unwrap();
    assert_eq!(sweep(&database), [""; 0]);
}

/// After a failover that lost commits, the numbers of tokens repeat.
#[tokio::test]
async fn a_token_of_the_same_number_does_not_make_the_lease_of_another_replica_good() {
    let Some(database) = database() else { return };
    let store: crate::conformance::Store = std::sync::Arc::new(at_callers_time(&database).await);
    let before = register(&*store, "before", 1).await;
    let lost = start_as(&*store, before, new_job(1)).await.lease;
    let after = stranger(&*store, at(60)).await;
    let taken = store.claim(after, 1, at(60)).await.unwrap().remove(0);
    database.query("UPDATE flowmill.active SET token = 1");
    let held = Lease {
        token: 1,
        ..taken.lease
    };
    assert_eq!((held.job, held.token), (lost.job, lost.token));
    assert_lost(&store, &lost).await;
    store.checkpoint(&held, None, Vec::new()).await.unwrap();
    store.hand_back(&held).await.unwrap();
}

#[tokio::test]
async fn a_beat_of_a_full_replica_is_one_statement() {
    const JOBS: usize = 16_384;
    let Some(database) = database() else { return };
    let store = at_callers_time(&database).await;
    let by = register(&store, "a", 1).await;
    database.query(&format!(
        "INSERT INTO flowmill.active
             (job, workflow, level, status, token, replica, attempts, starts)
         SELECT lpad(to_hex(n), 32, '0')::uuid, 'w', 1, 1, 7, '{by}', 7, 1
         FROM generate_series(1, {JOBS}) n"
    ));
    let lease = |number: usize| Lease {
        job: id(number as u128),
        token: 7,
        replica: by,
    };
    let named: Vec<Lease> = (2..=JOBS + 1).map(lease).collect();
    let before = store.activity();
    let told = store.beat(by, naming(&named), at(20)).await.unwrap();
    assert_eq!(store.activity().statements - before.statements, 1);
    let expected = Beat {
        lost: vec![lease(JOBS + 1)],
        unnamed: vec![lease(1)],
        ..Beat::default()
    };
    assert_eq!(told, expected);
    let running = store.replicas().await.unwrap()[0].running;
    assert_eq!(running, JOBS);
}

#[tokio::test]
async fn an_id_that_was_declared_dead_cannot_be_registered_again() {
    let Some(database) = database() else { return };
    let store = at_callers_time(&database).await;
    let gone: ReplicaId = register(&store, "gone", 1).await;
    // While a job refers to it.
    start_as(&store, gone, new_job(1)).await;
    store.deregister(gone).await.unwrap();
    let again = store
        .register(&crate::fixtures::replica("gone"), at(2))
        .await;
    assert!(
        matches!(again, Err(Error::Fenced(by)) if by == gone),
        "{again:?}"
    );
}
