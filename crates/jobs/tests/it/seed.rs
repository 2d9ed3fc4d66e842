//! Randomness that a failed test says how to repeat.

use fastrand::Rng;

/// Prints the seed; a test's output is shown when it fails.
#[expect(clippy::print_stderr, reason = "the seed has to be seen")]
pub(crate) fn seeded() -> Rng {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    Rng::with_seed(seed)
}
