//! The worker: keeps the leases of the runs that are here, and claims jobs that wait in the store.

use std::sync::Arc;
use std::time::Duration;

use engine::host::Host;
use jiff::Timestamp;
use jobs::store::{Claimed, Error};

use crate::execution::Execution;
use crate::shared::Shared;

/// The longest time between two looks at the store.
const TICK: Duration = Duration::from_secs(1);

/// Jobs per call of the store, so that no call holds it for long.
const BATCH: usize = 256;

/// Works until told to stop.
pub(crate) async fn work(shared: Arc<Shared>) {
    let mut heartbeats = Heartbeats::new(&shared);
    let mut orphans_wait = shared.settings.exclusive_store;
    loop {
        log_failure(
            &shared,
            take_turn(&shared, &mut heartbeats, &mut orphans_wait).await,
        );
        tokio::select! {
            biased;
            () = shared.lifecycle.stopped.cancelled() => return,
            () = shared.slots.woken() => {}
            () = shared.host.sleep(TICK.min(heartbeats.every)) => {}
        }
    }
}

async fn take_turn(
    shared: &Arc<Shared>,
    heartbeats: &mut Heartbeats,
    orphans_wait: &mut bool,
) -> Result<(), Error> {
    // Before anything is claimed: these leases must not be our own.
    if *orphans_wait {
        let left = shared.store.release_leases().await?;
        if left > 0 {
            tracing::info!(jobs = left, "resuming the runs of an earlier process");
        }
        shared.in_flight.recall(&*shared.store).await?;
        *orphans_wait = false;
    }
    // From the second turn on it is set.
    let _ = shared.lifecycle.taken_over.set(());
    let begun = Clocks::read(&*shared.host);
    if !heartbeats.last.are_within(heartbeats.every, begun) || shared.runs.has_old_leases() {
        renew_leases(shared).await?;
        heartbeats.last = begun;
    }
    if shared.store_health.is_failing() {
        // Runs may wait for that, and no other is to begin before.
        shared
            .store_health
            .check(&*shared.store, &*shared.host)
            .await?;
    }
    // Taken before looking at `draining`: a drain that begins now waits for these claims.
    let _claims = shared.lifecycle.tasks.token();
    if !shared.lifecycle.is_draining() || !shared.store.is_durable() {
        end_overdue_jobs(shared).await?;
        claim_jobs(shared, heartbeats).await?;
    }
    Ok(())
}

/// When leases are to be renewed.
struct Heartbeats {
    every: Duration,
    /// Leases are claimed only within this time after a renewal.
    valid: Duration,
    last: Clocks,
}

impl Heartbeats {
    fn new(shared: &Shared) -> Self {
        Self {
            every: shared.settings.lease / 3,
            valid: shared.settings.lease / 2,
            last: Clocks::read(&*shared.host),
        }
    }

    /// The time before which leases must have expired to be claimed. `None` while a lease of this
    /// process may have expired by then, as after a pause of the process or of the store: our own
    /// runs must not look like those of a dead process.
    fn claim_time(&self, shared: &Shared) -> Option<Timestamp> {
        let now = Clocks::read(&*shared.host);
        let renewed = self.last.are_within(self.valid, now) && !shared.runs.has_old_leases();
        let stored = shared.runs.oldest_arrival().is_none_or(|arrival| {
            Duration::try_from(now.wall.duration_since(arrival)).is_ok_and(|age| age < self.valid)
        });
        (renewed && stored).then_some(now.wall)
    }
}

/// Leases expire by the wall clock, which may be set, and which runs while the machine sleeps and
/// the monotonic clock stands still. So either clock can make it time to renew them.
#[derive(Clone, Copy)]
struct Clocks {
    monotonic: Duration,
    wall: Timestamp,
}

impl Clocks {
    fn read(host: &dyn Host) -> Self {
        Self {
            monotonic: host.elapsed(),
            wall: host.now(),
        }
    }

    /// Whether less than this time has passed since, on both clocks.
    fn are_within(self, time: Duration, now: Self) -> bool {
        let by_wall = Duration::try_from(now.wall.duration_since(self.wall));
        now.monotonic.saturating_sub(self.monotonic) < time
            && by_wall.is_ok_and(|passed| passed < time)
    }
}

/// A store that does not answer is asked again at the next tick.
fn log_failure(shared: &Shared, result: Result<(), Error>) {
    if let Err(error) = result {
        shared.store_health.note(&error, &*shared.host);
        tracing::warn!(%error, "cannot reach the job store; retrying");
    }
}

/// Renews the lease of every run here, and stops those that are cancelled or whose lease is lost.
async fn renew_leases(shared: &Shared) -> Result<(), Error> {
    shared.runs.begin_renewal();
    for runs in shared.runs.all().chunks(BATCH) {
        let (runs, leases): (Vec<_>, Vec<_>) = runs
            .iter()
            .filter_map(|run| Some((run, run.record.granted()?)))
            .unzip();
        let states = shared
            .store
            .heartbeat(&leases, shared.settings.lease, shared.host.now())
            .await?;
        for (run, state) in runs.into_iter().zip(states) {
            if state.lease.is_none() {
                run.abandon.cancel();
            } else if state.cancel {
                run.cancel.cancel();
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Ends jobs whose deadline passed in the queue; they need no slot for that.
async fn end_overdue_jobs(shared: &Arc<Shared>) -> Result<(), Error> {
    loop {
        let overdue = shared
            .store
            .claim_overdue(shared.runs.claimant(), BATCH, shared.host.now())
            .await?;
        let was_all = overdue.len() < BATCH;
        for claimed in overdue {
            Execution::start(shared, claimed, None);
        }
        if was_all {
            return Ok(());
        }
    }
}

/// Starts as many jobs as there are free slots.
async fn claim_jobs(shared: &Arc<Shared>, heartbeats: &Heartbeats) -> Result<(), Error> {
    while let Some(now) = heartbeats.claim_time(shared) {
        let slots = shared.slots.take_for_waiting(BATCH);
        if slots.is_empty() {
            return Ok(());
        }
        let claiming = shared.runs.claiming(now);
        let claimed = shared
            .store
            .claim_fairly(
                shared.runs.claimant(),
                slots.len(),
                &shared.runs.by_workflow(),
                now,
            )
            .await;
        drop(claiming);
        let claimed: Vec<Claimed> = claimed.inspect_err(|_| shared.slots.leaves_backlog())?;
        let was_all = claimed.len() < slots.len();
        for (claimed, slot) in claimed.into_iter().zip(slots) {
            Execution::start(shared, claimed, Some(slot));
        }
        if was_all {
            return Ok(());
        }
        shared.slots.leaves_backlog();
    }
    Ok(())
}
