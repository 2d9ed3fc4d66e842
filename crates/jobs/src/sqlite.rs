//! The store in one SQLite file: for servers whose jobs outlive the process.
//!
//! **Tables** (`sqlite/schema_*.sql`). `jobs` has a row per job with what a listing shows. What is
//! large or rarely read is in tables of its own by the row's number: `work` (inputs, options),
//! `progress`, `outputs`, `events`; so scans stay narrow and a checkpoint rewrites nothing but the
//! progress. Large inputs and progress that come with jobs are in `contents`, each text once. A
//! definition is stored once, with the number of jobs that have it. `idempotency_keys` lead to
//! their jobs. `webhooks` has a row per job whose end is to be told, and `jobs.owes_webhook` says
//! that it has not been yet. Whatever belongs to a job goes with its row. `waits` has a row per
//! parked job, `wake_ups` one for each thing that woke a job. `api_keys` has a row per API key,
//! `key_spending` the sums of each key and day, `spending_batches` what makes a batch of them be
//! added once. Who is alive is not stored: see `holders`.
//!
//! **Indexes.** Each verb finds its rows in one: `jobs_by_status` is the queue (the pending ones by
//! id), has the ones that run, and is, with those by workflow and owner, the order of listings;
//! `jobs_by_deadline` has the pending and the parked ones by deadline, `waits_by_time` the parked
//! ones by when they wake by themselves, `jobs_by_end` the ended ones in the order in which they are
//! forgotten, without those that owe a webhook; `webhooks_by_time` has the deliveries by when they
//! are due, `webhooks_by_host` by host, and `webhook_hosts`, which triggers maintain, the hosts by
//! what is due first: deliveries to a host that can take no more are not read. Everything costs
//! O(log n) for each job touched, but for beats and looks for jobs that have lapsed: they read what
//! runs. The jobs are counted once, when the file is opened; from then on the writer keeps the
//! numbers.
//!
//! **Threads.** One thread writes, and commits the changes of many callers together (`writer`); a
//! few threads read beside it (`readers`), so that a poll waits for no commit. Verbs that touch
//! many jobs are cut into chunks, between which others get their turn.
//!
//! **Durability.** Write-ahead log, `synchronous = FULL`: what was answered is on the disk. A lock
//! beside the file and one of the file itself keep other stores off it; they are released by the
//! operating system when the process ends, however it ends. Before each commit the writer checks
//! that the files are still at their paths (`files`, `database`), and some space is kept for
//! deleting jobs on a full disk (`reserve`).

mod chunks;
mod contents;
mod database;
mod deliveries;
mod fault;
mod files;
mod holders;
mod keys;
mod lapses;
mod leases;
mod listing;
mod open;
mod options;
mod owners;
mod parking;
mod readers;
mod reading;
mod removal;
mod reserve;
mod saving;
mod space;
mod spend;
mod submission;
mod tables;
mod values;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::fairness;
use crate::job::{Definition, Ending, Job, JobId, NewJob, Workload};
use crate::json::Json;
use crate::parking::{Parked, Wait, WakeUp, Woken};
use crate::replicas::compare;
use crate::store::{
    Beat, CancelRequested, Claimed, Counts, Error, Filter, IDEMPOTENCY_KEPT, JobStore, Lease, Page,
    Renewal, Replica, ReplicaId, ReplicaState, StoredEvent, SubmitOptions, Submitted, Tail,
    Unfinished, earlier,
};
use crate::webhook::{ClaimedDelivery, DeliveryCapacity, DeliveryLease, Settlement, Webhook};
use contents::Hashes;
use database::Database;
use readers::{Connections, Readers};
use tables::{CHUNK, Tables};
use writer::Writer;

pub use open::OpenError;
pub use options::Options;
pub use writer::Activity;

