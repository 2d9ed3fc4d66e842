//! How far the job of a run is on its way into the store.
//!
//! A run begins before its job is stored. Nothing of it may be saved, shown or answered until the
//! job is, and a run so short that nobody had to be told of it before is stored once, with its end.
//! So the job is first held here, and somebody takes it out to store it, either as a job that runs
//! (because something of the run is to be saved, its client gets no answer in time, or it was held
//! long enough) or as one that has ended. Only one of the two happens:
//!
//! ```text
//!                 begin_storing             stored
//!   held ─▶ Held ───────────────▶ Storing ─────────▶ Stored ◀─ claimed
//!            │                       │
//!            │ begin_ending          │ refused
//!            ▼          refused      ▼
//!          Ending ───────────────▶ Refused
//!            │
//!            │ ended
//!            ▼
//!          Ended
//! ```
//!
//! - `Held`: the store knows nothing of the job. [`lease`](RunRecord::lease) asks for it to be
//!   stored.
//! - `Storing`: it is being stored as a job that runs, claimed by this process.
//! - `Stored`: the store has it, and this is the lease under which the run saves, ends or is handed
//!   back. Jobs that the worker claims begin here.
//! - `Ending`: it is being stored together with its end.
//! - `Ended`: the store has both. There never was a lease.
//! - `Refused`: the store does not have it, or has it from an earlier request. The run is dropped:
//!   a wait for its lease never ends.
//!
//! Who takes the job out of `Held` gets a [`Storing`] or a [`StoringEnd`], and says with it what
//! became of the job; no other transition can be written down. What happens in which order, and
//! why, is told in `docs/decisions/2026-11-30-a-run-begins-before-its-job-is-stored.md`.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use jobs::job::NewJob;
use jobs::store::{Error, Lease};
use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct RunRecord {
    state: Mutex<State>,
    /// The job should be stored. For the one task that stores it.
    wanted: Notify,
    /// The state is one of the last ones: `Stored`, `Ended`, `Refused`.
    settled: Notify,
}

#[derive(Debug)]
enum State {
    Held(Box<NewJob>),
    Storing,
    Stored(Lease),
    Ending,
    Ended,
    /// With the error where its end could not be stored.
    Refused(Option<Error>),
}

/// A job that is being stored as one that runs.
#[derive(Debug)]
#[must_use = "the record waits to be told what became of its job"]
pub(crate) struct Storing<'a>(&'a RunRecord);

impl Storing<'_> {
    /// The job is stored and ours.
    pub(crate) fn stored(self, lease: Lease) {
        self.0.settle(State::Stored(lease));
    }

    /// The store did not take the job, or had it already.
    pub(crate) fn refused(self) {
        self.0.settle(State::Refused(None));
    }
}

/// A job that is being stored with its end.
#[derive(Debug)]
#[must_use = "the record waits to be told what became of its job"]
pub(crate) struct StoringEnd<'a>(&'a RunRecord);

impl StoringEnd<'_> {
    /// The job is stored, and so is its end.
    pub(crate) fn ended(self) {
        self.0.settle(State::Ended);
    }

    /// The store took neither.
    pub(crate) fn refused(self, error: Error) {
        self.0.settle(State::Refused(Some(error)));
    }
}

impl RunRecord {
    /// Of a job that is new.
    pub(crate) fn held(job: Box<NewJob>) -> Self {
        Self::new(State::Held(job))
    }

    /// Of a job that was claimed.
    pub(crate) fn claimed(lease: Lease) -> Self {
        Self::new(State::Stored(lease))
    }

    fn new(state: State) -> Self {
        Self {
            state: Mutex::new(state),
            wanted: Notify::new(),
            settled: Notify::new(),
        }
    }

    /// The job, to be stored as one that runs; `None` where it is not held any more.
    pub(crate) fn begin_storing(&self) -> Option<(Box<NewJob>, Storing<'_>)> {
        let job = self.take_held(State::Storing)?;
        Some((job, Storing(self)))
    }

    /// The job, to be stored with its end; `None` where it is not held any more: then its end is
    /// stored under its [`lease`](Self::lease).
    pub(crate) fn begin_ending(&self) -> Option<(Box<NewJob>, StoringEnd<'_>)> {
        let job = self.take_held(State::Ending)?;
        Some((job, StoringEnd(self)))
    }

    /// Waits until the job should be stored, or its end was or was refused. The end wakes nobody:
    /// it comes from the same task, which polls this once more.
    pub(crate) async fn wanted(&self) {
        let mut wanted = pin!(self.wanted.notified());
        poll_fn(|context| match &*self.state() {
            State::Ended | State::Refused(Some(_)) => Poll::Ready(()),
            _ => wanted.as_mut().poll(context),
        })
        .await;
    }

    /// Waits until the job is stored, and has it stored if it is still held.
    pub(crate) async fn lease(&self) -> Lease {
        loop {
            let settled = self.settled.notified();
            match &*self.state() {
                State::Stored(lease) => return *lease,
                State::Held(_) => self.wanted.notify_one(),
                State::Storing | State::Ending | State::Ended | State::Refused(_) => {}
            }
            settled.await;
        }
    }

    /// The lease, where there is one.
    pub(crate) fn granted(&self) -> Option<Lease> {
        match &*self.state() {
            State::Stored(lease) => Some(*lease),
            State::Held(_) | State::Storing | State::Ending | State::Ended | State::Refused(_) => {
                None
            }
        }
    }

    /// Waits for what becomes of a job that is stored with its end.
    pub(crate) async fn end_stored(&self) -> Result<(), Error> {
        loop {
            let settled = self.settled.notified();
            match &*self.state() {
                State::Ended => return Ok(()),
                State::Refused(Some(error)) => return Err(error.clone()),
                State::Held(_)
                | State::Storing
                | State::Stored(_)
                | State::Ending
                | State::Refused(None) => {}
            }
            settled.await;
        }
    }

