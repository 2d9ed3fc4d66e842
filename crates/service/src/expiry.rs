//! Removing jobs that ended: those that are too old, those for which there is no space, and, where
//! jobs are not kept, those whose end was read. This happens in small batches with pauses, on a
//! task of its own, so that it delays neither the store nor the worker.

use std::sync::Arc;
use std::time::Duration;

use engine::host::Host;
use futures_util::future::join_all;
use jobs::job::{Job, JobId};
use jobs::store::{Error, JobStore};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;

/// How long a job is kept whose end no client reads, where jobs are removed once it was read.
pub const UNREAD_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The longest pause between two looks for jobs to remove. It is shorter where jobs are kept for a
/// short time, or the size of the store is limited.
const TICK: Duration = Duration::from_secs(60);
const SHORTEST_TICK: Duration = Duration::from_secs(1);

/// The same where other processes look as well.
const SHORTEST_SHARED_TICK: Duration = Duration::from_secs(10);

/// Pause between two batches.
const PAUSE: Duration = Duration::from_millis(20);

/// Jobs removed in one call of the store.
const BATCH: usize = 256;

/// How long a job whose end was read is kept, where other replicas share the store: clients that watch
/// it there learn of its end within that time.
const LINGERS: Duration = Duration::from_secs(2);

/// Jobs that are kept so long together.
const LINGERING: usize = 16_384;

/// Collects jobs whose end was read, where jobs are not kept.
#[derive(Debug)]
pub(crate) struct ReadJobs {
    to_forget: UnboundedSender<JobId>,
    /// Jobs are kept even if their end was read.
    are_kept: bool,
}

/// Jobs whose end was read, on their way to [`forget_jobs`].
pub(crate) fn read_jobs(settings: &Settings) -> (ReadJobs, UnboundedReceiver<JobId>) {
    let (to_forget, read) = unbounded_channel();
    let jobs = ReadJobs {
        to_forget,
        are_kept: !settings.retention.is_zero(),
    };
    (jobs, read)
}

impl ReadJobs {
    /// A client was sent a job: where jobs are not kept, one that has ended is removed, unless its
    /// webhook is not settled yet.
    pub(crate) fn was_read(&self, job: &Job) {
        let owes_nothing = job
            .webhook
            .as_ref()
            .is_none_or(|delivery| delivery.state.is_settled());
        if job.status.is_final() && owes_nothing {
            self.end_is_known(job.id);
        }
    }

    /// The end of a job is known to a client, and no other has to be told.
    pub(crate) fn end_is_known(&self, id: JobId) {
        if !self.are_kept {
            // Fails when the service has ended; the next process removes the job when it expires.
            let _ = self.to_forget.send(id);
        }
    }
}

/// Works until told to stop.
pub(crate) async fn forget_jobs(
    store: Arc<dyn JobStore>,
    host: Arc<dyn Host>,
    settings: Settings,
    stopped: CancellationToken,
    mut read: UnboundedReceiver<JobId>,
) {
    let (store, host) = (&*store, &*host);
    let tick = tick(&settings, store.is_shared());
    let mut next_sweep = host.elapsed() + tick;
    let lingers = store.is_shared();
    let at_once = if lingers { LINGERING } else { BATCH };
    let mut ids = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = stopped.cancelled() => return,
            () = host.sleep(next_sweep.saturating_sub(host.elapsed())) => {
                let pause = match sweep(store, host, &settings).await {
                    Ok(true) => PAUSE,
                    Ok(false) => tick,
                    Err(error) => {
                        tracing::warn!(%error, "cannot remove old jobs; retrying");
                        TICK
                    }
                };
                next_sweep = host.elapsed() + pause;
            }
            _ = read.recv_many(&mut ids, at_once) => {
                if lingers && stopped.run_until_cancelled(host.sleep(LINGERS)).await.is_none() {
                    return;
                }
                // Together: a store commits together what comes together.
                for batch in ids.chunks(BATCH) {
                    join_all(batch.iter().map(|id| forget(store, *id))).await;
                }
                ids.clear();
            }
        }
    }
}

/// The pause between two looks: a tenth of the time for which jobs are kept, within bounds.
fn tick(settings: &Settings, is_shared: bool) -> Duration {
    let shortest = if is_shared {
        SHORTEST_SHARED_TICK
    } else {
        SHORTEST_TICK
    };
    if settings.max_store_bytes.is_some() {
        return shortest;
    }
    match settings.retention {
        Duration::ZERO => TICK,
        retention => (retention / 10).clamp(shortest, TICK),
    }
}

/// Removes one batch; returns whether there may be more.
async fn sweep(store: &dyn JobStore, host: &dyn Host, settings: &Settings) -> Result<bool, Error> {
    let retention = match settings.retention {
        Duration::ZERO => UNREAD_KEPT,
        retention => retention,
    };
    let now = host.now();
    if store.expire(retention, BATCH, now).await? == BATCH
        || store.expire_keys(BATCH, now).await? == BATCH
    {
        return Ok(true);
    }
    match settings.max_store_bytes {
        Some(max_bytes) => {
            let jobs = store.expire_over(max_bytes, BATCH).await?;
            if jobs > 0 {
                tracing::warn!(
                    jobs,
                    max_bytes,
                    "the job store is full: the jobs that ended first were removed early"
                );
            }
            Ok(jobs == BATCH)
        }
        None => Ok(false),
    }
}

async fn forget(store: &dyn JobStore, id: JobId) {
    match store.delete(id).await {
        // Another client read it, too.
        Ok(()) | Err(Error::NotFound) => {}
        Err(error) => {
            tracing::warn!(job = %id, %error, "cannot remove a job; it is kept until it expires");
        }
    }
}
