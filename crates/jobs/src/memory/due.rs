//! When deliveries are due, by host: those to one host are not read for another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::job::JobId;
use crate::webhook::DeliveryCapacity;

#[derive(Debug, Default)]
pub(super) struct DueDeliveries {
    by_host: BTreeMap<Arc<str>, BTreeSet<(Timestamp, JobId)>>,
    /// Each host by the time of its first delivery.
    hosts: BTreeSet<(Timestamp, Arc<str>)>,
}

impl DueDeliveries {
    pub(super) fn insert(&mut self, host: &Arc<str>, at: Timestamp, id: JobId) {
        self.change(host, |due| {
            due.insert((at, id));
        });
    }

    pub(super) fn remove(&mut self, host: &Arc<str>, at: Timestamp, id: JobId) {
        self.change(host, |due| {
            due.remove(&(at, id));
        });
    }

    fn change(&mut self, host: &Arc<str>, change: impl FnOnce(&mut BTreeSet<(Timestamp, JobId)>)) {
        let due = self.by_host.entry(host.clone()).or_default();
        if let Some((first, _)) = due.first() {
            self.hosts.remove(&(*first, host.clone()));
        }
        change(due);
        match due.first() {
            Some((first, _)) => drop(self.hosts.insert((*first, host.clone()))),
            None => drop(self.by_host.remove(host)),
        }
    }

    /// Due deliveries to hosts that can take more, the longest due first.
    pub(super) fn until(
        &self,
        now: Timestamp,
        mut capacity: DeliveryCapacity,
    ) -> Vec<(Timestamp, JobId)> {
        let most = capacity.total;
        let hosts = self.hosts.iter().take_while(|(first, _)| *first <= now);
        let mut due = Vec::new();
        for (_, host) in hosts.take(most.saturating_add(capacity.in_flight.len())) {
            let of_host = self.by_host[host].iter();
            due.extend(
                of_host
                    .take_while(|(at, _)| *at <= now)
                    .take(capacity.left_for(host).min(most))
                    .map(|(at, id)| (*at, *id, host)),
            );
        }
        due.sort_unstable();
        due.retain(|(_, _, host)| capacity.total > 0 && capacity.take(host));
        due.into_iter().map(|(at, id, _)| (at, id)).collect()
    }

    /// Removes and returns all of them.
    pub(super) fn take_all(&mut self) -> Vec<(Timestamp, JobId)> {
        self.hosts.clear();
        std::mem::take(&mut self.by_host)
            .into_values()
            .flatten()
            .collect()
    }
}
