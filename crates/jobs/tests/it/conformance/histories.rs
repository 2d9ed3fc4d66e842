//! Random histories of a few jobs and a few replicas, against the rules of [`Status::after`], of
//! leases and of fencing.

use std::collections::{BTreeMap, HashMap};

use jobs::job::{End, JobId, Status, Transition};
use jobs::parking::{Parked, Wait, Woken};
use jobs::store::{CancelRequested, Error, Lease, ReplicaId};

use super::Store;
use super::parking::{approval, wake_up};
use crate::fixtures::{
    at, ending, event, id, naming, new_job, progress, replica, start_as, stranger, submit,
};

const STEPS: i64 = 3_000;
const JOBS: u32 = 4;
const REPLICAS: usize = 3;
const LEASE_SECONDS: i64 = 30;
const MOST_CLAIMED: usize = 2;

/// What the rules say of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expected {
    status: Status,
    attempts: u32,
    /// The only lease that may write.
    lease: Option<Lease>,
    /// The lease under which it ended.
    ended_by: Option<Lease>,
    /// When it wakes by itself, while it waits.
    wakes_at: Option<i64>,
    /// A wake-up has come since the last claim.
    is_woken: bool,
}

pub(crate) async fn random_histories_follow_the_rules(store: Store) {
    let seed = fastrand::u64(..);
    let mut history = History {
        store,
        random: fastrand::Rng::with_seed(seed),
        jobs: HashMap::new(),
        leases: Vec::new(),
        alive: BTreeMap::new(),
        replicas: vec![replica("unknown").id],
    };
    let mut next = 1;
    for second in 0..STEPS {
        if history
            .jobs
            .values()
            .filter(|job| !job.status.is_final())
            .count()
            < JOBS as usize
        {
            history.submit(next, second).await;
            next += 1;
        }
        history.step(second).await;
        history.check(&format!("seed {seed}, step {second}")).await;
    }
    assert!(next > JOBS, "seed {seed}: no job ever ended");
}

struct History {
    store: Store,
    random: fastrand::Rng,
    jobs: HashMap<JobId, Expected>,
    /// Every lease ever given, lost ones too.
    leases: Vec<Lease>,
    /// When the lease of each replica ends that was not declared dead.
    alive: BTreeMap<ReplicaId, i64>,
    /// Every replica there ever was, and one that never was.
    replicas: Vec<ReplicaId>,
}

impl History {
    async fn submit(&mut self, number: u32, second: i64) {
        let mut job = new_job(number);
        job.created_at = at(second);
        let mut expected = Expected {
            status: Status::Pending,
            attempts: 0,
            lease: None,
            ended_by: None,
            wakes_at: None,
            is_woken: false,
        };
        let id = job.id;
        if self.random.bool() {
            submit(&*self.store, job).await;
        } else {
            let by = self.any_replica();
            let lease = start_as(&*self.store, by, job).await.lease;
            self.leases.push(lease);
            expected = Expected {
                status: Status::Running,
                attempts: 1,
                lease: Some(lease),
                ..expected
            };
        }
        self.jobs.insert(id, expected);
    }

    /// Mostly one that is alive.
    fn any_replica(&mut self) -> ReplicaId {
        if self.random.u8(..6) == 0 || self.alive.is_empty() {
            return self.replicas[self.random.usize(..self.replicas.len())];
        }
        let index = self.random.usize(..self.alive.len());
        *self.alive.keys().nth(index).unwrap()
    }

    /// Some lease, seldom with a replica that it is not of.
    fn any_lease(&mut self) -> Option<Lease> {
        if self.leases.is_empty() {
            return None;
        }
        let mut lease = self.leases[self.random.usize(..self.leases.len())];
        if self.random.u8(..8) == 0 {
            lease.replica = self.any_replica();
        }
        Some(lease)
    }

    async fn step(&mut self, second: i64) {
        let lease = self.any_lease();
        match (self.random.u8(..16), lease) {
            (0 | 1, _) => self.claim(second).await,
            (2, _) => self.cancel(second).await,
            (3, _) => self.beat(second).await,
            (4, Some(lease)) => {
                let saved = self
                    .store
                    .checkpoint(&lease, Some(progress(1)), vec![event(1)])
                    .await;
                assert_eq!(saved.is_ok(), self.holds(&lease), "{saved:?}");
            }
            (5, Some(lease)) => self.hand_back(lease).await,
            (6, Some(lease)) => self.finish(lease, second).await,
            (7 | 8, Some(lease)) => self.park(lease, second).await,
            (9, _) => self.wake(second).await,
            (10 | 11, _) => self.register(second).await,
            (12, _) => self.deregister().await,
            (13, _) => self.ask().await,
            _ => {}
        }
    }

    fn holds(&self, lease: &Lease) -> bool {
        self.jobs[&lease.job].lease == Some(*lease)
    }

    /// Whether it runs, and its replica is gone.
    fn has_lapsed(&self, job: &Expected) -> bool {
        matches!(job.status, Status::Running | Status::Cancelling)
            && job
                .lease
                .is_none_or(|lease| !self.alive.contains_key(&lease.replica))
    }

