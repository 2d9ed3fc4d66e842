//! The ids of the spans of one trace.

use std::sync::atomic::{AtomicU64, Ordering};

use engine::trace::{RunIds, TraceParent};
use uuid::Uuid;

use crate::span::{SpanId, TraceId};

/// The ids of one trace: those of its root, and new ones for the other spans.
#[derive(Debug)]
pub(crate) struct Ids {
    pub(crate) trace_id: TraceId,
    /// The run's own span, which is the same in every attempt at the run.
    pub(crate) run: SpanId,
    /// The span that requested the run.
    pub(crate) parent: Option<SpanId>,
    seed: u64,
    next: AtomicU64,
}

impl Ids {
    /// The ids of a run. `attempt` makes the spans of different attempts distinct.
    pub(crate) fn of_run(job: Uuid, parent: Option<TraceParent>, attempt: Uuid) -> Self {
        Self {
            trace_id: RunIds::of(job, parent).trace_id,
            run: job.as_u64_pair().1.to_be_bytes(),
            parent: parent.map(|parent| parent.span_id),
            seed: folded(attempt),
            next: AtomicU64::new(1),
        }
    }

    /// A new span id.
    pub(super) fn span(&self) -> SpanId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        scatter(
            self.seed
                .wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        )
        .to_be_bytes()
    }
}

/// A span id derived from the id of something other than a run.
pub(crate) fn span_id(of: Uuid) -> SpanId {
    scatter(folded(of)).to_be_bytes()
}

fn folded(id: Uuid) -> u64 {
    let (high, low) = id.as_u64_pair();
    high.rotate_left(32) ^ low
}

/// Mixes the bits one-to-one, so that no two numbers give the same id. Avoids zero, which is not a
/// valid id.
pub(crate) fn scatter(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits ^ (bits >> 31)).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn attempts_at_one_run_share_its_span_and_no_other() {
        let job = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
        let first = Ids::of_run(job, None, Uuid::from_u128(1));
        let second = Ids::of_run(job, None, Uuid::from_u128(2));
        assert_eq!((first.trace_id, first.run), (second.trace_id, second.run));
        assert_eq!(first.trace_id, *job.as_bytes());
        let ids: HashSet<SpanId> = (0..1000)
            .flat_map(|_| [first.span(), second.span()])
            .collect();
        assert_eq!(ids.len(), 2000);
    }

    #[test]
    fn a_parent_gives_the_trace() {
        let parent: TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
            .parse()
            .unwrap();
        let ids = Ids::of_run(Uuid::from_u128(5), Some(parent), Uuid::from_u128(1));
        assert_eq!(ids.trace_id, parent.trace_id);
        assert_eq!(ids.parent, Some(parent.span_id));
    }
}
