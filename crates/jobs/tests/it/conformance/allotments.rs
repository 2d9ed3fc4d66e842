//! What replicas set aside of the limits of a key: with what was spent, never more than the limit.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jobs::allotment::{Amounts, DailyLimits, RequestWish, Wish};
use jobs::spend::{Allotted, BatchNumber, Day, KeyDay, SpendStore, Spent};
use jobs::store::{JobStore, ReplicaId};
use tokio::task::JoinSet;

use crate::fixtures::{LEASE, at, register, replica, stranger};

/// A store of jobs and of what was spent.
pub(crate) trait Store: JobStore + SpendStore {}

impl<S: JobStore + SpendStore> Store for S {}

fn tokens(tokens: u64) -> Amounts {
    Amounts {
        tokens,
        nano_usd: 0,
    }
}

/// A wish of a key that may spend a thousand tokens a day.
fn wish(keep: u64, least: u64, all: u64) -> Wish {
    Wish {
        key: "k".into(),
        limits: DailyLimits {
            tokens: Some(1_000),
            nano_usd: None,
        },
        keep: tokens(keep),
        least: tokens(least),
        all: tokens(all),
        spare: Amounts::default(),
        requests: None,
    }
}

fn paid(tokens: u64, second: i64) -> KeyDay {
    KeyDay {
        key: "k".into(),
        day: Day::of(at(second)),
        spent: Spent {
            model_calls: 1,
            output_tokens: tokens,
            ..Spent::default()
        },
    }
}

/// One replica, and the number of its last batch.
struct Replica {
    id: ReplicaId,
    batches: u64,
}

impl Replica {
    async fn new(store: &dyn Store, name: &str) -> Self {
        Self {
            id: register(store, name, 0).await,
            batches: 0,
        }
    }

    async fn call(
        &mut self,
        store: &dyn Store,
        more: Vec<KeyDay>,
        wishes: Vec<Wish>,
        second: i64,
    ) -> Allotted {
        self.batches += 1;
        self.repeat(store, more, wishes, second).await
    }

    async fn repeat(
        &self,
        store: &dyn Store,
        more: Vec<KeyDay>,
        wishes: Vec<Wish>,
        second: i64,
    ) -> Allotted {
        let batch = BatchNumber {
            writer: self.id,
            number: self.batches,
        };
        let allotted = store.allot(batch, self.id, more, wishes, at(second)).await;
        allotted.unwrap()
    }

    /// What it has after one wish.
    async fn holds(&mut self, store: &dyn Store, wish: Wish, second: i64) -> u64 {
        let allotted = self.call(store, Vec::new(), vec![wish], second).await;
        allotted.allotments[0].1.held.tokens
    }
}

pub(crate) async fn what_replicas_set_aside_is_within_the_limit_together(store: &dyn Store) {
    let mut a = Replica::new(store, "a").await;
    let mut b = Replica::new(store, "b").await;
    assert_eq!(a.holds(store, wish(0, 300, 600), 1).await, 600);
    // All that is left, since the first call fits.
    assert_eq!(b.holds(store, wish(0, 300, 600), 1).await, 400);
    assert_eq!(a.holds(store, wish(600, 601, 900), 1).await, 600);
    let other = Wish {
        key: "other".into(),
        ..wish(0, 1_000, 1_000)
    };
    assert_eq!(b.holds(store, other, 1).await, 1_000);
    // What one gives back, another may have.
    assert_eq!(b.holds(store, wish(0, 0, 0), 1).await, 0);
    assert_eq!(a.holds(store, wish(600, 601, 900), 1).await, 900);
    let seen = b.call(store, Vec::new(), vec![wish(0, 0, 0)], 1).await;
    assert_eq!(seen.allotments[0].1.others, tokens(900));
    assert_eq!(seen.now, at(1));
}

