//! The HTTP API of a running server, for jobs and keys.

use std::time::Duration;

use llm::{Frames, Framing};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy as Redirects;
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde_json::{Value, json};

use super::options::{Definition, Listing};
use super::table;
use crate::assemble;
use crate::config::jobs::Options;
use crate::config::secret::Secret;
use crate::failure::{Exit, Failure, Result};

/// Default address of a server.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8000";

/// Without `--follow`: after this silence, all stored events have arrived.
const QUIET: Duration = Duration::from_millis(500);

/// Wait before reconnecting to a server that is shutting down.
const RESTART: Duration = Duration::from_secs(2);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one server.
pub(in crate::commands) struct ApiClient {
    client: Client,
    server: Url,
}

impl ApiClient {
    /// A client for the server that the options name. Sends nothing yet.
    pub(in crate::commands) fn open(options: &Options) -> Result<Self> {
        let tls = assemble::tls(options.ca.as_deref())?;
        let headers = options.api_key.as_ref().map(authorization).transpose()?;
        let text = options.server.as_deref().unwrap_or(DEFAULT_SERVER);
        let server = Url::parse(text)
            .ok()
            .filter(|url| url.has_host() && !url.cannot_be_a_base())
            .ok_or_else(|| {
                let with_scheme = format!("http://{text}");
                let is_schemeless = Url::parse(&with_scheme).is_ok_and(|url| url.has_host());
                let meant = if is_schemeless && !text.contains("://") {
                    with_scheme
                } else {
                    DEFAULT_SERVER.to_owned()
                };
                Failure::usage(format!(
                    "`{text}` is not the address of a server; write one such as {meant}"
                ))
            })?;
        let client = Client::builder()
            .user_agent(concat!("flowmill/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Redirects::none())
            .default_headers(headers.unwrap_or_default())
            .build()
            .map_err(|error| {
                Failure::new(
                    Exit::Io,
                    format!("the HTTP client cannot be set up: {error}"),
                )
            })?;
        Ok(Self { client, server })
    }

    pub(super) async fn list(
        &self,
        listing: &Listing,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Value> {
        let mut url = self.url(&["jobs"]);
        let filters = [
            ("workflow", listing.workflow.as_deref()),
            ("status", listing.status.as_deref()),
            ("created_after", listing.created_after.as_deref()),
            ("created_before", listing.created_before.as_deref()),
            ("cursor", cursor),
        ];
        let given = filters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        url.query_pairs_mut()
            .extend_pairs(given)
            .append_pair("limit", &limit.to_string());
        json_of(self.send(self.client.get(url)).await?).await
    }

    pub(super) async fn show(&self, id: &str) -> Result<Value> {
        json_of(self.ask(Method::GET, &["jobs", id]).await?).await
    }

    pub(super) async fn cancel(&self, id: &str) -> Result<Value> {
        json_of(self.ask(Method::POST, &["jobs", id, "cancel"]).await?).await
    }

    pub(super) async fn retry(
        &self,
        id: &str,
        from: Option<&str>,
        definition: Definition,
    ) -> Result<Value> {
        let definition = match definition {
            Definition::Original => "original",
            Definition::Current => "current",
        };
        let request = self
            .client
            .post(self.url(&["jobs", id, "retry"]))
            .json(&json!({ "from": from, "definition": definition }));
        json_of(self.send(request).await?).await
    }

    pub(super) async fn delete(&self, id: &str) -> Result<()> {
        self.ask(Method::DELETE, &["jobs", id]).await.map(drop)
    }

    pub(in crate::commands) async fn keys(&self) -> Result<Value> {
        json_of(self.ask(Method::GET, &["keys"]).await?).await
    }

    pub(in crate::commands) async fn create_key(&self, key: &Value) -> Result<Value> {
        let request = self.client.post(self.url(&["keys"])).json(key);
        json_of(self.send(request).await?).await
    }

    pub(in crate::commands) async fn rotate_key(&self, id: &str, grace: Duration) -> Result<Value> {
        let request = self
            .client
            .post(self.url(&["keys", id, "rotate"]))
            .json(&json!({ "grace_seconds": grace.as_secs() }));
        json_of(self.send(request).await?).await
    }

    pub(in crate::commands) async fn revoke_key(&self, id: &str) -> Result<Value> {
        json_of(self.ask(Method::DELETE, &["keys", id]).await?).await
    }

    /// What keys have spent: all keys that the sender may see, or one.
    pub(in crate::commands) async fn usage(&self, key: Option<&str>) -> Result<Value> {
        let mut url = self.url(&["usage"]);
        if let Some(key) = key {
            url.query_pairs_mut().append_pair("key", key);
        }
        json_of(self.send(self.client.get(url)).await?).await
    }

    /// Prints events up to the job's end, or up to the latest one without `follow`. Resumes after a
    /// broken connection.
    pub(super) async fn events(
        &self,
        id: &str,
        mut after: u64,
        follow: bool,
        print: impl Fn(&Value) -> Result<()>,
    ) -> Result<()> {
        loop {
            let request = self
                .client
                .get(self.url(&["jobs", id, "events"]))
                .header("last-event-id", after.to_string());
            let mut response = self.send(request).await?;
            let mut frames = Frames::new(Framing::ServerSentEvents);
            let mut is_stopping = false;
            loop {
                let chunk = response.chunk();
                let arrived = if follow {
                    chunk.await
                } else {
                    match tokio::time::timeout(QUIET, chunk).await {
                        Ok(arrived) => arrived,
                        Err(_) => return Ok(()),
                    }
                };
                // A broken connection ends like that of a restarting server.
                let Ok(Some(bytes)) = arrived else { break };
                frames.push(&bytes);
                while let Some(data) = frames.next_event() {
                    let Ok(data) = serde_json::from_slice::<Value>(&data) else {
                        continue;
                    };
                    if data["event"] == "server_stopping" {
                        is_stopping = true;
                        continue;
                    }
                    print(&data)?;
                    let id = frames.last_id().and_then(|id| id.parse().ok());
                    after = id.unwrap_or(after);
                }
            }
            if self.show(id).await?["completed_at"].is_string() {
                return Ok(());
            }
            if is_stopping {
                // The job continues when the server has restarted.
                tokio::time::sleep(RESTART).await;
            }
        }
    }

    async fn ask(&self, method: Method, path: &[&str]) -> Result<Response> {
        self.send(self.client.request(method, self.url(path))).await
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.server.clone();
        url.path_segments_mut()
            .expect("`new` takes only addresses that can have a path")
            .pop_if_empty()
            .extend(path);
        url
    }

    /// The response, or a failure if its status is not a success.
    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|error| {
            let cause = cause(&error);
            let failure = Failure::new(Exit::Io, format!("{} cannot be reached: {cause}", self.server));
            if cause.contains("CaUsedAsEndEntity") {
                return failure.hint(
                    "its certificate is that of an authority (CA:TRUE), which may sign other certificates but not be that of a \
                     server: make one with basicConstraints=CA:FALSE",
                );
            }
            if cause.contains("invalid peer certificate") {
                return failure.hint("if its certificate was issued by your own authority, name that with --ca FILE");
            }
            failure
                .hint("start the server with `flowmill serve`, name another one with --server URL, or open a store file with --store sqlite:PATH")
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body: Value = response.json().await.unwrap_or_default();
        let exit = match status.as_u16() {
            422 => Exit::Usage,
            500.. => Exit::Io,
            _ => Exit::Failed,
        };
        let message = match &body["detail"] {
            Value::String(detail) => detail.clone(),
            Value::Array(faults) => faults
                .iter()
                .map(|fault| match &fault["loc"][1] {
                    Value::Null => table::text(&fault["msg"]),
                    place => format!("{place}: {}", fault["msg"]),
                })
                .collect::<Vec<_>>()
                .join("; "),
            _ => format!("the server answered {status}"),
        };
        let failure = Failure::new(exit, message);
        Err(match status.as_u16() {
            401 => failure.hint(
                "set FLOWMILL_API_KEY to a key of that server; `flowmill keys create` creates one",
            ),
            _ => failure,
        })
    }
}

/// The header that every request carries. An error does not repeat the key.
fn authorization(key: &Secret) -> Result<HeaderMap> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {}", key.reveal().trim())).map_err(|_| {
            Failure::usage(
                "--api-key (FLOWMILL_API_KEY) is not an API key: it contains invalid characters",
            )
        })?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
}

async fn json_of(response: Response) -> Result<Value> {
    response.json().await.map_err(|error| {
        Failure::new(
            Exit::Io,
            format!("the server's answer could not be read: {}", cause(&error)),
        )
    })
}

/// The innermost cause: the outer ones only repeat the request.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
