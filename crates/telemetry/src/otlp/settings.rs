//! Reads the `OTEL_*` variables of the OpenTelemetry specification that concern spans over
//! OTLP/HTTP.

use std::fmt;
use std::time::Duration;

use outbound::Environment;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::sampler::Sampler;
use crate::http::shown;

/// Where and how spans are sent.
#[derive(Clone)]
pub struct Settings {
    pub(crate) endpoint: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) timeout: Duration,
    pub(crate) gzip: bool,
    pub(crate) sampler: Sampler,
    pub(crate) max_queue: usize,
    pub(crate) max_batch: usize,
    pub(crate) delay: Duration,
}

/// Without credentials, which headers and addresses may contain.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("endpoint", &shown(&self.endpoint))
            .finish_non_exhaustive()
    }
}

/// A variable has a value that is not supported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct SettingsError {
    /// The variable.
    pub variable: String,
    /// Why it is not supported, and what to write instead.
    pub reason: String,
}

fn refuse(variable: &str, reason: impl Into<String>) -> SettingsError {
    SettingsError {
        variable: variable.to_owned(),
        reason: reason.into(),
    }
}

impl Settings {
    /// Reads the settings; `None` if no endpoint is set or exporting is turned off.
    pub fn read(environment: &Environment) -> Result<Option<Self>, SettingsError> {
        let is_off = environment
            .get("OTEL_SDK_DISABLED")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        match environment.get("OTEL_TRACES_EXPORTER") {
            Some("none") => return Ok(None),
            None | Some("otlp") => {}
            Some(other) => {
                let reason = format!("`{other}` is not supported; write `otlp` or `none`");
                return Err(refuse("OTEL_TRACES_EXPORTER", reason));
            }
        }
        let Some(endpoint) = endpoint(environment)?.filter(|_| !is_off) else {
            return Ok(None);
        };
        check_protocol(environment)?;
        Ok(Some(Self {
            endpoint,
            headers: headers(environment)?,
            timeout: Duration::from_millis(
                either(environment, "TIMEOUT", number)?.unwrap_or(10_000),
            ),
            gzip: either(environment, "COMPRESSION", compression)?.unwrap_or(false),
            sampler: sampler(environment)?,
            max_queue: size(environment, "OTEL_BSP_MAX_QUEUE_SIZE", 8192)?,
            max_batch: size(environment, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)?,
            delay: Duration::from_millis(
                environment
                    .get("OTEL_BSP_SCHEDULE_DELAY")
                    .map(|text| number("OTEL_BSP_SCHEDULE_DELAY", text))
                    .transpose()?
                    .unwrap_or(1000),
            ),
        }))
    }
}

/// Reads the variable for traces, or else the one for all signals.
fn either<T>(
    environment: &Environment,
    name: &str,
    read: impl Fn(&str, &str) -> Result<T, SettingsError>,
) -> Result<Option<T>, SettingsError> {
    for variable in [
        format!("OTEL_EXPORTER_OTLP_TRACES_{name}"),
        format!("OTEL_EXPORTER_OTLP_{name}"),
    ] {
        if let Some(text) = environment.get(&variable) {
            return read(&variable, text).map(Some);
        }
    }
    Ok(None)
}

fn endpoint(environment: &Environment) -> Result<Option<Url>, SettingsError> {
    let parse = |variable: &str, text: &str| {
        Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| {
                refuse(
                    variable,
                    "it is not the address of a collector, such as http://127.0.0.1:4318",
                )
            })
    };
    let traces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    if let Some(text) = environment.get(traces) {
        return parse(traces, text).map(Some);
    }
    let all = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let Some(text) = environment.get(all) else {
        return Ok(None);
    };
    parse(all, &format!("{}/v1/traces", text.trim_end_matches('/'))).map(Some)
}

fn check_protocol(environment: &Environment) -> Result<(), SettingsError> {
    either(environment, "PROTOCOL", |variable, text| match text {
        "http/protobuf" => Ok(()),
        other => Err(refuse(
            variable,
            format!(
                "`{other}` is not supported; write `http/protobuf` and the collector's HTTP port, \
                 mostly 4318"
            ),
        )),
    })?;
    Ok(())
}