pub(crate) async fn what_is_spent_moves_from_what_was_set_aside_to_the_sum(store: &dyn Store) {
    let mut a = Replica::new(store, "a").await;
    let mut b = Replica::new(store, "b").await;
    assert_eq!(a.holds(store, wish(0, 800, 800), 1).await, 800);
    let spent = a.call(store, vec![paid(500, 1)], vec![wish(300, 300, 300)], 1);
    let spent = spent.await;
    assert_eq!(spent.sums[0].output_tokens, 500);
    let (today, allotment) = spent.allotments[0];
    assert_eq!((today.output_tokens, allotment.held.tokens), (500, 300));
    assert_eq!(b.holds(store, wish(0, 200, 200), 1).await, 200);
    assert_eq!(b.holds(store, wish(200, 201, 201), 1).await, 200);
    // A call that took less than it might have leaves the rest to the others.
    let spent = a.call(store, vec![paid(100, 1)], vec![wish(0, 0, 0)], 1);
    assert_eq!(spent.await.allotments[0].0.output_tokens, 600);
    assert_eq!(b.holds(store, wish(200, 400, 400), 1).await, 400);
}

pub(crate) async fn what_is_kept_stays_whatever_was_spent(store: &dyn Store) {
    let mut a = Replica::new(store, "a").await;
    assert_eq!(a.holds(store, wish(0, 900, 900), 1).await, 900);
    // It took more than was foreseen, and other calls are in flight.
    let spent = a.call(store, vec![paid(1_500, 1)], vec![wish(400, 500, 500)], 1);
    assert_eq!(spent.await.allotments[0].1.held.tokens, 400);
}

/// (A report: increments that were retried after a timeout inflated the counters.)
pub(crate) async fn an_allotment_repeated_is_made_once(store: &dyn Store) {
    let mut a = Replica::new(store, "a").await;
    let mut b = Replica::new(store, "b").await;
    let limited = |need| Wish {
        requests: Some(RequestWish {
            per_minute: NonZeroU32::new(60).unwrap(),
            unused: 0,
            need,
            spare: 0,
        }),
        ..wish(0, 300, 300)
    };
    let more = || vec![paid(200, 1)];
    let first = a.call(store, more(), vec![limited(7)], 1).await;
    assert_eq!(first.sums[0].output_tokens, 200);
    assert_eq!(first.allotments[0].1.requests, 7);
    assert_eq!(first.allotments[0].1.window.left, 53);
    // Meanwhile another one takes the rest.
    assert_eq!(b.holds(store, wish(0, 500, 500), 1).await, 500);
    for _ in 0..3 {
        let again = a.repeat(store, more(), vec![limited(7)], 1).await;
        assert_eq!(again.sums, first.sums);
        let (spent, allotment) = again.allotments[0];
        assert_eq!(spent.output_tokens, 200);
        assert_eq!((allotment.held.tokens, allotment.requests), (300, 7));
        assert_eq!(allotment.window.left, 53, "they are taken once");
    }
    // An older one that comes late changes nothing.
    a.batches += 1;
    let gone = a.repeat(store, Vec::new(), vec![wish(0, 0, 0)], 1).await;
    assert_eq!(gone.allotments[0].1.held.tokens, 0);
    a.batches -= 1;
    let late = a.repeat(store, more(), vec![limited(7)], 1).await;
    assert_eq!(late.allotments[0].1.held.tokens, 0);
    assert_eq!(late.sums[0].output_tokens, 200);
}

pub(crate) async fn what_a_dead_replica_has_set_aside_is_free(store: &dyn Store) {
    let mut a = Replica::new(store, "a").await;
    assert_eq!(a.holds(store, wish(0, 900, 900), 1).await, 900);
    let lease = i64::try_from(LEASE.as_secs()).unwrap();
    let other = stranger(store, at(lease + 1)).await;
    let mut b = Replica {
        id: other,
        batches: 0,
    };
    // It beats no more, but nobody has declared it dead.
    assert_eq!(b.holds(store, wish(0, 200, 900), lease + 1).await, 0);
    store.claim(other, 1, at(lease + 1)).await.unwrap();
    assert_eq!(b.holds(store, wish(0, 200, 900), lease + 1).await, 900);
    // It is granted nothing any more, and keeps nothing.
    assert_eq!(a.holds(store, wish(900, 901, 901), lease + 1).await, 0);
    assert_eq!(
        b.holds(store, wish(900, 1_000, 1_000), lease + 1).await,
        1_000
    );
    // Nor has one that has left.
    store.deregister(other).await.unwrap();
    let mut c = Replica::new(store, "c").await;
    assert_eq!(c.holds(store, wish(0, 1_000, 1_000), 1).await, 1_000);
}