    async fn claim(&mut self, second: i64) {
        let by = self.any_replica();
        if !self.alive.contains_key(&by) {
            let claimed = self.store.claim(by, MOST_CLAIMED, at(second)).await;
            assert!(claimed.unwrap().is_empty());
            // Whether that declares replicas dead and wakes jobs is not told.
            let by = stranger(&*self.store, at(second)).await;
            self.alive.insert(by, second + LEASE_SECONDS);
            self.replicas.push(by);
            return self.claim_alive(by, second).await;
        }
        self.claim_alive(by, second).await;
    }

    async fn claim_alive(&mut self, by: ReplicaId, second: i64) {
        let claimed = self.store.claim(by, MOST_CLAIMED, at(second)).await;
        let claimed = claimed.unwrap();
        self.alive
            .retain(|id, lease_until| *id == by || *lease_until > second);
        for expected in self.jobs.values_mut() {
            if expected.wakes_at.is_some_and(|wakes_at| wakes_at <= second) {
                expected.status = expected.status.after(Transition::Wake).unwrap();
                expected.wakes_at = None;
            }
        }
        let lapsed = self.jobs.values().filter(|job| self.has_lapsed(job));
        let pending = self.jobs.values();
        let pending = pending.filter(|job| job.status == Status::Pending);
        let due = lapsed.count() + pending.count();
        assert_eq!(claimed.len(), due.min(MOST_CLAIMED));
        for claimed in claimed {
            let expected = self.jobs[&claimed.job.id];
            assert_eq!(claimed.was_lost, self.has_lapsed(&expected));
            assert!(
                claimed.was_lost || expected.status == Status::Pending,
                "{expected:?}"
            );
            let lease = claimed.lease;
            assert_eq!((lease.job, lease.replica), (claimed.job.id, by));
            let of_job = self.leases.iter().filter(|old| old.job == lease.job);
            assert!(
                of_job
                    .max_by_key(|old| old.token)
                    .is_none_or(|old| old.token < lease.token)
            );
            let expected = self.jobs.get_mut(&lease.job).unwrap();
            expected.status = expected.status.after(Transition::Claim).unwrap();
            expected.attempts += 1;
            expected.lease = Some(lease);
            expected.is_woken = false;
            self.leases.push(lease);
        }
    }

    async fn register(&mut self, second: i64) {
        if self.alive.len() < REPLICAS {
            let by = stranger(&*self.store, at(second)).await;
            self.replicas.push(by);
            self.alive.insert(by, second + LEASE_SECONDS);
        }
    }

    async fn deregister(&mut self) {
        let by = self.any_replica();
        self.store.deregister(by).await.unwrap();
        self.alive.remove(&by);
    }

    async fn cancel(&mut self, second: i64) {
        let job = id(self.random.u128(1..=self.jobs.len() as u128));
        let expected = self.jobs.get_mut(&job).unwrap();
        let found = self.store.request_cancel(job, at(second)).await.unwrap();
        match expected.status.after(Transition::RequestCancel) {
            Some(Status::Cancelled) => assert_eq!(found, CancelRequested::Cancelled),
            Some(_) => assert_eq!(found, CancelRequested::Cancelling),
            None => assert_eq!(found, CancelRequested::Ended(expected.status)),
        }
        expected.status = expected
            .status
            .after(Transition::RequestCancel)
            .unwrap_or(expected.status);
        expected.wakes_at = None;
    }

    async fn park(&mut self, lease: Lease, second: i64) {
        let holds = self.holds(&lease);
        let wakes_at = self.random.bool().then_some(second + 20);
        let wait = Wait {
            wakes_at: wakes_at.map(at),
            ..approval()
        };
        let parked = self.store.park(&lease, wait, None, Vec::new()).await;
        let expected = self.jobs.get_mut(&lease.job).unwrap();
        if !holds {
            assert!(matches!(parked, Err(Error::LeaseLost(_))), "{parked:?}");
            return;
        }
        let Some(waiting) = expected.status.after(Transition::Park) else {
            assert_eq!(parked.unwrap(), Parked::Cancelling);
            return;
        };
        expected.attempts -= 1;
        expected.lease = None;
        if expected.is_woken {
            assert_eq!(parked.unwrap(), Parked::Queued);
            expected.status = Status::Pending;
        } else {
            assert_eq!(parked.unwrap(), Parked::Waiting);
            expected.status = waiting;
            expected.wakes_at = wakes_at;
        }
    }

    async fn wake(&mut self, second: i64) {
        let job = id(self.random.u128(1..=self.jobs.len() as u128));
        let expected = self.jobs.get_mut(&job).unwrap();
        let key = second.to_string();
        let woken = self.store.wake(job, wake_up(&key, second)).await.unwrap();
        if expected.status.is_final() {
            assert_eq!(woken, Woken::Ended(expected.status));
            return;
        }
        expected.is_woken = true;
        match expected.status.after(Transition::Wake) {
            Some(status) => {
                assert_eq!(woken, Woken::Queued);
                expected.status = status;
                expected.wakes_at = None;
            }
            None => assert_eq!(woken, Woken::Kept),
        }
    }

