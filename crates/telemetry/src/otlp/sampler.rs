//! Which traces are recorded: `OTEL_TRACES_SAMPLER` and its argument.

use engine::trace::TraceParent;

use crate::span::TraceId;

/// Decides by trace id, so that a trace is recorded as a whole or not at all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// A parent's decision is followed.
    parent_based: bool,
    /// The fraction of traces to record, from 0 to 1, where there is no parent's decision.
    ratio: f64,
}

impl Default for Sampler {
    /// `parentbased_always_on`.
    fn default() -> Self {
        Self {
            parent_based: true,
            ratio: 1.0,
        }
    }
}

impl Sampler {
    /// The sampler with that name and argument; `None` if there is no such sampler.
    pub(crate) fn named(name: &str, argument: Option<&str>) -> Option<Self> {
        let (parent_based, kind) = match name.strip_prefix("parentbased_") {
            Some(kind) => (true, kind),
            None => (false, name),
        };
        let ratio = match kind {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => argument
                .and_then(|argument| argument.trim().parse::<f64>().ok())
                .filter(|ratio| (0.0..=1.0).contains(ratio))
                .unwrap_or(1.0),
            _ => return None,
        };
        Some(Self {
            parent_based,
            ratio,
        })
    }

    /// Whether a trace is recorded.
    pub(crate) fn records(self, trace_id: TraceId, parent: Option<TraceParent>) -> bool {
        if let (true, Some(parent)) = (self.parent_based, parent) {
            return parent.sampled;
        }
        if self.ratio >= 1.0 {
            return true;
        }
        // The 56 bits that are random in every trace id according to the W3C.
        let random = u128::from_be_bytes(trace_id) & ((1 << 56) - 1);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a fraction of traces needs no more"
        )]
        let place = random as f64 / (1_u64 << 56) as f64;
        place < self.ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(sampled: bool) -> TraceParent {
        TraceParent {
            trace_id: [1; 16],
            span_id: [1; 8],
            sampled,
        }
    }

    #[test]
    fn a_parents_decision_holds_where_the_sampler_says_so() {
        let check = |name: &str, argument: Option<&str>, expected: [bool; 3]| {
            let sampler = Sampler::named(name, argument).expect(name);
            let found = [None, Some(parent(true)), Some(parent(false))]
                .map(|parent| sampler.records([0xff; 16], parent));
            assert_eq!(found, expected, "{name}");
        };
        check("always_on", None, [true, true, true]);
        check("always_off", None, [false, false, false]);
        check("parentbased_always_on", None, [true, true, false]);
        check("parentbased_always_off", None, [false, true, false]);
        check("traceidratio", Some("0.5"), [false, false, false]);
        check(
            "parentbased_traceidratio",
            Some("0.5"),
            [false, true, false],
        );
        check("traceidratio", None, [true, true, true]);
        assert_eq!(Sampler::named("jaeger_remote", None), None);
    }

    #[test]
    fn a_ratio_records_that_part_of_the_traces() {
        let sampler = Sampler::named("traceidratio", Some("0.25")).expect("known");
        let recorded = (0..10_000_u64).filter(|number| {
            let mut id = [0; 16];
            id[8..].copy_from_slice(&crate::run::scatter(*number).to_be_bytes());
            sampler.records(id, None)
        });
        let recorded = recorded.count();
        assert!((2300..2700).contains(&recorded), "{recorded}");
    }
}
