//! Deliveries that several replicas claim.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use jobs::job::{Ending, NewJob};
use jobs::store::{Error, JobStore};
use jobs::webhook::{DeliveryCapacity, Settlement};
use tokio::task::JoinSet;

use super::filled::{insert_ended, make_due, rows_read, without_autovacuum};
use super::{any_time, open};
use crate::fixtures::{completed, hooked, start};

const LEASE: Duration = Duration::from_secs(90);

fn capacity(total: usize, per_host: usize) -> DeliveryCapacity {
    DeliveryCapacity {
        total,
        per_host,
        ..DeliveryCapacity::default()
    }
}

/// (The clock of one replica is wrong.)
#[tokio::test]
async fn the_webhook_of_a_replica_whose_clock_is_fast_is_due_at_once() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let store = open(&database).await;
    let fast = Timestamp::from_second(4_000_000_000).unwrap();
    let ending = || Ending {
        at: fast,
        ..completed(0)
    };
    let job = |number| NewJob {
        created_at: fast,
        ..hooked(number, "a")
    };
    let lease = start(&store, job(1)).await.lease;
    let ended = store.finish(&lease, ending(), Vec::new()).await.unwrap();
    assert_eq!(ended.completed_at, Some(fast));
    store
        .submit_ended(job(2), lease.replica, ending(), Vec::new())
        .await
        .unwrap();
    let claimed = store
        .claim_deliveries(&capacity(9, 9), LEASE, any_time())
        .await
        .unwrap();
    assert_eq!(claimed.len(), 2);
}

/// As above, of the next try: the replica says after how long, and the server's clock from when.
#[tokio::test]
async fn the_next_try_of_a_replica_whose_clock_is_wrong_is_due_in_time() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let store = open(&database).await;
    insert_ended(&database, 2);
    make_due(&database, "a", "1, 2");
    let claimed = store
        .claim_deliveries(&capacity(9, 9), LEASE, any_time())
        .await
        .unwrap();
    let settlements = [
        Settlement::TryAgain {
            after: Duration::from_secs(60),
            error: "it was busy".into(),
        },
        Settlement::HandedBack,
    ];
    let fast = Timestamp::from_second(4_000_000_000).unwrap();
    for (delivery, settlement) in claimed.iter().zip(settlements) {
        store
            .settle_delivery(&delivery.lease, settlement, fast)
            .await
            .unwrap();
    }
    let due = database.query(
        "SELECT due_at BETWEEN now() AND now() + interval '1 minute', due_at <= now()
         FROM flowmill.webhooks ORDER BY due_at",
    );
    assert_eq!(due, [["f", "t"], ["t", "f"]]);
}

#[tokio::test]
async fn handles_that_claim_at_once_share_no_delivery() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let mut handles = vec![open(&database).await];
    insert_ended(&database, 400);
    for (host, jobs) in [
        ("a", "1, 100"),
        ("b", "101, 200"),
        ("c", "201, 300"),
        ("d", "301, 400"),
    ] {
        make_due(&database, host, jobs);
    }
    for _ in 1..4 {
        handles.push(open(&database).await);
    }
    let mut claiming = JoinSet::new();
    for store in handles {
        claiming.spawn(async move {
            let mut claimed = Vec::new();
            loop {
                let more = store
                    .claim_deliveries(&capacity(9, 5), LEASE, any_time())
                    .await
                    .unwrap();
                if more.is_empty() {
                    return claimed;
                }
                claimed.extend(more.iter().map(|delivery| delivery.lease.job));
            }
        });
    }
    let claimed: Vec<_> = claiming.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 400);
    assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), 400);
}

#[tokio::test]
async fn deliveries_that_come_back_while_others_claim_are_given_out_once() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let mut handles = vec![open(&database).await];
    insert_ended(&database, 8);
    make_due(&database, "a", "1, 8");
    for _ in 1..4 {
        handles.push(open(&database).await);
    }
    let mut trying = JoinSet::new();
    for store in handles {
        trying.spawn(async move {
            let mut tries = Vec::new();
            for _ in 0..50 {
                let claimed = store
                    .claim_deliveries(&capacity(4, 4), LEASE, any_time())
                    .await
                    .unwrap();
                for delivery in claimed {
                    tries.push((delivery.lease.job, delivery.lease.token));
                    let again = Settlement::TryAgain {
                        after: Duration::ZERO,
                        error: "it was \0 busy".into(),
                    };
                    store
                        .settle_delivery(&delivery.lease, again, any_time())
                        .await
                        .unwrap();
                }
            }
            tries
        });
    }
    let tries: Vec<_> = trying.join_all().await.into_iter().flatten().collect();
    assert!(tries.len() > 8, "{tries:?}");
    assert_eq!(tries.iter().collect::<BTreeSet<_>>().len(), tries.len());
    let attempts = database.count("SELECT sum(attempts) FROM flowmill.webhooks");
    assert_eq!(usize::try_from(attempts), Ok(tries.len()));
}

#[tokio::test]
async fn an_idle_claim_of_deliveries_is_one_statement() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let store = open(&database).await;
    insert_ended(&database, 1);
    // Where the claim before was in vain, one that finds something looks first.
    for (due, statements) in [(false, 1), (false, 1), (true, 2)] {
        if due {
            make_due(&database, "a", "1, 1");
        }
        let before = store.activity();
        let claimed = store
            .claim_deliveries(&capacity(9, 9), LEASE, any_time())
            .await
            .unwrap();
        assert_eq!(claimed.len(), usize::from(due));
        let after = store.activity();
        assert_eq!(after.statements - before.statements, statements);
        assert_eq!(after.transactions, before.transactions);
    }
}

#[tokio::test]
async fn what_waits_at_a_black_holed_receiver_is_not_read_at_every_claim() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    open(&database).await;
    without_autovacuum(&database);
    insert_ended(&database, 20_001);
    make_due(&database, "black.hole", "1, 20000");
    database.query("ANALYZE flowmill.webhooks");
    make_due(&database, "well", "20001, 20001");
    let full = DeliveryCapacity {
        in_flight: [("black.hole".into(), 16)].into(),
        ..capacity(112, 16)
    };
    let (rows, claimed) = rows_read(&database, async |store| {
        store
            .claim_deliveries(&full, LEASE, any_time())
            .await
            .unwrap()
    })
    .await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(&*claimed[0].webhook.host, "well");
    assert!(rows < 100, "{rows} rows were read");
}

#[tokio::test]
async fn a_job_whose_webhook_is_being_tried_can_be_deleted() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let (one, other) = (open(&database).await, open(&database).await);
    insert_ended(&database, 50);
    make_due(&database, "a", "1, 50");
    let claimed = one
        .claim_deliveries(&capacity(50, 50), LEASE, any_time())
        .await
        .unwrap();
    assert_eq!(claimed.len(), 50);
    // Whichever comes first, neither waits for the other for ever.
    for delivery in claimed {
        let lease = delivery.lease;
        let (settled, deleted) = tokio::join!(
            one.settle_delivery(&lease, Settlement::Delivered, any_time()),
            other.delete(lease.job),
        );
        deleted.unwrap();
        assert!(
            matches!(settled, Ok(()) | Err(Error::LeaseLost(_))),
            "{settled:?}"
        );
    }
    assert_eq!(database.count("SELECT count(*) FROM flowmill.webhooks"), 0);
}
