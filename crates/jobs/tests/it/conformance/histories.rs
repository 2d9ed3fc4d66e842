//! Random histories of a few jobs, against the rules of [`Status::after`] and of fencing.

use std::collections::HashMap;

use jobs::job::{End, JobId, Status, Transition};
use jobs::parking::{Parked, Wait, Woken};
use jobs::store::{CancelRequested, Error, Lease};

use super::Store;
use super::parking::{approval, wake_up};
use crate::fixtures::{LEASE, at, claiming, ending, event, id, new_job, progress, submit, worker};

const STEPS: i64 = 3_000;
const JOBS: u32 = 4;

/// What the rules say of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expected {
    status: Status,
    attempts: u32,
    /// Of the only lease that may write.
    token: Option<u64>,
    lapses_at: i64,
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
}

impl History {
    async fn submit(&mut self, number: u32, second: i64) {
        let mut job = new_job(number);
        job.created_at = at(second);
        let id = if self.random.bool() {
            submit(&*self.store, job).await
        } else {
            let id = job.id;
            let submitted = self.store.submit(job, claiming("at once")).await.unwrap();
            let jobs::store::Submitted::New(Some(claimed)) = submitted else {
                panic!("{submitted:?}")
            };
            self.leases.push(claimed.lease.clone());
            let expected = Expected {
                status: Status::Running,
                attempts: 1,
                token: Some(claimed.lease.token),
                lapses_at: second + 30,
                wakes_at: None,
                is_woken: false,
            };
            self.jobs.insert(id, expected);
            return;
        };
        self.jobs.insert(
            id,
            Expected {
                status: Status::Pending,
                attempts: 0,
                token: None,
                lapses_at: i64::MIN,
                wakes_at: None,
                is_woken: false,
            },
        );
    }

    async fn step(&mut self, second: i64) {
        let lease = self
            .leases
            .get(self.random.usize(..self.leases.len().max(1)))
            .cloned();
        match (self.random.u8(..12), lease) {
            (0 | 1, _) => self.claim(second).await,
            (2, _) => self.cancel(second).await,
            (3, Some(lease)) => self.heartbeat(lease, second).await,
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
            _ => {}
        }
    }

    fn holds(&self, lease: &Lease) -> bool {
        self.jobs[&lease.job].token == Some(lease.token)
    }

    async fn claim(&mut self, second: i64) {
        let claimed = self
            .store
            .claim(&worker("later"), 2, at(second))
            .await
            .unwrap();
        for expected in self.jobs.values_mut() {
            if expected.wakes_at.is_some_and(|wakes_at| wakes_at <= second) {
                expected.status = expected.status.after(Transition::Wake).unwrap();
                expected.wakes_at = None;
            }
        }
        for claimed in claimed {
            let expected = self.jobs.get_mut(&claimed.job.id).unwrap();
            assert!(
                expected.status == Status::Pending || expected.lapses_at <= second,
                "{expected:?}"
            );
            assert!(claimed.lease.token > expected.token.unwrap_or(0));
            expected.status = expected.status.after(Transition::Claim).unwrap();
            expected.attempts += 1;
            expected.token = Some(claimed.lease.token);
            expected.lapses_at = second + 30;
            expected.is_woken = false;
            self.leases.push(claimed.lease);
        }
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
        expected.token = None;
        expected.lapses_at = i64::MIN;
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

    async fn heartbeat(&mut self, lease: Lease, second: i64) {
        let holds = self.holds(&lease);
        let states = self
            .store
            .heartbeat(std::slice::from_ref(&lease), LEASE, at(second))
            .await
            .unwrap();
        let expected = self.jobs.get_mut(&lease.job).unwrap();
        assert_eq!(states[0].lease.is_some(), holds);
        assert_eq!(
            states[0].cancel,
            holds && expected.status == Status::Cancelling
        );
        if holds {
            expected.lapses_at = second + 30;
        }
    }

    async fn hand_back(&mut self, lease: Lease) {
        let holds = self.holds(&lease);
        let handed_back = self.store.hand_back(&lease).await;
        assert_eq!(handed_back.is_ok(), holds, "{handed_back:?}");
        let expected = self.jobs.get_mut(&lease.job).unwrap();
        if holds {
            expected.status = expected.status.after(Transition::HandBack).unwrap();
            expected.attempts -= 1;
            expected.token = None;
            expected.lapses_at = i64::MIN;
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
        match (holds, expected.status.after(Transition::End(end))) {
            (true, Some(status)) => {
                assert_eq!(finished.unwrap().status, status);
                expected.status = status;
                expected.token = None;
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
