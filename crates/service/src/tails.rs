//! One task looks at the store for all clients that follow jobs whose runs are not here (`followers`),
//! each [`TICK`] and soon after a signal tells of one of the jobs. So the number of calls does not grow
//! with the number of clients.

use std::sync::Arc;
use std::time::Duration;

use jobs::job::JobId;
use jobs::signals::Signal;
use jobs::store::Error;

use crate::followers::{PAGE, Positions};
use crate::shared::Shared;

/// Pause between two looks while somebody follows.
const TICK: Duration = Duration::from_millis(250);

/// The same where no other process changes the store: all that happens to a job is told here.
const EXCLUSIVE_TICK: Duration = Duration::from_secs(1);

/// Pause between two looks that signals ask for.
const LEAST_PAUSE: Duration = Duration::from_millis(80);

/// Looks take no more than this part of the time: one in so many.
const SHARE: u32 = 4;

/// Positions in one call of the store.
const POSITIONS: usize = 4_096;

/// Looks at the store for all followers until told to stop.
pub(crate) async fn follow_jobs(shared: Arc<Shared>) {
    let (followers, host) = (&shared.followers, &shared.host);
    let tick = if shared.store.is_shared() {
        TICK
    } else {
        EXCLUSIVE_TICK
    };
    let mut next_look = host.elapsed() + tick;
    let mut is_failing = false;
    loop {
        let had_none = followers.is_empty();
        let tick_comes = async {
            if had_none {
                std::future::pending::<()>().await;
            }
            host.sleep(next_look.saturating_sub(host.elapsed())).await;
        };
        tokio::select! {
            biased;
            () = shared.lifecycle.stopped.cancelled() => return,
            () = followers.woken() => {}
            () = tick_comes => {}
        }
        tell_watched(&shared);
        let begun_at = host.elapsed();
        if had_none {
            // Its client has just read the store.
            next_look = begun_at + tick;
        }
        let at_all = begun_at >= next_look;
        let positions = followers.begin_look(at_all);
        if positions.is_empty() {
            if at_all {
                next_look = begun_at + tick;
            }
            continue;
        }
        match look(&shared, positions).await {
            Ok(()) => is_failing = false,
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(%error, "cannot read jobs that are watched; retrying");
                }
            }
        }
        tell_watched(&shared);
        let took = host.elapsed().saturating_sub(begun_at);
        if at_all {
            next_look = host.elapsed() + tick.max(took * SHARE);
        }
        tokio::select! {
            biased;
            () = shared.lifecycle.stopped.cancelled() => return,
            () = host.sleep(LEAST_PAUSE.max(took)) => {}
        }
    }
}

/// The replicas that run jobs which are watched here have to store events at once.
fn tell_watched(shared: &Shared) {
    if shared.store.is_shared() {
        for job in shared.followers.to_tell(shared.host.elapsed()) {
            shared.publish(Signal::Watch(job));
        }
    }
}

async fn look(shared: &Shared, looks: Positions) -> Result<(), Error> {
    let positions: Vec<(JobId, u64)> = looks.keys().copied().collect();
    let mut inboxes = looks.into_values();
    for positions in positions.chunks(POSITIONS) {
        let tails = shared.store.tails(positions, PAGE).await?;
        for ((job, _), tail) in positions.iter().zip(tails) {
            if let Some(tail) = &tail {
                shared.followers.found(*job, tail.status);
            }
            for inbox in inboxes.next().into_iter().flatten() {
                inbox.deliver(tail.as_ref());
            }
        }
    }
    Ok(())
}
