//! Settings: gates, and what a file sets that changes nothing.

use std::time::Duration;

use super::context::Context;
use crate::diagnostic::{code, quoted};
use crate::suggest::{self, Suggestion};
use crate::syntax::config::Config;
use crate::syntax::flow::FLOW;
use crate::syntax::gates::{Gate as Written, Section};
use crate::syntax::{File, optimization};
use crate::workflow::{Execution, Gate, Gates};

/// What a run measures.
const METRICS: &[&str] = &["duration_ms", "cost_usd", "total_tokens"];

/// Longest time limit kept: a year. Longer ones mean "none" and would overflow clocks.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pub(super) fn execution(config: &Config<'_>) -> Execution {
    let seconds = u64::try_from(config.timeout_seconds).unwrap_or(1).max(1);
    Execution {
        timeout: Duration::from_secs(seconds).min(LONGEST),
        max_attempts: u32::try_from(config.attempts.max(1)).unwrap_or(u32::MAX),
    }
}

/// The parts of an address that programs drop before they send a request.
const DROPPED: &[&str] = &[".", ".."];

/// A workflow is found under its name, which therefore stands in addresses.
pub(super) fn check_name(file: &File<'_>, context: &mut Context<'_>) {
    let flow = file.view.mapping("flow", &FLOW);
    let Some(name) = flow.and_then(|flow| flow.text("name")) else {
        return;
    };
    if DROPPED.contains(&name.value.trim()) {
        let message = format!(
            "`flow.name` is {}, which cannot be part of an address such as `/workflows/NAME/run`",
            quoted(name.value.trim())
        );
        let advice = Suggestion::advice("give the workflow a name with a letter or a digit");
        context.error(code::NAME_IN_ADDRESS, &name.location, message, Some(advice));
    }
}

/// Settings without effect that are worth a word.
pub(super) fn check(file: &File<'_>, context: &mut Context<'_>) {
    if let Some(backend) = file.config.foreign_storage() {
        let message = format!(
            "`config.storage.backend`: {} is not known; runs are not stored there",
            quoted(&backend.value)
        );
        context.warning(code::NO_EFFECT, &backend.location, message, None);
    }
    let optimization = file
        .view
        .mapping("optimization", &optimization::OPTIMIZATION);
    if let Some(view) = optimization.filter(|view| view.bool("enabled") == Some(true))
        && let Some(enabled) = view.get("enabled")
    {
        let message = "`optimization.enabled` has no effect: prompts are sent as they are written";
        context.warning(code::NO_EFFECT, &enabled.location, message, None);
    }
}

/// The gates of every section, each with what its failure does.
pub(super) fn gates(file: &File<'_>, context: &mut Context<'_>) -> Gates {
    let config = file
        .config
        .view
        .as_ref()
        .and_then(|config| config.get("gates"));
    let optimization = file
        .view
        .mapping("optimization", &optimization::OPTIMIZATION);
    let quality = optimization.and_then(|view| view.get("quality_gates"));
    let [config, quality] =
        [config, quality].map(|section| section.map(|item| Section::read(&item)));
    let mut gates = Gates {
        gates: Vec::new(),
        on_fail: config
            .as_ref()
            .and_then(|section| section.on_fail)
            .unwrap_or_default(),
    };
    for section in [config, quality].into_iter().flatten() {
        for written in &section.gates {
            check_gate(written, context);
            gates.gates.push(Gate {
                metric: written.metric.value.to_string(),
                max: written.max,
                min: written.min,
                on_fail: written.action.or(section.on_fail),
            });
        }
    }
    gates
}

fn check_gate(gate: &Written<'_>, context: &mut Context<'_>) {
    let metric = &*gate.metric.value;
    let (message, suggestion) = if !METRICS.contains(&metric) {
        let near = suggest::nearest(metric, METRICS.iter().copied()).map(Suggestion::meant);
        let list = || {
            Suggestion::advice(format!(
                "measured are {}",
                suggest::known_list(METRICS.iter().copied())
            ))
        };
        (
            "is never measured, so the gate always fails",
            near.unwrap_or_else(list),
        )
    } else if gate.max.is_none() && gate.min.is_none() {
        (
            "has no limit, so the gate never fails",
            Suggestion::advice("add `max` or `min`"),
        )
    } else if gate.max.zip(gate.min).is_some_and(|(max, min)| min > max) {
        (
            "can never be between these limits, so the gate always fails",
            Suggestion::advice("swap `min` and `max`"),
        )
    } else {
        return;
    };
    context.warning(
        code::GATE,
        &gate.metric.location,
        format!("gate {}: it {message}", quoted(metric)),
        Some(suggestion),
    );
}
