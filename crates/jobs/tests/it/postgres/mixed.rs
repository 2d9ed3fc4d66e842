//! All verbs at once, from several handles, on the same few jobs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jobs::job::{End, JobId, NewJob};
use jobs::parking::Wait;
use jobs::postgres::PostgresStore;
use jobs::store::{Error, JobStore, Lease, ReplicaId, SubmitOptions, Submitted};
use jobs::webhook::{DeliveryCapacity, Settlement};
use testing::postgres::{database, sweep};

use super::at_callers_time;
use crate::conformance::parking::{approval, wake_up};
use crate::fixtures::{
    LEASE, at, claiming, ending, event, hooked, id, keyed, new_job, progress, stranger,
};

const HANDLES: usize = 4;
const TASKS: usize = 16;
const LASTS: Duration = Duration::from_secs(4);

/// So many of the jobs submitted last are picked from: all meet at them.
const RECENT: u32 = 24;

/// What all tasks know.
#[derive(Default)]
struct Shared {
    submitted: AtomicU32,
    /// Of the tasks together, good ones and lost ones.
    leases: Mutex<Vec<Lease>>,
}

impl Shared {
    fn recent(&self, random: &mut fastrand::Rng) -> JobId {
        let last = self.submitted.load(Ordering::SeqCst).max(1);
        id(random.u32(last.saturating_sub(RECENT).max(1)..=last).into())
    }

    fn lease(&self, random: &mut fastrand::Rng) -> Option<Lease> {
        let leases = self.leases.lock().unwrap();
        let recent = &leases[leases.len().saturating_sub(RECENT as usize)..];
        random.choice(recent).copied()
    }
}

struct Task {
    store: Arc<PostgresStore>,
    shared: Arc<Shared>,
    random: fastrand::Rng,
    by: ReplicaId,
}

impl Task {
    async fn submit(&mut self) -> Result<(), Error> {
        let number = 1 + self.shared.submitted.fetch_add(1, Ordering::SeqCst);
        let job = match number % 3 {
            0 => new_job(number),
            1 => hooked(number, "a"),
            _ => keyed(number, "s", &(number / 12).to_string(), "f"),
        };
        let job = NewJob {
            workflow: format!("w{}", number % 5).into(),
            deadline: number.is_multiple_of(4).then_some(at(1)),
            ..job
        };
        let options = if self.random.bool() {
            claiming(self.by)
        } else {
            SubmitOptions::default()
        };
        if let Submitted::New(Some(claimed)) = self.store.submit(job, options).await? {
            self.shared.leases.lock().unwrap().push(claimed.lease);
        }
        Ok(())
    }

    async fn claim(&mut self) -> Result<(), Error> {
        let claimed = match self.random.u8(..3) {
            0 => self.store.claim_overdue(self.by, 3, at(2)).await?,
            1 => self.store.claim(self.by, 3, at(2)).await?,
            _ => {
                let running = std::collections::BTreeMap::new();
                self.store.claim_fairly(self.by, 3, &running, at(2)).await?
            }
        };
        let leases = claimed.iter().map(|claimed| claimed.lease);
        self.shared.leases.lock().unwrap().extend(leases);
        Ok(())
    }

    async fn use_lease(&mut self) -> Result<(), Error> {
        let Some(lease) = self.shared.lease(&mut self.random) else {
            return Ok(());
        };
        let events = vec![event(self.random.u64(1..9))];
        match self.random.u8(..6) {
            0 | 1 => {
                let saved = self.random.bool().then(|| progress(1));
                self.store.checkpoint(&lease, saved, events).await
            }
            2 | 3 => {
                let end = [End::Completed, End::Failed, End::Cancelled][self.random.usize(..3)];
                self.store
                    .finish(&lease, ending(end, 3), events)
                    .await
                    .map(drop)
            }
            4 => self.store.hand_back(&lease).await,
            _ => {
                let wait = Wait {
                    wakes_at: self.random.bool().then_some(at(1)),
                    ..approval()
                };
                self.store.park(&lease, wait, None, events).await.map(drop)
            }
        }
    }

    async fn deliver(&mut self) -> Result<(), Error> {
        let capacity = DeliveryCapacity {
            total: 3,
            per_host: 3,
            ..DeliveryCapacity::default()
        };
        for delivery in self.store.claim_deliveries(&capacity, LEASE, at(4)).await? {
            self.store
                .settle_delivery(&delivery.lease, Settlement::Delivered, at(4))
                .await?;
        }
        Ok(())
    }

    async fn step(&mut self) -> Result<(), Error> {
        let job = self.shared.recent(&mut self.random);
        match self.random.u8(..20) {
            0..=4 => self.submit().await,
            5..=7 => self.claim().await,
            8..=12 => self.use_lease().await,
            13 => self.store.request_cancel(job, at(3)).await.map(drop),
            14 => {
                let key = self.random.u8(..3).to_string();
                self.store.wake(job, wake_up(&key, 3)).await.map(drop)
            }
            15 => self.store.delete(job).await,
            16 => self
                .store
                .expire(Duration::ZERO, 5, at(1_000))
                .await
                .map(drop),
            17 => self.deliver().await,
            18 => self.store.get(job).await.map(drop),
            _ => {
                self.store.deregister(self.by).await?;
                self.by = stranger(&*self.store, at(1)).await;
                Ok(())
            }
        }
    }

    /// Returns how many steps were made.
    async fn run(mut self) -> usize {
        let began = Instant::now();
        let mut steps = 0;
        while began.elapsed() < LASTS {
            match self.step().await {
                Ok(())
                | Err(
                    Error::LeaseLost(_)
                    | Error::NotFound
                    | Error::Active(_)
                    | Error::NotCancelling(_)
                    | Error::TooManyWakeUps(_),
                ) => steps += 1,
                Err(error) => panic!("{error}"),
            }
        }
        steps
    }
}

/// Deadlocks and jobs that changed meanwhile are repeated within the store. (A report: overlapping
/// work on one table ended in deadlocks that callers saw.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_verbs_of_several_handles_fail_for_nobody_and_leave_order() {
    let Some(database) = database() else { return };
    let handles = join_all((0..HANDLES).map(|_| at_callers_time(&database))).await;
    let handles: Vec<_> = handles.into_iter().map(Arc::new).collect();
    let shared = Arc::new(Shared::default());
    let seed = fastrand::u64(..);
    let tasks = (0..TASKS).map(async |number| {
        let store = handles[number % HANDLES].clone();
        let task = Task {
            by: stranger(&*store, at(1)).await,
            store,
            shared: shared.clone(),
            random: fastrand::Rng::with_seed(seed.wrapping_add(number as u64)),
        };
        tokio::spawn(task.run()).await.unwrap()
    });
    let steps: usize = join_all(tasks).await.into_iter().sum();
    assert!(steps > TASKS, "seed {seed}");
    // What those held that have left.
    let last = stranger(&*handles[0], at(1)).await;
    while !handles[0].claim(last, 100, at(2)).await.unwrap().is_empty() {}
    assert_eq!(sweep(&database), [""; 0], "seed {seed}");
    let left = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = '{}' AND state LIKE 'idle in transaction%'",
        database.name()
    );
    assert_eq!(database.count(&left), 0, "seed {seed}");
}
