//! Entry points for fuzzing the readers of settings and addresses.

use std::str::FromStr as _;

use outbound::Environment;

use crate::mlflow::ModelUri;
use crate::{mlflow, otlp};

const VARIABLES: [&str; 12] = [
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_HTTP_REQUEST_TIMEOUT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_BSP_MAX_QUEUE_SIZE",
];

/// Reads lines as variables, which the first byte of a line selects, and each line as the address
/// of a model. Nothing may panic.
pub fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let named = text.lines().filter_map(|line| {
        let first = line.chars().next()?;
        let variable = VARIABLES[first as usize % VARIABLES.len()];
        Some((variable, &line[first.len_utf8()..]))
    });
    let environment: Environment = named.collect();
    let _ = otlp::Settings::read(&environment);
    let _ = mlflow::Settings::read(&environment);
    for line in text.lines() {
        let _ = ModelUri::from_str(line);
        let _ = ModelUri::from_str(&format!("models:/{line}"));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn settings_take_linear_work() {
        for middle in ["a=b,", "\u{7}a=b,", "%41", "/", "\n", "models:/a/1\n"] {
            testing::work::grows_linearly(
                &format!("telemetry_settings of {middle:?}"),
                |times| middle.repeat(times),
                |text| {
                    super::settings(text.as_bytes());
                    text.len()
                },
            );
        }
    }

    #[test]
    fn kept_inputs_still_pass() {
        testing::corpus::replay("telemetry_settings", super::settings);
    }
}
