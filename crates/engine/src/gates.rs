//! Quality gates, checked after the last node.

use std::time::Duration;

use lang::workflow::{Gate, Gates, OnGateFail, Workflow};

use crate::outcome::Usage;

/// A failed gate.
#[derive(Debug, PartialEq)]
pub(crate) struct FailedGate {
    pub(crate) metric: String,
    /// One sentence.
    pub(crate) message: String,
    /// Whether the run fails because of it.
    pub(crate) fails_run: bool,
}

/// The gates that fail, in file order.
pub(crate) fn failed(workflow: &Workflow, usage: &Usage, run_time: Duration) -> Vec<FailedGate> {
    let Gates { gates, on_fail } = &workflow.gates;
    let failed = gates.iter().filter_map(|gate| {
        let message = fault(gate, measure(&gate.metric, usage, run_time))?;
        let fails_run = match gate.on_fail.unwrap_or(*on_fail) {
            OnGateFail::Fail => true,
            OnGateFail::Warn | OnGateFail::BlockDeploy => false,
        };
        Some(FailedGate {
            metric: gate.metric.clone(),
            message,
            fails_run,
        })
    });
    failed.collect()
}

/// The value of a metric; `None` if it is not measured or not known.
fn measure(metric: &str, usage: &Usage, run_time: Duration) -> Option<f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "exact up to 2^53 microseconds or tokens"
    )]
    match metric {
        // With fractions: a run of less than a millisecond took longer than 0 ms.
        "duration_ms" => Some(run_time.as_micros() as f64 / 1_000.0),
        "total_tokens" => Some((usage.input_tokens + usage.output_tokens) as f64),
        "cost_usd" => usage.cost_usd,
        _ => None,
    }
}

fn fault(gate: &Gate, value: Option<f64>) -> Option<String> {
    let metric = &gate.metric;
    let Some(value) = value else {
        let why = match metric.as_str() {
            "cost_usd" => "a model without a known price was used",
            _ => "measured are `duration_ms`, `total_tokens` and `cost_usd`",
        };
        return Some(format!("Gate `{metric}` has no value to check: {why}"));
    };
    match (gate.max, gate.min) {
        (Some(max), _) if value > max => Some(format!(
            "Gate `{metric}`: {value} is above the maximum of {max}"
        )),
        (_, Some(min)) if value < min => Some(format!(
            "Gate `{metric}`: {value} is below the minimum of {min}"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(metric: &str, max: Option<f64>, min: Option<f64>, expected: Option<&str>) {
        let gate = Gate {
            metric: metric.to_owned(),
            max,
            min,
            on_fail: None,
        };
        let usage = Usage {
            input_tokens: 70,
            output_tokens: 30,
            cost_usd: Some(0.5),
            ..Usage::default()
        };
        assert_eq!(
            fault(&gate, measure(metric, &usage, Duration::from_millis(250))).as_deref(),
            expected
        );
    }

    #[test]
    fn a_value_outside_its_limits_fails() {
        check("duration_ms", Some(250.0), None, None);
        check(
            "duration_ms",
            Some(249.0),
            None,
            Some("Gate `duration_ms`: 250 is above the maximum of 249"),
        );
        check("total_tokens", None, Some(100.0), None);
        check(
            "total_tokens",
            None,
            Some(100.5),
            Some("Gate `total_tokens`: 100 is below the minimum of 100.5"),
        );
        check("cost_usd", Some(1.0), Some(0.1), None);
        check(
            "cost_usd",
            Some(0.4),
            Some(0.1),
            Some("Gate `cost_usd`: 0.5 is above the maximum of 0.4"),
        );
    }

    #[test]
    fn what_nobody_measured_fails() {
        let message = "Gate `taste` has no value to check: measured are `duration_ms`, `total_tokens` and `cost_usd`";
        check("taste", Some(1.0), None, Some(message));
        let gate = Gate {
            metric: "cost_usd".to_owned(),
            max: Some(1.0),
            min: None,
            on_fail: None,
        };
        let usage = Usage {
            cost_usd: None,
            ..Usage::default()
        };
        let message =
            "Gate `cost_usd` has no value to check: a model without a known price was used";
        assert_eq!(
            fault(&gate, measure("cost_usd", &usage, Duration::ZERO)).as_deref(),
            Some(message)
        );
    }
}
