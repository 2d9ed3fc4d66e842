//! Stores around other stores: they pass every verb on, and measure it, delay it or let it fail.
//!
//! Such a store implements [`ForwardingStore`], which is two functions, and is a [`JobStore`] by that.
//!
//! **To add a verb** to [`JobStore`], add its row to the table at the end of this file: the [`Verb`] that
//! forwarding stores know it by, its name, its arguments, after a semicolon the time of the caller, and
//! its answer. They need no change, unless the row names a new `Verb`: then the compiler asks each of
//! them what it means there.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::job::{Definition, Ending, Job, JobId, NewJob, Workload};
use crate::json::Json;
use crate::parking::{Parked, Wait, WakeUp, Woken};
use crate::store::{
    Beat, CancelRequested, Claimed, Counts, Error, Filter, JobStore, Lease, Page, Renewal, Replica,
    ReplicaId, ReplicaState, StoredEvent, SubmitOptions, Submitted, Tail, Unfinished,
};
use crate::webhook::{ClaimedDelivery, DeliveryCapacity, DeliveryLease, Settlement, Webhook};

/// What a call asks of a store. Calls that no forwarding store tells apart share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Storing a job, with its end or without.
    Submit,
    /// Claiming jobs, by age, fairly or because their deadline has passed.
    Claim,
    /// Releasing the leases that an earlier process left.
    Release,
    /// Registering a replica, its beats, and its leave.
    Heartbeat,
    /// Saving events.
    Checkpoint {
        /// The whole progress as well.
        with_progress: bool,
    },
    /// Ending a job.
    Finish,
    /// Giving this job back unfinished.
    HandBack(JobId),
    /// Parking this job.
    Park(JobId),
    /// Waking a job.
    Wake,
    /// Asking for a job to stop.
    Cancel,
    /// Reading one job, or something of it.
    Read,
    /// Reading a definition.
    Definition,
    /// Reading or counting many jobs.
    List,
    /// Claiming or settling deliveries.
    Deliver,
    /// Forgetting jobs or idempotency keys.
    Remove,
    /// Asking whether the store answers.
    Ping,
}

/// A store that passes every verb on to another one, and does something around each.
pub trait ForwardingStore: Send + Sync + Debug {
    /// The store that does the work.
    type Inner: JobStore + ?Sized;

    /// The store that does the work.
    fn inner(&self) -> &Self::Inner;

    /// Carries out one call, or does not. Nothing has happened before `call` is polled.
    fn around<T: Send + 'static>(
        &self,
        verb: Verb,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> impl Future<Output = Result<T, Error>> + Send;

    /// As [`JobStore::is_durable`].
    fn outlives_process(&self) -> bool {
        self.inner().is_durable()
    }

    /// The time by which the store judges a call, which came with that of its caller.
    fn judged_at(&self, callers: Timestamp) -> Timestamp {
        callers
    }

    /// As [`JobStore::is_shared`].
    fn serves_several(&self) -> bool {
        self.inner().is_shared()
    }
}

macro_rules! forward {
    ($($verb:expr => $name:ident($($argument:ident: $type:ty),* $(; $now:ident)?) -> $answer:ty;)*) => {
        #[async_trait]
        impl<S: ForwardingStore> JobStore for S {
            $(async fn $name(&self, $($argument: $type,)* $($now: Timestamp)?) -> Result<$answer, Error> {
                let verb = $verb;
                let call = async move {
                    self.inner().$name($($argument,)* $(self.judged_at($now))?).await
                };
                self.around(verb, call).await
            })*

            fn is_durable(&self) -> bool {
                self.outlives_process()
            }

            fn is_shared(&self) -> bool {
                self.serves_several()
            }
        }
    };
}