    fn take_held(&self, next: State) -> Option<Box<NewJob>> {
        let mut state = self.state();
        if !matches!(*state, State::Held(_)) {
            return None;
        }
        match std::mem::replace(&mut *state, next) {
            State::Held(job) => Some(job),
            _ => None,
        }
    }

    fn settle(&self, last: State) {
        *self.state() = last;
        self.settled.notify_waiters();
    }

    /// Whole whoever panicked: each change is one assignment.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;
    use futures_util::future::join;
    use jiff::Timestamp;
    use jobs::job::{Definition, JobId, Workload};
    use jobs::json::Json;
    use jobs::store::ReplicaId;
    use uuid::Uuid;

    use super::*;

    const ID: JobId = JobId(Uuid::from_u128(7));

    fn held() -> RunRecord {
        RunRecord::held(Box::new(NewJob {
            id: ID,
            workflow: "chain".into(),
            definition: Arc::new(Definition {
                hash: "hash".into(),
                name: "chain.yaml".into(),
                text: "".into(),
            }),
            workload: Workload {
                inputs: Json::of(&()),
                options: None,
                progress: None,
            },
            metadata: None,
            created_at: Timestamp::UNIX_EPOCH,
            deadline: None,
            owner: None,
            retried_from: None,
            idempotency: None,
            webhook: None,
            level: 1,
        }))
    }

    fn lease() -> Lease {
        Lease {
            job: ID,
            token: 1,
            replica: ReplicaId(Uuid::nil()),
        }
    }

    fn failed() -> Error {
        Error::Unavailable("the disk is full".to_owned())
    }

    /// A record in each state, with its name.
    fn in_each_state() -> [(&'static str, RunRecord); 7] {
        let storing = held();
        drop(storing.begin_storing().unwrap());
        let stored = held();
        stored.begin_storing().unwrap().1.stored(lease());
        let refused = held();
        refused.begin_storing().unwrap().1.refused();
        let ending = held();
        drop(ending.begin_ending().unwrap());
        let ended = held();
        ended.begin_ending().unwrap().1.ended();
        let end_refused = held();
        end_refused.begin_ending().unwrap().1.refused(failed());
        [
            ("Held", held()),
            ("Storing", storing),
            ("Stored", stored),
            ("Refused", refused),
            ("Ending", ending),
            ("Ended", ended),
            ("Refused with its end", end_refused),
        ]
    }

    #[test]
    fn only_a_held_job_can_be_taken_to_be_stored() {
        for (state, record) in in_each_state() {
            let taken = record.begin_storing().map(|(job, _)| job.id);
            assert_eq!(taken, (state == "Held").then_some(ID), "{state}");
        }
        assert!(RunRecord::claimed(lease()).begin_storing().is_none());
    }

    #[test]
    fn only_a_held_job_can_be_taken_to_be_stored_with_its_end() {
        for (state, record) in in_each_state() {
            let taken = record.begin_ending().map(|(job, _)| job.id);
            assert_eq!(taken, (state == "Held").then_some(ID), "{state}");
        }
        assert!(RunRecord::claimed(lease()).begin_ending().is_none());
    }

    #[test]
    fn there_is_a_lease_once_the_job_is_stored_or_was_claimed() {
        for (state, record) in in_each_state() {
            let expected = (state == "Stored").then(lease);
            assert_eq!(record.granted(), expected, "{state}");
            assert_eq!(record.lease().now_or_never(), expected, "{state}");
        }
        let claimed = RunRecord::claimed(lease());
        assert_eq!(claimed.granted(), Some(lease()));
        assert_eq!(claimed.lease().now_or_never(), Some(lease()));
    }

    #[test]
    fn the_end_is_stored_or_refused_where_it_was_begun() {
        for (state, record) in in_each_state() {
            let found = record.end_stored().now_or_never();
            match state {
                "Ended" => assert!(matches!(found, Some(Ok(()))), "{found:?}"),
                "Refused with its end" => {
                    assert!(
                        matches!(found, Some(Err(Error::Unavailable(_)))),
                        "{found:?}"
                    );
                }
                _ => assert!(found.is_none(), "{state}: {found:?}"),
            }
        }
    }

    #[test]
    fn storing_is_wanted_by_who_asks_for_the_lease_of_a_held_job() {
        let record = held();
        assert!(record.wanted().now_or_never().is_none());
        assert!(record.lease().now_or_never().is_none());
        assert!(record.wanted().now_or_never().is_some());
        assert!(record.wanted().now_or_never().is_none(), "once");
    }

    #[test]
    fn who_would_store_the_job_is_woken_when_its_end_was() {
        for (state, record) in in_each_state() {
            let woken = record.wanted().now_or_never().is_some();
            let is_end = state == "Ended" || state == "Refused with its end";
            assert_eq!(woken, is_end, "{state}");
        }
    }

    #[tokio::test]
    async fn everybody_who_waits_for_the_lease_is_told() {
        let record = held();
        let granting = async {
            record.wanted().await;
            let (_, storing) = record.begin_storing().unwrap();
            tokio::task::yield_now().await;
            storing.stored(lease());
        };
        let waiting = join(record.lease(), record.lease());
        let (leases, ()) = join(waiting, granting).await;
        assert_eq!(leases, (lease(), lease()));
    }

    #[tokio::test]
    async fn who_waits_for_the_end_to_be_stored_is_told() {
        let record = held();
        let (_, ending) = record.begin_ending().unwrap();
        let ended = async {
            tokio::task::yield_now().await;
            ending.ended();
        };
        let (stored, ()) = join(record.end_stored(), ended).await;
        assert!(stored.is_ok());
    }
}
