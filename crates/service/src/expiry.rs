//! Forgetting jobs that ended: those that are too old, those for which there is no room, and, where none
//! is to be kept, those whose end was read. In small batches with pauses, on a task of its own: it holds up
//! neither the store nor the worker.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::SignedDuration;
use jobs::job::JobId;
use jobs::store::{Error, IDEMPOTENCY_KEPT};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::service::{Settings, Shared};

/// How long a job is kept whose end nobody reads, where jobs are forgotten as soon as it was.
pub const UNREAD_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Between two looks for jobs to be forgotten: one at least in each of these times, and more where jobs are
/// kept for a short time only, or the store's size has to be watched.
const TICK: Duration = Duration::from_secs(60);
const SHORTEST_TICK: Duration = Duration::from_secs(1);

/// Between two batches.
const PAUSE: Duration = Duration::from_millis(20);

/// Jobs forgotten in one call of the store.
const BATCH: usize = 256;

/// Works until told to stop.
pub(crate) async fn forget_jobs(shared: Arc<Shared>, mut read: UnboundedReceiver<JobId>) {
    let host = &*shared.host;
    let tick = tick(&shared.settings);
    let mut next_sweep = host.elapsed() + tick;
    let mut ids = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            () = host.sleep(next_sweep.saturating_sub(host.elapsed())) => {
                let pause = match sweep(&shared).await {
                    Ok(true) => PAUSE,
                    Ok(false) => tick,
                    Err(error) => {
                        tracing::warn!(%error, "old jobs could not be forgotten; trying again");
                        TICK
                    }
                };
                next_sweep = host.elapsed() + pause;
            }
            _ = read.recv_many(&mut ids, BATCH) => {
                // Together: a store commits together what comes together.
                join_all(ids.drain(..).map(|id| forget(&shared, id))).await;
            }
        }
    }
}

/// So often that no more comes in between than a tenth of what is kept.
fn tick(settings: &Settings) -> Duration {
    if settings.max_store_bytes.is_some() {
        return SHORTEST_TICK;
    }
    match settings.retention {
        Duration::ZERO => TICK,
        retention => (retention / 10).clamp(SHORTEST_TICK, TICK),
    }
}

/// Forgets one batch; tells whether there may be more.
async fn sweep(shared: &Shared) -> Result<bool, Error> {
    let retention = match shared.settings.retention {
        Duration::ZERO => UNREAD_KEPT,
        retention => retention,
    };
    let retention = SignedDuration::try_from(retention).unwrap_or(SignedDuration::MAX);
    if let Ok(before) = shared.host.now().checked_sub(retention)
        && shared.store.expire(before, BATCH).await? == BATCH
    {
        return Ok(true);
    }
    let kept = SignedDuration::try_from(IDEMPOTENCY_KEPT).unwrap_or(SignedDuration::MAX);
    if let Ok(used_before) = shared.host.now().checked_sub(kept)
        && shared.store.expire_keys(used_before, BATCH).await? == BATCH
    {
        return Ok(true);
    }
    match shared.settings.max_store_bytes {
        Some(max_bytes) => {
            let jobs = shared.store.expire_over(max_bytes, BATCH).await?;
            if jobs > 0 {
                tracing::warn!(
                    jobs,
                    max_bytes,
                    "the job store is full: jobs that ended first were forgotten early"
                );
            }
            Ok(jobs == BATCH)
        }
        None => Ok(false),
    }
}

async fn forget(shared: &Shared, id: JobId) {
    match shared.store.delete(id).await {
        // Somebody else read it, too.
        Ok(()) | Err(Error::NotFound) => {}
        Err(error) => {
            tracing::warn!(job = %id, %error, "a job could not be forgotten; it is kept until it is too old");
        }
    }
}
