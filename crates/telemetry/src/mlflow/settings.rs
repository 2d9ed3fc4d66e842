//! `MLFLOW_*`: where MLflow is, who we are to it, and what runs are put under.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outbound::Environment;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::http::shown;

/// How to reach MLflow, and what it gets.
#[derive(Clone)]
pub struct Settings {
    pub(crate) base: Url,
    /// `Authorization`.
    pub(crate) authorization: Option<HeaderValue>,
    /// Over what the workflow says.
    pub(crate) experiment: Option<String>,
    /// For one request.
    pub(crate) timeout: Duration,
}

/// Without credentials.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("base", &shown(&self.base))
            .field("experiment", &self.experiment)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A variable says something that cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SettingsError {
    /// One sentence, with the variable.
    pub message: String,
    /// What to do instead.
    pub hint: &'static str,
}

const RUN_A_SERVER: &str = "start a server, such as `mlflow server --backend-store-uri sqlite:///mlflow.db \
                            --port 5000`, and set MLFLOW_TRACKING_URI=http://127.0.0.1:5000";

impl Settings {
    /// From the environment; `None` where `MLFLOW_TRACKING_URI` is not set.
    pub fn read(environment: &Environment) -> Result<Option<Self>, SettingsError> {
        let Some(uri) = environment.get("MLFLOW_TRACKING_URI") else {
            return Ok(None);
        };
        let timeout = environment
            .get("MLFLOW_HTTP_REQUEST_TIMEOUT")
            .map(|text| {
                text.parse()
                    .map(Duration::from_secs)
                    .map_err(|_| SettingsError {
                        message: format!(
                            "MLFLOW_HTTP_REQUEST_TIMEOUT: `{text}` is no number of seconds"
                        ),
                        hint: "write a whole number, such as 30",
                    })
            })
            .transpose()?;
        Ok(Some(Self {
            base: base(uri)?,
            authorization: authorization(environment)?,
            experiment: environment.get("MLFLOW_EXPERIMENT_NAME").map(str::to_owned),
            timeout: timeout.unwrap_or(Duration::from_secs(30)),
        }))
    }
}

impl Settings {
    /// A text from the server without the credentials that were sent to it.
    pub(crate) fn mask(&self, text: &str) -> String {
        let header = self.authorization.as_ref();
        let sent = header
            .and_then(|header| header.to_str().ok()?.split_once(' '))
            .map(|(_, secret)| secret.to_owned());
        let plain = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let password = self.base.password().map(plain);
        let pair = password
            .as_ref()
            .map(|password| STANDARD.encode(format!("{}:{password}", plain(self.base.username()))));
        let secrets = [sent, pair, password];
        let secrets = secrets.iter().flatten().filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

/// Whether what follows the first colon is a port.
fn has_port(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(host, rest)| {
        let port = rest.split('/').next().unwrap_or_default();
        !host.is_empty() && port.parse::<u16>().is_ok()
    })
}

fn base(uri: &str) -> Result<Url, SettingsError> {
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    match scheme {
        "http" | "https" => Url::parse(uri.trim_end_matches('/')).map_err(|_| SettingsError {
            message: "MLFLOW_TRACKING_URI is no address".to_owned(),
            hint: "write one such as http://127.0.0.1:5000",
        }),
        "" | "file" | "sqlite" | "mysql" | "postgresql" | "mssql" => Err(SettingsError {
            message: format!(
                "MLFLOW_TRACKING_URI names {}, which only MLflow's own program can open",
                if matches!(scheme, "" | "file") {
                    "a folder"
                } else {
                    "a database"
                }
            ),
            hint: RUN_A_SERVER,
        }),
        // `127.0.0.1:5000`, `localhost:5000/path`
        scheme if has_port(uri) => Err(SettingsError {
            message: format!(
                "MLFLOW_TRACKING_URI: `{scheme}:` is the address of a server without its scheme"
            ),
            hint: "put `http://` in front of it: http://127.0.0.1:5000",
        }),
        scheme => Err(SettingsError {
            message: format!("MLFLOW_TRACKING_URI: `{scheme}:` is not supported"),
            hint: RUN_A_SERVER,
        }),
    }
}

/// Name and password win over a token, as in MLflow's own client.
fn authorization(environment: &Environment) -> Result<Option<HeaderValue>, SettingsError> {
    let name = environment.get("MLFLOW_TRACKING_USERNAME");
    let password = environment.get("MLFLOW_TRACKING_PASSWORD");
    let text = match (environment.get("MLFLOW_TRACKING_TOKEN"), name, password) {
        (_, Some(name), Some(password)) => {
            format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
        }
        (Some(token), _, _) => format!("Bearer {token}"),
        (None, Some(_), None) | (None, None, Some(_)) => {
            return Err(SettingsError {
                message: "one of MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD is missing"
                    .to_owned(),
                hint: "set both, or MLFLOW_TRACKING_TOKEN, or none",
            });
        }
        (None, None, None) => return Ok(None),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| SettingsError {
        message: "the credentials for MLflow hold characters that none have".to_owned(),
        hint: "copy them again",
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsError> {
        Settings::read(&variables.iter().copied().collect())
    }

    const SERVER: (&str, &str) = ("MLFLOW_TRACKING_URI", "http://mlflow.example:5000/");

    #[test]
    fn off_without_an_address() {
        assert!(read(&[]).unwrap().is_none());
    }

    #[test]
    fn stores_that_are_no_server_are_refused_with_the_command_to_start_one() {
        for (uri, part) in [
            ("file:./mlruns", "a folder"),
            ("./mlruns", "a folder"),
            ("sqlite:///mlflow.db", "a database"),
            ("databricks:", "not supported"),
        ] {
            let error = read(&[("MLFLOW_TRACKING_URI", uri)]).unwrap_err();
            assert!(error.message.contains(part), "{uri}: {error}");
            assert!(error.hint.contains("mlflow server"), "{uri}");
        }
    }

    #[test]
    fn credentials_are_neither_printed_nor_repeated() {
        let variables = [
            (
                "MLFLOW_TRACKING_URI",
                "http://ada:p%77@mlflow.example:5000?k=v",
            ),
            ("MLFLOW_TRACKING_TOKEN", "t0k"),
        ];
        let settings = read(&variables).unwrap().unwrap();
        assert_eq!(
            settings.mask("no Bearer t0k, no Basic YWRhOnB3, no pw"),
            "no Bearer ***, no Basic ***, no ***"
        );
        let printed = format!("{settings:?}");
        assert!(printed.contains("mlflow.example:5000"), "{printed}");
        assert!(
            !printed.contains("p%77") && !printed.contains("t0k"),
            "{printed}"
        );
    }

    #[test]
    fn credentials_are_mlflows_own() {
        let of = |variables: &[(&str, &str)]| {
            let variables: Vec<_> = std::iter::once(SERVER)
                .chain(variables.iter().copied())
                .collect();
            read(&variables).map(|settings| settings.unwrap().authorization)
        };
        let user = ("MLFLOW_TRACKING_USERNAME", "ada");
        let password = ("MLFLOW_TRACKING_PASSWORD", "pw");
        assert_eq!(of(&[user, password]).unwrap().unwrap(), "Basic YWRhOnB3");
        let token = ("MLFLOW_TRACKING_TOKEN", "t0k");
        assert_eq!(of(&[token]).unwrap().unwrap(), "Bearer t0k");
        assert!(of(&[user]).unwrap_err().message.contains("is missing"));
        assert!(!format!("{:?}", of(&[token])).contains("t0k"));
    }
}
