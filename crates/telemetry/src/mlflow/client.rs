//! The part of MLflow's REST API that is needed.

use std::sync::Arc;
use std::time::Duration;

use engine::host::Host;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use reqwest::{Method, RequestBuilder, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::settings::Settings;
use crate::http::{self, root_cause};

const EXPERIMENT_ID: HeaderName = HeaderName::from_static("x-mlflow-experiment-id");
const RUN_ID: HeaderName = HeaderName::from_static("x-mlflow-run-id");

/// Most bytes of a response that are read.
const MAX_ANSWER: usize = 16 << 20;

/// Why a request failed. Messages contain neither addresses nor credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There was no connection or response, or the server has a problem: a later attempt may
    /// succeed.
    #[error("{0}")]
    Unreachable(String),
    /// The server refused the request.
    #[error("{message} (HTTP status {status}{})", if code.is_empty() { String::new() } else { format!(", {code}") })]
    Refused {
        /// The HTTP status.
        status: u16,
        /// MLflow's error code, such as `RESOURCE_DOES_NOT_EXIST`; may be empty.
        code: String,
        /// The server's message, shortened.
        message: String,
    },
}

impl Error {
    pub(super) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }
}

/// A client of an MLflow server; clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    settings: Settings,
    host: Arc<dyn Host>,
}

/// A run as it was created or found.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) experiment_id: String,
    /// Path below the artifact service; `None` if artifacts are stored elsewhere.
    pub(crate) artifacts: Option<String>,
}

