//! Keeping this process registered with the store, on tasks of their own: a claim that takes long, or
//! a store that hangs, must delay neither a beat nor the end of runs whose lease has ended.

use std::sync::Arc;
use std::time::Duration;

use jobs::store::{Error, Lease, Renewal, Replica, ReplicaId};

use crate::backoff::Retries;
use crate::level::LEVEL;
use crate::shared::Shared;

/// Registers, and beats until told to stop; then leaves.
pub(crate) async fn keep_beating(shared: Arc<Shared>) {
    let mut beating = Beating {
        shared: &shared,
        is_registered: false,
        unnamed: Vec::new(),
        awaited_claim: None,
    };
    let mut retries = Retries::of_store();
    loop {
        let pause = match beating.beat().await {
            Ok(()) => {
                retries = Retries::of_store();
                shared.replica_lease.beat_every()
            }
            Err(Error::Fenced(id)) => {
                tracing::error!(
                    replica = %id,
                    "this process was taken for dead, and its runs go to others; it registers again"
                );
                shared.give_up_runs();
                let fresh = ReplicaId(shared.host.new_id());
                shared.runs.begin_anew(fresh);
                shared.in_flight.begin_anew(fresh);
                beating.is_registered = false;
                Duration::ZERO
            }
            Err(error) => {
                shared.store_health.note(&error, &*shared.host);
                tracing::warn!(%error, "cannot renew the lease of this process; retrying");
                retries.next_pause().min(shared.replica_lease.beat_every())
            }
        };
        tokio::select! {
            biased;
            () = shared.lifecycle.stopped.cancelled() => break,
            () = shared.host.sleep(pause) => {}
        }
    }
    if beating.is_registered
        && let Err(error) = shared.store.deregister(shared.runs.replica()).await
    {
        tracing::debug!(%error, "the store does not know that this process has left");
    }
}

struct Beating<'a> {
    shared: &'a Arc<Shared>,
    is_registered: bool,
    /// Leases that the last beat told of and that nothing here knows.
    unnamed: Vec<Lease>,
    /// The claim whose answer was awaited after the last beat.
    awaited_claim: Option<u64>,
}

impl Beating<'_> {
    async fn beat(&mut self) -> Result<(), Error> {
        let shared = self.shared;
        if !self.is_registered {
            return self.register().await;
        }
        let sent_at = shared.host.elapsed();
        let leases = shared.runs.begin_renewal();
        let renewal = Renewal {
            lease_for: shared.replica_lease.lasts(),
            is_draining: shared.lifecycle.is_draining(),
            leases: &leases,
        };
        let beat = shared
            .store
            .beat(shared.runs.replica(), renewal, shared.host.now())
            .await?;
        shared.replica_lease.renewed(sent_at);
        for lease in beat.lost {
            shared.runs.lose(&lease);
        }
        for id in beat.cancelling {
            shared.runs.cancel(id);
        }
        self.hand_back_unknown(beat.unnamed).await;
        Ok(())
    }

    async fn register(&mut self) -> Result<(), Error> {
        let shared = self.shared;
        if !shared.lifecycle.taken_over.initialized() {
            // The first time, and before anything is claimed: these leases must not be our own.
            shared.take_over().await?;
        }
        let replica = Replica {
            id: shared.runs.replica(),
            name: shared.settings.replica_name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            level: LEVEL,
            lease_for: shared.replica_lease.lasts(),
        };
        let sent_at = shared.host.elapsed();
        shared.store.register(&replica, shared.host.now()).await?;
        shared.replica_lease.renewed(sent_at);
        self.is_registered = true;
        // Set before, unless this is the first time.
        let _ = shared.lifecycle.taken_over.set(());
        shared.slots.wake_worker();
        Ok(())
    }

    /// Gives jobs back that the store has as held by this process and that nothing here knows: the
    /// answer to a claim or a submission was lost. Only those that the beat before told of, too, and
    /// none while the answer to a claim is awaited that was awaited then: it may give them.
    async fn hand_back_unknown(&mut self, unnamed: Vec<Lease>) {
        let shared = self.shared;
        let unknown: Vec<Lease> = unnamed
            .into_iter()
            .filter(|lease| !shared.runs.knows(lease))
            .collect();
        let before = std::mem::replace(&mut self.unnamed, unknown);
        let awaited = shared.runs.awaited_claim();
        if std::mem::replace(&mut self.awaited_claim, awaited) == awaited && awaited.is_some() {
            return;
        }
        for lease in &self.unnamed {
            if !before.contains(lease) || shared.runs.knows(lease) {
                continue;
            }
            tracing::warn!(job = %lease.job, "a job was given to this process and the answer was lost; it is given back");
            match shared.store.hand_back(lease).await {
                Ok(()) | Err(Error::LeaseLost(_)) => shared.job_waits(),
                Err(error) => {
                    tracing::debug!(job = %lease.job, %error, "cannot give a job back; the next beat tries again");
                }
            }
        }
    }
}

/// Gives the runs of this process up when its lease has ended, whatever the beats are doing.
pub(crate) async fn watch_lease(shared: Arc<Shared>) {
    loop {
        let renewal = shared.replica_lease.renewal();
        let left = shared.replica_lease.left(shared.host.elapsed());
        let end = async {
            match left {
                Some(left) => shared.host.sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shared.lifecycle.stopped.cancelled() => return,
            () = renewal => {}
            () = end => {
                if shared.replica_lease.left(shared.host.elapsed()) == Some(Duration::ZERO) {
                    tracing::error!(
                        "the lease of this process has ended and the store does not renew it; its runs stop here, and continue here or elsewhere when the store is back"
                    );
                    shared.give_up_runs();
                }
            }
        }
    }
}

impl Shared {
    /// What an earlier process left in the store is ours, where no other process uses the store.
    async fn take_over(&self) -> Result<(), Error> {
        if !self.settings.exclusive_store {
            return Ok(());
        }
        let left = self.store.release_leases().await?;
        if left > 0 {
            tracing::info!(jobs = left, "resuming the runs of an earlier process");
        }
        self.in_flight.recall(&*self.store).await
    }

    /// All runs that are here stop without an end.
    fn give_up_runs(&self) {
        self.replica_lease.give_up();
        for run in self.runs.all() {
            run.abandon.cancel();
        }
    }
}