    async fn beat(&mut self, second: i64) {
        let by = self.any_replica();
        let named: Vec<Lease> = (0..self.random.usize(..4))
            .filter_map(|_| self.any_lease())
            .filter(|lease| lease.replica == by)
            .collect();
        let told = self.store.beat(by, naming(&named), at(second)).await;
        if !self.alive.contains_key(&by) {
            assert!(
                matches!(told, Err(Error::Fenced(id)) if id == by),
                "{told:?}"
            );
            return;
        }
        self.alive.insert(by, second + LEASE_SECONDS);
        let told = told.unwrap();
        let (held, lost): (Vec<Lease>, Vec<Lease>) =
            named.iter().partition(|lease| self.holds(lease));
        let is_cancelling = |lease: &Lease| self.jobs[&lease.job].status == Status::Cancelling;
        let cancelling = held.iter().copied().filter(is_cancelling).collect();
        let all_held = self.jobs.values().filter_map(|job| job.lease);
        let unnamed = all_held.filter(|lease| lease.replica == by && !held.contains(lease));
        assert_eq!(told.lost, lost);
        assert_eq!(jobs(told.cancelling), jobs(numbers(cancelling)));
        assert_eq!(
            jobs(numbers(told.unnamed)),
            jobs(numbers(unnamed.collect()))
        );
    }

    /// What is told of the replicas and their jobs.
    async fn ask(&mut self) {
        let by = self.any_replica();
        let of = |replica: ReplicaId| {
            let held = self.jobs.iter();
            held.filter(move |(_, job)| job.lease.is_some_and(|lease| lease.replica == replica))
        };
        let cancelling = of(by).filter(|(_, job)| job.status == Status::Cancelling);
        let cancelling = cancelling.map(|(id, _)| *id).collect();
        let told = self.store.cancelling(by).await.unwrap();
        assert_eq!(jobs(told), jobs(cancelling));
        let told = self.store.replicas().await.unwrap();
        let told: BTreeMap<_, _> = told
            .iter()
            .map(|replica| (replica.id, (replica.running, replica.lease_until)))
            .collect();
        let expected: BTreeMap<_, _> = self
            .alive
            .iter()
            .map(|(id, lease_until)| (*id, (of(*id).count(), at(*lease_until))))
            .collect();
        assert_eq!(told, expected);
    }

    async fn hand_back(&mut self, lease: Lease) {
        let holds = self.holds(&lease);
        let handed_back = self.store.hand_back(&lease).await;
        assert_eq!(handed_back.is_ok(), holds, "{handed_back:?}");
        let expected = self.jobs.get_mut(&lease.job).unwrap();
        if holds {
            expected.status = expected.status.after(Transition::HandBack).unwrap();
            expected.attempts -= 1;
            expected.lease = None;
        }
    }

    async fn finish(&mut self, lease: Lease, second: i64) {
        let holds = self.holds(&lease);
        let end = [End::Completed, End::Failed, End::Cancelled][self.random.usize(..3)];
        let finished = self
            .store
            .finish(&lease, ending(end, second), Vec::new())
            .await;
        let expected = self.jobs.get_mut(&lease.job).unwrap();
        if expected.ended_by == Some(lease) {
            let job = finished.unwrap();
            assert_eq!((job.id, job.status), (lease.job, expected.status));
            return;
        }
        match (holds, expected.status.after(Transition::End(end))) {
            (true, Some(status)) => {
                assert_eq!(finished.unwrap().status, status);
                expected.status = status;
                expected.lease = None;
                expected.ended_by = Some(lease);
            }
            (true, None) => assert!(
                matches!(finished, Err(Error::NotCancelling(_))),
                "{finished:?}"
            ),
            (false, _) => assert!(matches!(finished, Err(Error::LeaseLost(_))), "{finished:?}"),
        }
    }

    async fn check(&self, context: &str) {
        let (mut pending, mut waiting, mut running, mut ended) = (0, 0, 0, 0);
        for (id, expected) in &self.jobs {
            match expected.status {
                Status::Pending => pending += 1,
                Status::Waiting => waiting += 1,
                Status::Running | Status::Cancelling => running += 1,
                Status::Completed | Status::Failed | Status::Cancelled => ended += 1,
            }
            // Ended ones were checked when they ended and are checked by their number from then on.
            if !expected.status.is_final() {
                let job = self.store.get(*id).await.unwrap().unwrap();
                assert_eq!(
                    (job.status, job.attempts),
                    (expected.status, expected.attempts),
                    "{context}: {id}"
                );
            }
        }
        let counts = self.store.counts().await.unwrap();
        assert_eq!(
            (counts.pending, counts.waiting, counts.running, counts.ended),
            (pending, waiting, running, ended),
            "{context}"
        );
    }
}

fn numbers(leases: Vec<Lease>) -> Vec<JobId> {
    leases.into_iter().map(|lease| lease.job).collect()
}

/// Each once, in order.
fn jobs(mut ids: Vec<JobId>) -> Vec<JobId> {
    ids.sort();
    ids.dedup();
    ids
}