forward! {
    Verb::Submit => submit(job: NewJob, options: SubmitOptions) -> Submitted;
    Verb::Submit => submit_ended(
        job: NewJob, by: ReplicaId, ending: Ending, events: Vec<StoredEvent>
    ) -> Job;
    Verb::Claim => claim(by: ReplicaId, limit: usize; now) -> Vec<Claimed>;
    Verb::Claim => claim_fairly(
        by: ReplicaId, limit: usize, running: &BTreeMap<Arc<str>, usize>; now
    ) -> Vec<Claimed>;
    Verb::Claim => claim_overdue(by: ReplicaId, limit: usize; now) -> Vec<Claimed>;
    Verb::Release => release_leases() -> usize;
    Verb::Heartbeat => register(replica: &Replica; now) -> ();
    Verb::Heartbeat => beat(by: ReplicaId, renewal: Renewal<'_>; now) -> Beat;
    Verb::Heartbeat => deregister(id: ReplicaId) -> ();
    Verb::List => replicas() -> Vec<ReplicaState>;
    Verb::Read => cancelling(by: ReplicaId) -> Vec<JobId>;
    Verb::Checkpoint { with_progress: progress.is_some() } => checkpoint(
        lease: &Lease, progress: Option<Json>, events: Vec<StoredEvent>
    ) -> ();
    Verb::Finish => finish(lease: &Lease, ending: Ending, events: Vec<StoredEvent>) -> Job;
    Verb::HandBack(lease.job) => hand_back(lease: &Lease) -> ();
    Verb::Park(lease.job) => park(
        lease: &Lease, wait: Wait, progress: Option<Json>, events: Vec<StoredEvent>
    ) -> Parked;
    Verb::Wake => wake(id: JobId, wake_up: WakeUp) -> Woken;
    Verb::Read => waits_for(id: JobId) -> Option<Wait>;
    Verb::Cancel => request_cancel(id: JobId; now) -> CancelRequested;
    Verb::Read => get(id: JobId) -> Option<Job>;
    Verb::Read => workload(id: JobId) -> Option<Workload>;
    Verb::Read => events(id: JobId, after: u64, limit: usize) -> Vec<StoredEvent>;
    Verb::Read => tails(positions: &[(JobId, u64)], limit: usize) -> Vec<Option<Tail>>;
    Verb::Read => webhook(id: JobId) -> Option<Webhook>;
    Verb::Definition => definition(hash: &str) -> Option<Arc<Definition>>;
    Verb::List => list(filter: &Filter, cursor: Option<JobId>, limit: usize) -> Page;
    Verb::List => counts() -> Counts;
    Verb::List => unfinished(owner: Option<&str>) -> BTreeMap<Arc<str>, Unfinished>;
    Verb::Deliver => claim_deliveries(
        capacity: &DeliveryCapacity, lease_for: Duration; now
    ) -> Vec<ClaimedDelivery>;
    Verb::Deliver => settle_delivery(
        lease: &DeliveryLease, settlement: Settlement; now
    ) -> ();
    Verb::Remove => delete(id: JobId) -> ();
    Verb::Remove => expire(kept_for: Duration, limit: usize; now) -> usize;
    Verb::Remove => expire_over(max_bytes: u64, limit: usize) -> usize;
    Verb::Remove => expire_keys(limit: usize; now) -> usize;
    Verb::Ping => ping() -> ();
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use uuid::Uuid;

    use super::*;
    use crate::memory::MemoryStore;

    /// Notes every call, and refuses pings.
    #[derive(Debug, Default)]
    struct Noting {
        memory: MemoryStore,
        seen: Mutex<Vec<Verb>>,
    }

    impl ForwardingStore for Noting {
        type Inner = MemoryStore;

        fn inner(&self) -> &MemoryStore {
            &self.memory
        }

        async fn around<T: Send + 'static>(
            &self,
            verb: Verb,
            call: impl Future<Output = Result<T, Error>> + Send,
        ) -> Result<T, Error> {
            self.seen.lock().unwrap().push(verb);
            if verb == Verb::Ping {
                return Err(Error::NotFound);
            }
            call.await
        }

        fn outlives_process(&self) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn a_call_goes_through_around_to_the_inner_store() {
        let store = Noting::default();
        let id = JobId(Uuid::from_u128(7));
        let lease = Lease {
            job: id,
            token: 1,
            replica: ReplicaId(Uuid::nil()),
        };
        let refused = store.hand_back(&lease).await;
        assert!(matches!(
            refused,
            Err(Error::LeaseLost(_) | Error::NotFound)
        ));
        assert!(store.get(id).await.unwrap().is_none());
        assert!(store.ping().await.is_err(), "it is not passed on");
        assert!(store.is_durable());
        let seen = store.seen.lock().unwrap();
        assert_eq!(*seen, [Verb::HandBack(id), Verb::Read, Verb::Ping]);
    }
}
