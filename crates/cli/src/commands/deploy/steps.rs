//! The steps of a deployment as they are done, each with its time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::failure::Result;
use crate::printer;

/// Tells of steps on stderr, and remembers them for `--format json`.
#[derive(Debug, Default)]
pub(super) struct Steps {
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    /// Does a step. What it gives is told with its time: `text` makes the sentence.
    pub(super) fn step<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<T>,
        text: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        let begun = Instant::now();
        let result = work()?;
        let took = begun.elapsed();
        self.done.push((name, took));
        printer::note(&format!("  {:>7}  {}", shown(took), text(&result)));
        Ok(result)
    }

    /// Each with its milliseconds.
    pub(super) fn to_json(&self) -> Value {
        let step = |(name, took): &(&str, Duration)| {
            // Millionths are enough of a millisecond.
            let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
            json!({ "step": name, "ms": ms })
        };
        self.done.iter().map(step).collect()
    }
}

/// `4 ms`, `1.2 s`.
fn shown(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        format!("{} ms", took.as_millis())
    } else {
        format!("{:.1} s", took.as_secs_f64())
    }
}
