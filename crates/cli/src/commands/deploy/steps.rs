//! The steps of a deployment, each with its duration.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::failure::Result;
use crate::printer;

/// Reports steps on stderr and keeps them for `--format json`.
#[derive(Debug, Default)]
pub(super) struct Steps {
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    /// Runs a step and reports it with its duration; `text` describes the result.
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

    /// Each step with its duration in milliseconds.
    pub(super) fn to_json(&self) -> Value {
        let step = |(name, took): &(&str, Duration)| {
            // Rounded to thousandths of a millisecond.
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
