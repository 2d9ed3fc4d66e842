//! What the replicas of a store that one process has to itself have set aside. None of them outlives
//! the process, so it is not stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::allotment::{Allotment, Amounts, RequestWindow, Wish, grant, take_requests};
use crate::id::ReplicaId;

#[derive(Debug, Default)]
pub(crate) struct Allotments {
    held: BTreeMap<Arc<str>, BTreeMap<ReplicaId, Held>>,
    /// When the bucket of a key's requests will be full: nanoseconds since 1970.
    full_at: BTreeMap<Arc<str>, i64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    amounts: Amounts,
    /// Granted by the last batch.
    requests: u32,
}

impl Allotments {
    /// Fulfils a wish as far as it goes; one of a batch that is repeated is only answered.
    pub(crate) fn allot(
        &mut self,
        by: ReplicaId,
        wish: &Wish,
        spent: Amounts,
        is_new: bool,
        now: i64,
        is_alive: impl Fn(ReplicaId) -> bool,
    ) -> Allotment {
        let of_key = self.held.entry(wish.key.clone()).or_default();
        of_key.retain(|replica, _| *replica == by || is_alive(*replica));
        let others = of_key.iter().filter(|(replica, _)| **replica != by);
        let others = others.fold(Amounts::default(), |sum, (_, held)| sum.plus(held.amounts));
        let mut held = of_key.get(&by).copied().unwrap_or_default();
        if is_new {
            held.requests = 0;
            held.amounts = if is_alive(by) {
                grant(wish, spent, others)
            } else {
                Amounts::default()
            };
        }
        let mut window = RequestWindow::default();
        if let Some(mut requests) = wish.requests {
            let full_at = self.full_at.entry(wish.key.clone()).or_default();
            if !is_new {
                requests = requests.looking();
            }
            let granted;
            (granted, window) = take_requests(full_at, requests, now);
            held.requests += granted;
        }
        if held.amounts == Amounts::default() && held.requests == 0 {
            of_key.remove(&by);
        } else {
            of_key.insert(by, held);
        }
        if of_key.is_empty() {
            self.held.remove(&wish.key);
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        Allotment {
            held: held.amounts,
            others,
            requests: held.requests,
            window,
        }
    }
}