/// See the module. Dropping it commits what was asked for, and ends its threads.
#[derive(Debug)]
pub struct SqliteStore {
    // Dropped in this order: the writer closes the file.
    readers: Readers,
    writer: Writer,
    /// Held by the caller that tests whether there is space again.
    padding: tokio::sync::Mutex<()>,
}

impl SqliteStore {
    /// Opens a file, or creates it in an existing directory. Refuses a file that cannot be written,
    /// or that a short check finds damaged. Blocks for that check and for counting the jobs: less
    /// than two seconds for a million jobs.
    pub fn open(path: &Path, options: &Options) -> Result<Self, OpenError> {
        let file = open::locate(path)?;
        let lock = open::Lock::of(&file)?;
        let connections = Connections::to(&file, options.busy_timeout);
        let database = Database::open(file, lock, options.clone(), connections.clone())?;
        Ok(Self {
            writer: Writer::start(database)?,
            readers: Readers::start(&connections)?,
            padding: tokio::sync::Mutex::default(),
        })
    }

    /// Returns how many changes have been made since it was opened, and in how many commits.
    pub fn activity(&self) -> Activity {
        self.writer.activity()
    }
}

#[async_trait]
impl JobStore for SqliteStore {
    async fn submit(&self, job: NewJob, options: SubmitOptions) -> Result<Submitted, Error> {
        let hashes = Hashes::of(&job.workload).await;
        self.writer
            .write(move |tables| tables.submit(&job, &hashes, &options))
            .await
    }

