//! The worker: claims jobs that wait in the store.

use std::sync::Arc;
use std::time::Duration;

use jobs::store::{Claimed, Error};

use crate::execution::Execution;
use crate::shared::Shared;

/// The longest time between two looks at the store.
const TICK: Duration = Duration::from_secs(1);

/// Part of [`TICK`] by which the looks of several replicas are spread.
const SPREAD: f64 = 0.2;

/// The claims of replicas that hear of a waiting job are spread over this time.
const HINT_SPREAD: Duration = Duration::from_millis(25);

/// Where such a claim was in vain, the next one waits for this long.
const HINT_PAUSE: Duration = Duration::from_millis(100);

/// Jobs per call of the store, so that no call holds it for long.
const BATCH: usize = 256;

/// Works until told to stop.
pub(crate) async fn work(shared: Arc<Shared>) {
    tokio::select! {
        biased;
        () = shared.lifecycle.stopped.cancelled() => return,
        () = shared.lifecycle.taken_over.wait() => {}
    }
    let host = &shared.host;
    let mut next_turn = Duration::ZERO;
    let mut next_hint = Duration::ZERO;
    let mut is_hinted = false;
    loop {
        if is_hinted {
            let claimed = claim_jobs(&shared).await;
            if !matches!(claimed, Ok(1..)) {
                // Others were faster.
                next_hint = host.elapsed() + HINT_PAUSE;
            }
            log_failure(&shared, claimed.map(|_| ()));
        } else {
            log_failure(&shared, take_turn(&shared).await);
            next_turn = host.elapsed() + pause(&shared);
        }
        let hinted = async {
            shared.slots.hinted().await;
            let spread = HINT_SPREAD.mul_f64(host.random());
            let pause = next_hint.saturating_sub(host.elapsed());
            host.sleep(spread.max(pause)).await;
        };
        is_hinted = tokio::select! {
            biased;
            () = shared.lifecycle.stopped.cancelled() => return,
            () = shared.slots.woken() => false,
            () = host.sleep(next_turn.saturating_sub(host.elapsed())) => false,
            () = hinted => true,
        };
    }
}

/// Replicas of a shared store do not all look at once.
fn pause(shared: &Shared) -> Duration {
    if shared.store.is_shared() {
        TICK.mul_f64(1.0 - SPREAD + 2.0 * SPREAD * shared.host.random())
    } else {
        TICK
    }
}

async fn take_turn(shared: &Arc<Shared>) -> Result<(), Error> {
    if shared.store_health.is_failing() {
        // Runs may wait for that, and no other is to begin before.
        shared
            .store_health
            .check(&*shared.store, &*shared.host)
            .await?;
    }
    if shared.store.is_shared() && !shared.runs.is_empty() {
        // Asked for at another replica.
        for id in shared.store.cancelling(shared.runs.replica()).await? {
            shared.runs.cancel(id);
        }
    }
    // Taken before looking at `draining`: a drain that begins now waits for these claims.
    let _claims = shared.lifecycle.tasks.token();
    if claims(shared) {
        end_overdue_jobs(shared).await?;
    }
    claim_jobs(shared).await.map(|_| ())
}

/// Whether jobs are claimed.
fn claims(shared: &Shared) -> bool {
    !shared.lifecycle.is_draining() || !shared.store.is_durable()
}

/// A store that does not answer is asked again at the next tick.
fn log_failure(shared: &Shared, result: Result<(), Error>) {
    if let Err(error) = result {
        shared.store_health.note(&error, &*shared.host);
        tracing::warn!(%error, "cannot reach the job store; retrying");
    }
}

/// Ends jobs whose deadline passed in the queue; they need no slot for that.
async fn end_overdue_jobs(shared: &Arc<Shared>) -> Result<(), Error> {
    while shared.lease_is_relied_on() {
        let _claiming = shared.runs.claiming();
        let overdue = shared
            .store
            .claim_overdue(shared.runs.replica(), BATCH, shared.host.now())
            .await?;
        let was_all = overdue.len() < BATCH;
        for claimed in overdue {
            Execution::start(shared, claimed, None);
        }
        if was_all {
            return Ok(());
        }
    }
    Ok(())
}

/// Starts as many jobs as there are free slots; returns how many.
async fn claim_jobs(shared: &Arc<Shared>) -> Result<usize, Error> {
    // In this order, as above.
    let _claims = shared.lifecycle.tasks.token();
    let mut started = 0;
    while claims(shared) && shared.lease_is_relied_on() {
        let slots = shared.slots.take_for_waiting(BATCH);
        if slots.is_empty() {
            break;
        }
        let _claiming = shared.runs.claiming();
        let claimed = shared
            .store
            .claim_fairly(
                shared.runs.replica(),
                slots.len(),
                &shared.runs.by_workflow(),
                shared.host.now(),
            )
            .await;
        let claimed: Vec<Claimed> = claimed.inspect_err(|_| shared.slots.leaves_backlog())?;
        let was_all = claimed.len() < slots.len();
        for (claimed, slot) in claimed.into_iter().zip(slots) {
            Execution::start(shared, claimed, Some(slot));
            started += 1;
        }
        if was_all {
            if started > 0 && shared.store.is_shared() {
                // Another replica may have held what this one has passed over.
                shared.slots.job_may_wait();
            }
            break;
        }
        shared.slots.leaves_backlog();
    }
    Ok(started)
}