impl Client {
    /// A client that uses `http`, which has the trusted roots and the proxies.
    pub fn new(http: reqwest::Client, settings: Settings, host: Arc<dyn Host>) -> Self {
        Self {
            http,
            settings,
            host,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The server's address without credentials, for people.
    pub fn shown(&self) -> String {
        http::shown(&self.settings.base)
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.settings.base.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    async fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, Error> {
        let request = match &self.settings.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        };
        let exchange = async {
            let mut answer = request.send().await.map_err(|error| unreachable(&error))?;
            let status = answer.status().as_u16();
            let mut body = Vec::new();
            while let Some(piece) = answer.chunk().await.map_err(|error| unreachable(&error))? {
                body.extend_from_slice(&piece);
                if body.len() > MAX_ANSWER {
                    return Err(Error::Unreachable("its response is too long".to_owned()));
                }
            }
            judge(status, body, |text| self.settings.mask(text))
        };
        let limit: Duration = self.settings.timeout;
        tokio::select! {
            biased;
            done = exchange => done,
            () = self.host.sleep(limit) => {
                Err(Error::Unreachable(format!("no response within {} s", limit.as_secs())))
            }
        }
    }

    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Error> {
        let url = self.url(&format!("/api/2.0/mlflow/{path}"), query);
        let body = self.send(self.http.get(url)).await?;
        read(&body)
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, Error> {
        let url = self.url(&format!("/api/2.0/mlflow/{path}"), &[]);
        let body = self.send(self.http.request(method, url).json(body)).await?;
        read(&body)
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.call(Method::POST, path, body).await
    }

    /// The server's version, which also shows that it answers.
    pub async fn version(&self) -> Result<String, Error> {
        let body = self.send(self.http.get(self.url("/version", &[]))).await?;
        Ok(String::from_utf8_lossy(&body)
            .trim()
            .chars()
            .take(40)
            .collect())
    }

    /// The experiment with that name, which is created if it does not exist.
    pub async fn experiment(&self, name: &str) -> Result<String, Error> {
        match self.find_experiment(name).await {
            Err(error) if error.is("RESOURCE_DOES_NOT_EXIST") => {}
            found => return found,
        }
        let made = self
            .post("experiments/create", &json!({ "name": name }))
            .await;
        match made {
            // Another client created it at the same time.
            Err(error) if error.is("RESOURCE_ALREADY_EXISTS") => self.find_experiment(name).await,
            Err(error) => Err(error),
            Ok(made) => text(&made, "/experiment_id"),
        }
    }

    async fn find_experiment(&self, name: &str) -> Result<String, Error> {
        let found = self
            .get("experiments/get-by-name", &[("experiment_name", name)])
            .await?;
        if found.pointer("/experiment/lifecycle_stage") == Some(&json!("deleted")) {
            return Err(Error::Refused {
                status: 409,
                code: String::new(),
                message: format!(
                    "the experiment `{name}` is deleted there; restore it, or set MLFLOW_EXPERIMENT_NAME"
                ),
            });
        }
        text(&found, "/experiment/experiment_id")
    }

    pub(crate) async fn create_run(&self, body: &Value) -> Result<Run, Error> {
        run(&self.post("runs/create", body).await?, "/run/info")
    }

    /// The run of that experiment with that tag value.
    pub(crate) async fn find_run(
        &self,
        experiment_id: &str,
        tag: &str,
        value: &str,
    ) -> Result<Option<Run>, Error> {
        let wanted = json!({
            "experiment_ids": [experiment_id],
            "filter": format!("tags.`{tag}` = '{value}'"),
            "max_results": 1,
        });
        let found = self.post("runs/search", &wanted).await?;
        match found.pointer("/runs/0/info") {
            None => Ok(None),
            Some(_) => run(&found, "/runs/0/info").map(Some),
        }
    }

    /// Deletes all other runs of the same experiment with that tag value.
    pub(crate) async fn delete_others(
        &self,
        kept: &Run,
        tag: &str,
        value: &str,
    ) -> Result<(), Error> {
        let wanted = json!({
            "experiment_ids": [kept.experiment_id],
            "filter": format!("tags.`{tag}` = '{value}'"),
            "max_results": 100,
        });
        let found = self.post("runs/search", &wanted).await?;
        let runs = found.pointer("/runs").and_then(Value::as_array);
        for found in runs.into_iter().flatten() {
            let id = text(found, "/info/run_id")?;
            if id != kept.id {
                self.post("runs/delete", &json!({ "run_id": id })).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn log_batch(&self, body: &Value) -> Result<(), Error> {
        self.post("runs/log-batch", body).await.map(drop)
    }

    pub(crate) async fn update_run(&self, body: &Value) -> Result<(), Error> {
        self.post("runs/update", body).await.map(drop)
    }

    /// Stores a file among a run's artifacts.
    pub(crate) async fn put_artifact(
        &self,
        folder: &str,
        path: &str,
        text: String,
    ) -> Result<(), Error> {
        let path = format!("/api/2.0/mlflow-artifacts/artifacts/{folder}/{path}");
        // Its name tells its kind.
        let request = self.http.put(self.url(&path, &[]));
        let request = request.header(CONTENT_TYPE, "application/octet-stream");
        self.send(request.body(text)).await.map(drop)
    }

    /// Fetches an artifact of a run.
    pub(crate) async fn artifact(&self, folder: &str, path: &str) -> Result<Vec<u8>, Error> {
        let path = format!("/api/2.0/mlflow-artifacts/artifacts/{folder}/{path}");
        self.send(self.http.get(self.url(&path, &[]))).await
    }

    /// Sends spans as an OTLP message.
    pub(crate) async fn traces(
        &self,
        experiment_id: &str,
        run_id: Option<&str>,
        body: Vec<u8>,
    ) -> Result<(), Error> {
        let mut request = self
            .http
            .post(self.url("/v1/traces", &[]))
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(EXPERIMENT_ID, experiment_id);
        if let Some(run_id) = run_id {
            request = request.header(RUN_ID, run_id);
        }
        self.send(request.body(body)).await.map(drop)
    }
}

fn unreachable(error: &reqwest::Error) -> Error {
    Error::Unreachable(root_cause(error))
}

/// Problems of the server may pass; anything else was refused for a reason.
fn judge(status: u16, body: Vec<u8>, mask: impl Fn(&str) -> String) -> Result<Vec<u8>, Error> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Refusal {
        error_code: Value,
        message: String,
        detail: Value,
    }

    if (200..300).contains(&status) {
        return Ok(body);
    }
    let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
    let code = mask(refusal.error_code.as_str().unwrap_or_default());
    if status == 429 || status >= 500 {
        return Err(Error::Unreachable(format!(
            "it responds with HTTP status {status}"
        )));
    }
    let message = match (refusal.message, refusal.detail) {
        (message, _) if !message.is_empty() => message,
        (_, Value::Null) => match status {
            401 => "it requires credentials: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or \
                    MLFLOW_TRACKING_TOKEN"
                .to_owned(),
            403 => "it refuses access: the credentials lack the permission, or the server does not allow this host name \
                    (`--allowed-hosts`)"
                .to_owned(),
            _ => "it refuses the request".to_owned(),
        },
        (_, detail) => detail.to_string(),
    };
    let message: String = mask(&message).chars().take(300).collect();
    Err(Error::Refused {
        status,
        code,
        message: message.trim_end_matches('.').to_owned(),
    })
}

fn read(body: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(body)
        .map_err(|_| Error::Unreachable("the response is not from MLflow".to_owned()))
}

pub(super) fn text(value: &Value, pointer: &str) -> Result<String, Error> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found
        .map(str::to_owned)
        .ok_or_else(|| Error::Unreachable(format!("its response lacks `{pointer}`")))
}

fn run(answer: &Value, pointer: &str) -> Result<Run, Error> {
    let uri = text(answer, &format!("{pointer}/artifact_uri")).unwrap_or_default();
    Ok(Run {
        id: text(answer, &format!("{pointer}/run_id"))?,
        experiment_id: text(answer, &format!("{pointer}/experiment_id"))?,
        artifacts: proxied(&uri),
    })
}

/// The folder of artifacts that the server itself serves: `mlflow-artifacts:/1/ab/artifacts`.
pub(super) fn proxied(uri: &str) -> Option<String> {
    let path = uri.strip_prefix("mlflow-artifacts:")?;
    // `mlflow-artifacts://host:port/…` names the server itself.
    let path = match path.strip_prefix("//") {
        Some(rest) => rest.split_once('/')?.1,
        None => path,
    };
    Some(path.trim_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_artifacts_that_the_server_passes_on_can_be_written() {
        let check =
            |uri: &str, expected: Option<&str>| assert_eq!(proxied(uri).as_deref(), expected);
        check("mlflow-artifacts:/1/ab/artifacts", Some("1/ab/artifacts"));
        check(
            "mlflow-artifacts://m.example:5000/1/ab/artifacts",
            Some("1/ab/artifacts"),
        );
        check("s3://bucket/1/ab", None);
        check("", None);
    }

    #[test]
    fn a_refusal_keeps_what_mlflow_says_of_it() {
        let body = br#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "Too long."}"#;
        let error = judge(400, body.to_vec(), str::to_owned).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Too long (HTTP status 400, INVALID_PARAMETER_VALUE)"
        );
        assert!(error.is("INVALID_PARAMETER_VALUE"));
        assert!(matches!(
            judge(503, Vec::new(), str::to_owned),
            Err(Error::Unreachable(_))
        ));
        let error = judge(401, b"You are not authenticated".to_vec(), str::to_owned).unwrap_err();
        assert!(
            error.to_string().contains("MLFLOW_TRACKING_USERNAME"),
            "{error}"
        );
    }
}
