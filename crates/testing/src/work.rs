//! Counted work: how many steps code took, so that a test can tell linear growth from any other
//! without a clock.
//!
//! A reader of foreign bytes counts in its loops, in the tests of its crate alone:
//! `#[cfg(test)] testing::work::count(1);`. What a library reads is counted by its bytes.

use std::cell::Cell;

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// Counts steps of this thread.
pub fn count(steps: usize) {
    STEPS.set(STEPS.get() + steps as u64);
}

/// The steps that something takes.
pub fn of(work: impl FnOnce()) -> u64 {
    let before = STEPS.get();
    work();
    STEPS.get() - before
}

/// Gives a reader inputs of doubling size, made by `input` of a number of repetitions, and fails
/// where twice the input takes much more than twice the work. What the reader gives back, in bytes
/// or parts, is counted as work, too: nobody writes more than linear answers in linear time.
///
/// # Panics
/// Where work grows faster than the input, or nothing was counted.
pub fn grows_linearly<I>(reader: &str, input: impl Fn(usize) -> I, read: impl Fn(I) -> usize)
where
    I: Sized,
{
    let work = |repeated: usize| {
        let input = input(repeated);
        of(|| count(read(input)))
    };
    let mut before = work(SMALLEST);
    for doubled in [2, 4, 8].map(|times| times * SMALLEST) {
        let after = work(doubled);
        assert!(after >= SMALLEST as u64, "{reader}: no work was counted");
        // Logarithms and buffers that double are allowed for; a square would be 4.
        assert!(
            after <= before * 5 / 2 + 1_000,
            "{reader}: {before} steps became {after} when the input doubled to {doubled} repetitions"
        );
        before = after;
    }
}

const SMALLEST: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_work_passes() {
        grows_linearly("linear", |n| n, |n| n);
    }

    #[test]
    #[should_panic(expected = "when the input doubled")]
    fn square_work_is_found() {
        grows_linearly(
            "square",
            |n| n,
            |n| {
                count(n * n);
                0
            },
        );
    }

    #[test]
    #[should_panic(expected = "no work was counted")]
    fn a_reader_that_counts_nothing_is_found() {
        grows_linearly("nothing", |n| n, |_| 0);
    }
}