    async fn submit_ended(
        &self,
        job: NewJob,
        by: ReplicaId,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error> {
        let hashes = Hashes::of(&job.workload).await;
        self.writer
            .write(move |tables| tables.submit_ended(&job, &hashes, by, &ending, &events))
            .await
    }

    async fn claim(
        &self,
        by: ReplicaId,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        self.in_chunks(limit, |_, most| {
            move |tables: &mut Tables<'_>| tables.claim(by, most, now)
        })
        .await
    }

    async fn claim_fairly(
        &self,
        by: ReplicaId,
        limit: usize,
        running: &BTreeMap<Arc<str>, usize>,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        self.in_chunks(limit, |claimed: &[Claimed], most| {
            let mut running = running.clone();
            fairness::count(&mut running, claimed);
            move |tables: &mut Tables<'_>| tables.claim_fairly(by, most, &running, now)
        })
        .await
    }

    async fn release_leases(&self) -> Result<usize, Error> {
        self.writer
            .write(|tables| {
                tables.release_deliveries()?;
                Ok(tables.release_leases())
            })
            .await
    }

    async fn register(&self, replica: &Replica, now: Timestamp) -> Result<(), Error> {
        self.writer.holders().replicas().register(replica, now);
        Ok(())
    }

    async fn beat(
        &self,
        by: ReplicaId,
        renewal: Renewal<'_>,
        now: Timestamp,
    ) -> Result<Beat, Error> {
        self.writer.holders().replicas().beat(by, renewal, now)?;
        let held = self
            .readers
            .read(move |connection| lapses::held_by(connection, by))
            .await?;
        if !self.writer.holders().replicas().is_alive(by) {
            // Declared dead meanwhile.
            return Err(Error::Fenced(by));
        }
        let beat = compare(by, renewal.leases, held);
        if !beat.lost.is_empty() {
            self.writer.holders().some_may_have_lapsed();
        }
        Ok(beat)
    }

    async fn deregister(&self, id: ReplicaId) -> Result<(), Error> {
        self.writer.holders().deregister(id);
        Ok(())
    }

    async fn replicas(&self) -> Result<Vec<ReplicaState>, Error> {
        let held = self.readers.read(lapses::held_by_each).await?;
        let replicas = self.writer.holders().replicas();
        Ok(replicas.states(|id| held.get(&id).copied().unwrap_or(0)))
    }

    async fn cancelling(&self, by: ReplicaId) -> Result<Vec<JobId>, Error> {
        self.readers
            .read(move |connection| lapses::cancelling(connection, by))
            .await
    }

    async fn claim_overdue(
        &self,
        by: ReplicaId,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        self.in_chunks(limit, |_, most| {
            move |tables: &mut Tables<'_>| tables.claim_overdue(by, most, now)
        })
        .await
    }

    async fn checkpoint(
        &self,
        lease: &Lease,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<(), Error> {
        let lease = *lease;
        self.writer
            .write(move |tables| tables.checkpoint(&lease, progress.as_ref(), &events))
            .await
    }

    async fn finish(
        &self,
        lease: &Lease,
        ending: Ending,
        events: Vec<StoredEvent>,
    ) -> Result<Job, Error> {
        let lease = *lease;
        self.writer
            .write(move |tables| tables.finish(&lease, &ending, &events))
            .await
    }

    async fn hand_back(&self, lease: &Lease) -> Result<(), Error> {
        let lease = *lease;
        self.writer
            .write(move |tables| tables.hand_back(&lease))
            .await
    }

    async fn park(
        &self,
        lease: &Lease,
        wait: Wait,
        progress: Option<Json>,
        events: Vec<StoredEvent>,
    ) -> Result<Parked, Error> {
        let lease = *lease;
        self.writer
            .write(move |tables| tables.park(&lease, &wait, progress.as_ref(), &events))
            .await
    }

    async fn wake(&self, id: JobId, wake_up: WakeUp) -> Result<Woken, Error> {
        self.writer
            .write(move |tables| tables.wake(id, &wake_up))
            .await
    }

    async fn waits_for(&self, id: JobId) -> Result<Option<Wait>, Error> {
        self.readers
            .read(move |connection| parking::wait(connection, id))
            .await
    }

    async fn request_cancel(&self, id: JobId, now: Timestamp) -> Result<CancelRequested, Error> {
        self.writer
            .write(move |tables| tables.request_cancel(id, now))
            .await
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, Error> {
        self.readers
            .read(move |connection| reading::whole_job(connection, id))
            .await
    }

    async fn workload(&self, id: JobId) -> Result<Option<Workload>, Error> {
        self.readers
            .read(move |connection| reading::workload(connection, id))
            .await
    }

    async fn definition(&self, hash: &str) -> Result<Option<Arc<Definition>>, Error> {
        let hash: Arc<str> = hash.into();
        self.readers
            .read(move |connection| reading::definition(connection, &hash))
            .await
    }

    async fn list(
        &self,
        filter: &Filter,
        cursor: Option<JobId>,
        limit: usize,
    ) -> Result<Page, Error> {
        let filter = filter.clone();
        let id_skew_ms = self.writer.id_skew_ms();
        self.readers
            .read(move |connection| listing::page(connection, &filter, cursor, limit, id_skew_ms))
            .await
    }

    async fn events(&self, id: JobId, after: u64, limit: usize) -> Result<Vec<StoredEvent>, Error> {
        self.readers
            .read(move |connection| reading::events(connection, id, after, limit))
            .await
    }

    async fn tails(
        &self,
        positions: &[(JobId, u64)],
        limit: usize,
    ) -> Result<Vec<Option<Tail>>, Error> {
        let positions = positions.to_vec();
        self.readers
            .read(move |connection| reading::tails(connection, &positions, limit))
            .await
    }

    async fn claim_deliveries(
        &self,
        capacity: &DeliveryCapacity,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<ClaimedDelivery>, Error> {
        let capacity = DeliveryCapacity {
            total: capacity.total.min(CHUNK),
            ..capacity.clone()
        };
        self.writer
            .write(move |tables| tables.claim_deliveries(&capacity, lease_for, now))
            .await
    }

    async fn settle_delivery(
        &self,
        lease: &DeliveryLease,
        settlement: Settlement,
        now: Timestamp,
    ) -> Result<(), Error> {
        let lease = lease.clone();
        self.writer
            .write(move |tables| tables.settle_delivery(&lease, &settlement, now))
            .await
    }

    async fn webhook(&self, id: JobId) -> Result<Option<Webhook>, Error> {
        self.readers
            .read(move |connection| reading::webhook(connection, id))
            .await
    }

    async fn delete(&self, id: JobId) -> Result<(), Error> {
        self.writer
            .make_space(move |tables| tables.delete(id))
            .await
    }

    async fn expire(
        &self,
        kept_for: Duration,
        limit: usize,
        now: Timestamp,
    ) -> Result<usize, Error> {
        let before = earlier(now, kept_for);
        let verb = |_: &[_], most| move |tables: &mut Tables<'_>| tables.expire(before, most);
        let forgotten = self.forgotten_in_chunks(limit, verb).await?.len();
        if forgotten < limit {
            self.give_back_space().await;
        }
        Ok(forgotten)
    }

    async fn expire_over(&self, max_bytes: u64, limit: usize) -> Result<usize, Error> {
        let is_over = move |tables: &mut Tables<'_>| Ok(tables.takes_more_than(max_bytes)?);
        if self.writer.write(is_over).await? {
            // That may suffice.
            self.writer.shorten_log();
        }
        let verb =
            |_: &[_], most| move |tables: &mut Tables<'_>| tables.expire_over(max_bytes, most);
        let forgotten = self.forgotten_in_chunks(limit, verb).await?.len();
        if forgotten < limit {
            self.give_back_space().await;
        }
        Ok(forgotten)
    }

    async fn expire_keys(&self, limit: usize, now: Timestamp) -> Result<usize, Error> {
        let used_before = earlier(now, IDEMPOTENCY_KEPT);
        self.writer
            .make_space(move |tables| tables.expire_keys(used_before, limit))
            .await
    }

    async fn counts(&self) -> Result<Counts, Error> {
        Ok(self.writer.counts())
    }

    async fn unfinished(
        &self,
        owner: Option<&str>,
    ) -> Result<BTreeMap<Arc<str>, Unfinished>, Error> {
        let owner: Option<Arc<str>> = owner.map(Arc::from);
        self.readers
            .read(move |connection| owners::unfinished(connection, owner.as_deref()))
            .await
    }

    /// Reads and writes. After a failed write it writes enough to show that there is space again.
    async fn ping(&self) -> Result<(), Error> {
        self.readers
            .read(|connection| connection.query_row("SELECT ms FROM id_skew", [], |_| Ok(())))
            .await?;
        if self.writer.failures().is_some() {
            // One at a time. Callers that waited for it may find that all is well.
            let _turn = self.padding.lock().await;
            if let Some(failures) = self.writer.failures() {
                self.writer.write(|tables| tables.pad()).await?;
                self.writer.write(|tables| tables.unpad()).await?;
                self.writer.overcome(failures);
            }
            return Ok(());
        }
        self.writer
            .write(|tables| Ok(open::try_to_write(tables.connection)?))
            .await
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn is_shared(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::fault::Failure;
    use super::*;

    #[tokio::test]
    async fn a_panic_of_a_thread_costs_what_it_was_asked_for_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("flowmill.db");
        let store = SqliteStore::open(&file, &Options::default()).unwrap();
        let told = |result: Result<(), Error>| match result {
            Err(Error::Unavailable(sentence)) => {
                assert!(sentence.contains("a fault inside flowmill"));
            }
            other => panic!("{other:?}"),
        };
        for _ in 0..9 {
            told(store.writer.write(|_| panic!("told to")).await);
            told(store.readers.read(|_| panic!("told to")).await);
        }
        let (panics, works) = tokio::join!(
            store
                .writer
                .write(|_| -> Result<(), Failure> { panic!("told to") }),
            store.writer.write(|tables| tables.pad()),
        );
        told(panics);
        works.unwrap();
        store.ping().await.unwrap();
        assert_eq!(store.counts().await.unwrap(), Counts::default());
    }
}