/// Reads `name=value,name=value` with percent-encoded values.
fn headers(environment: &Environment) -> Result<HeaderMap, SettingsError> {
    either(environment, "HEADERS", |variable, text| {
        let mut headers = HeaderMap::new();
        for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
            let header = pair.split_once('=').and_then(|(name, value)| {
                let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
                let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
                let mut value = HeaderValue::from_str(&value).ok()?;
                value.set_sensitive(true);
                Some((name, value))
            });
            let (name, value) =
                header.ok_or_else(|| refuse(variable, "write NAME=VALUE, separated by commas"))?;
            headers.insert(name, value);
        }
        Ok(headers)
    })
    .map(Option::unwrap_or_default)
}

fn compression(variable: &str, text: &str) -> Result<bool, SettingsError> {
    match text {
        "gzip" => Ok(true),
        "none" => Ok(false),
        other => Err(refuse(
            variable,
            format!("`{other}` is not supported; write `gzip` or `none`"),
        )),
    }
}

fn number(variable: &str, text: &str) -> Result<u64, SettingsError> {
    text.parse()
        .map_err(|_| refuse(variable, format!("`{text}` is not a whole number")))
}

/// Reads a limit that is at least 1.
fn size(environment: &Environment, variable: &str, default: usize) -> Result<usize, SettingsError> {
    let Some(text) = environment.get(variable) else {
        return Ok(default);
    };
    let size = number(variable, text)?.max(1);
    Ok(usize::try_from(size).unwrap_or(usize::MAX))
}

fn sampler(environment: &Environment) -> Result<Sampler, SettingsError> {
    let variable = "OTEL_TRACES_SAMPLER";
    let Some(name) = environment.get(variable) else {
        return Ok(Sampler::default());
    };
    Sampler::named(name, environment.get("OTEL_TRACES_SAMPLER_ARG")).ok_or_else(|| {
        let reason = format!(
            "`{name}` is not supported; write always_on, always_off or traceidratio, or one of them \
             after `parentbased_`"
        );
        refuse(variable, reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsError> {
        Settings::read(&variables.iter().copied().collect())
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/");

    #[test]
    fn off_without_an_endpoint_or_by_word() {
        for variables in [
            &[][..],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")],
            &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert!(read(variables).unwrap().is_none(), "{variables:?}");
        }
    }

    #[test]
    fn the_path_is_added_to_the_endpoint_of_everything_only() {
        let endpoint =
            |variables: &[(&str, &str)]| read(variables).unwrap().unwrap().endpoint.to_string();
        assert_eq!(endpoint(&[ENDPOINT]), "http://127.0.0.1:4318/v1/traces");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c.example/x");
        assert_eq!(endpoint(&[ENDPOINT, traces]), "https://c.example/x");
    }

    #[test]
    fn headers_are_decoded() {
        let settings = read(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x = 1 ,"),
        ]);
        let headers = settings.unwrap().unwrap().headers;
        assert_eq!(
            (&headers["api-key"], &headers["x"]),
            (
                &"a b".parse::<HeaderValue>().unwrap(),
                &"1".parse().unwrap()
            )
        );
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_the_way_out() {
        let check = |variable: &str, value: &str, part: &str| {
            let error = read(&[ENDPOINT, (variable, value)])
                .unwrap_err()
                .to_string();
            assert!(error.contains(variable) && error.contains(part), "{error}");
        };
        check("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf");
        check(
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "http/json",
            "http/protobuf",
        );
        check("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "gzip");
        check("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "not a whole number");
        check("OTEL_EXPORTER_OTLP_HEADERS", "novalue", "NAME=VALUE");
        check("OTEL_TRACES_SAMPLER", "jaeger_remote", "parentbased_");
        check("OTEL_TRACES_EXPORTER", "zipkin", "otlp");
        check(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "127.0.0.1:4317",
            "4318",
        );
    }
}
