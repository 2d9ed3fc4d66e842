//! How values are spread, in bounded memory: counted in steps of less than a hundredth of their
//! size.

use std::collections::BTreeMap;

/// Below this every value has a step of its own.
const EXACT: u64 = 1 << BITS;
/// Steps between a power of two and the next, as a power of two.
const BITS: u32 = 7;

/// Counts by step.
#[derive(Debug, Default)]
pub(super) struct Spread {
    /// By the largest value of each step.
    counts: BTreeMap<u64, u64>,
    all: u64,
    largest: u64,
}

impl Spread {
    pub(super) fn add(&mut self, value: u64) {
        *self.counts.entry(step(value)).or_default() += 1;
        self.all += 1;
        self.largest = self.largest.max(value);
    }

    /// The value that so many of a hundred do not exceed.
    pub(super) fn at(&self, percent: u64) -> Option<u64> {
        // Rounded up: the median of two values is the first.
        let wanted = (self.all * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen >= wanted
        });
        found.map(|(step, _)| (*step).min(self.largest))
    }
}

/// The largest value of a value's step.
fn step(value: u64) -> u64 {
    if value < EXACT {
        return value;
    }
    let shift = value.ilog2() - BITS;
    value | ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(values: impl IntoIterator<Item = u64>) -> Spread {
        let mut spread = Spread::default();
        for value in values {
            spread.add(value);
        }
        spread
    }

    #[test]
    fn small_values_are_exact() {
        assert_eq!(spread([]).at(50), None);
        assert_eq!(spread([7]).at(95), Some(7));
        assert_eq!(spread([3, 1]).at(50), Some(1));
        let hundred = spread(1..=100);
        assert_eq!((hundred.at(50), hundred.at(95)), (Some(50), Some(95)));
    }

    #[test]
    fn large_values_are_within_a_hundredth_and_never_above_the_largest() {
        let spread = spread((1..=10_000).map(|value| value * 1_000));
        for (percent, exact) in [(50, 5_000_000_u64), (95, 9_500_000), (100, 10_000_000)] {
            let found = spread.at(percent).unwrap();
            assert!(
                found >= exact && found - exact <= exact / 100,
                "{percent}: {found}"
            );
        }
        assert_eq!(spread.at(100), Some(10_000_000));
        assert_eq!(self::spread([u64::MAX]).at(50), Some(u64::MAX));
    }
}
