//! Which queued jobs are claimed next, so that every workflow gets its share.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use crate::job::JobId;
use crate::store::Claimed;

/// Picks up to `limit` of the queued jobs, whose ids are given by workflow, oldest first. Each pick
/// is the oldest job of the workflow with the fewest runs, counting the picks before; among equals,
/// the oldest. Reads one more of each queue than it picks.
pub(crate) fn deal<Q: Iterator<Item = JobId>>(
    queues: impl IntoIterator<Item = (Arc<str>, Q)>,
    running: &BTreeMap<Arc<str>, usize>,
    limit: usize,
) -> Vec<JobId> {
    let mut rest = Vec::new();
    let mut next = BinaryHeap::new();
    for (workflow, mut queue) in queues {
        if let Some(oldest) = queue.next() {
            let runs = running.get(&workflow).copied().unwrap_or(0);
            next.push(Reverse((runs, oldest, rest.len())));
            rest.push(queue);
        }
    }
    let mut dealt = Vec::new();
    while dealt.len() < limit
        && let Some(Reverse((runs, oldest, queue))) = next.pop()
    {
        dealt.push(oldest);
        if let Some(oldest) = rest[queue].next() {
            next.push(Reverse((runs + 1, oldest, queue)));
        }
    }
    dealt
}

/// Adds claimed jobs to the numbers of runs.
pub(crate) fn count(running: &mut BTreeMap<Arc<str>, usize>, taken: &[Claimed]) {
    for claimed in taken {
        *running.entry(claimed.job.workflow.clone()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn check(
        queues: &[(&str, &[u128])],
        running: &[(&str, usize)],
        limit: usize,
        expected: &[u128],
    ) {
        let queues = queues.iter().map(|(workflow, ids)| {
            let ids = ids.iter().map(|id| JobId(Uuid::from_u128(*id)));
            (Arc::from(*workflow), ids)
        });
        let running = running
            .iter()
            .map(|(workflow, runs)| (Arc::from(*workflow), *runs))
            .collect();
        let dealt: Vec<u128> = deal(queues, &running, limit)
            .iter()
            .map(|id| id.0.as_u128())
            .collect();
        assert_eq!(dealt, expected);
    }

    #[test]
    fn workflows_take_turns_the_fewest_running_first() {
        let long: &[u128] = &[1, 2, 3, 4, 5];
        check(&[], &[], 3, &[]);
        check(&[("a", long)], &[("a", 9)], 3, &[1, 2, 3]);
        check(&[("a", long), ("b", &[8, 9])], &[], 3, &[1, 8, 2]);
        check(&[("a", long), ("b", &[8])], &[("b", 1)], 4, &[1, 2, 8, 3]);
        check(&[("a", long), ("b", &[8, 9])], &[("a", 2)], 3, &[8, 9, 1]);
        check(
            &[("a", long), ("b", &[0])],
            &[("c", 7)],
            9,
            &[0, 1, 2, 3, 4, 5],
        );
    }
}