pub(crate) async fn a_replica_that_is_not_registered_is_granted_nothing(store: &dyn Store) {
    let mut unknown = Replica {
        id: replica("x").id,
        batches: 0,
    };
    assert_eq!(unknown.holds(store, wish(0, 1, 1), 1).await, 0);
}

pub(crate) async fn over_midnight_what_is_set_aside_stays_and_the_sum_begins_anew(
    store: &dyn Store,
) {
    let mut a = Replica::new(store, "a").await;
    let mut b = Replica::new(store, "b").await;
    let begins = Day::of(at(0)).next().begins();
    let midnight = begins.as_second() - at(0).as_second();
    for one in [&a, &b] {
        let renewal = crate::fixtures::naming(&[]);
        let eve = at(midnight - 5);
        store.beat(one.id, renewal, eve).await.unwrap();
    }
    let spent = a.call(
        store,
        vec![paid(600, midnight - 1)],
        vec![wish(0, 300, 300)],
        midnight - 1,
    );
    assert_eq!(spent.await.allotments[0].1.held.tokens, 300);
    // The new day's limit is not used but for the calls in flight.
    assert_eq!(b.holds(store, wish(0, 700, 800), midnight).await, 700);
    // What they take may belong to either day.
    let more = vec![paid(100, midnight - 1), paid(200, midnight)];
    let spent = a.call(store, more, vec![wish(0, 0, 0)], midnight).await;
    let sums: Vec<u64> = spent.sums.iter().map(|sum| sum.output_tokens).collect();
    assert_eq!(sums, [700, 200]);
    assert_eq!(spent.allotments[0].0.output_tokens, 200, "of today");
    assert_eq!(b.holds(store, wish(700, 800, 800), midnight).await, 800);
    assert_eq!(b.holds(store, wish(800, 801, 801), midnight).await, 800);
}

pub(crate) async fn requests_are_granted_once_for_all_replicas(store: &dyn Store) {
    let mut a = Replica::new(store, "a").await;
    let mut b = Replica::new(store, "b").await;
    let asking = |need, unused| Wish {
        limits: DailyLimits::default(),
        requests: Some(RequestWish {
            per_minute: NonZeroU32::new(60).unwrap(),
            unused,
            need,
            spare: 0,
        }),
        ..wish(0, 0, 0)
    };
    let granted = async |replica: &mut Replica, wish, second| {
        let allotted = replica.call(store, Vec::new(), vec![wish], second).await;
        allotted.allotments[0].1
    };
    assert_eq!(granted(&mut a, asking(45, 0), 5).await.requests, 45);
    let rest = granted(&mut b, asking(45, 0), 5).await;
    assert_eq!((rest.requests, rest.window.left), (15, 0));
    assert_eq!(rest.window.next_in, Duration::from_secs(1));
    assert_eq!(granted(&mut a, asking(9, 0), 7).await.requests, 2);
    // What was not let in goes to others.
    assert_eq!(granted(&mut b, asking(0, 10), 7).await.requests, 0);
    assert_eq!(granted(&mut a, asking(45, 0), 7).await.requests, 10);
}

/// Through several handles on one store.
pub(crate) async fn many_replicas_at_once_stay_within_the_limit<S>(handles: Vec<Arc<S>>)
where
    S: Store + 'static,
{
    let mut replicas = JoinSet::new();
    for number in 0..8 {
        let store = handles[number % handles.len()].clone();
        replicas.spawn(async move {
            let mut replica = Replica::new(&*store, &number.to_string()).await;
            let mut paid_for = 0;
            let mut spending = Vec::new();
            for _ in 0..40 {
                let call = wish(0, 30, 30);
                let spent = std::mem::take(&mut spending);
                let allotted = replica.call(&*store, spent, vec![call], 1).await;
                if allotted.allotments[0].1.held.tokens == 30 {
                    spending.push(paid(30, 1));
                    paid_for += 30;
                }
            }
            let nothing = vec![wish(0, 0, 0)];
            replica.call(&*store, spending, nothing, 1).await;
            paid_for
        });
    }
    let paid_for: u64 = replicas.join_all().await.into_iter().sum();
    assert!((970..=1_000).contains(&paid_for), "{paid_for}");
    let sums = handles[0].spent(Some("k"), Day::of(at(1))).await.unwrap();
    assert_eq!(sums[0].spent.output_tokens, paid_for);
}
