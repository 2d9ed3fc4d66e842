//! The one HTTP client: connections, timeouts, bounded bodies, framing of streams, and what a failure means.
//!
//! Knows HTTP but no provider's JSON; `providers` translates.

mod client;
pub(crate) mod failure;
pub(crate) mod frames;
mod retry_after;

use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use crate::Error;
use crate::error::ErrorKind;
use crate::settings::Settings;

/// Longest error body that is read; providers' own are a few hundred bytes.
const MAX_ERROR_BODY: usize = 64 << 10;

/// Longest wait for the end of a body after its last event; it usually came along with it.
const MAX_LINGER: Duration = Duration::from_millis(100);

/// The shared client and its limits. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    client: reqwest::Client,
    connect_timeout: Duration,
    silence_timeout: Duration,
    max_body: usize,
}

/// An exchange that broke before there was an answer to judge.
#[derive(Debug)]
pub(crate) struct Broken {
    /// `Network`, `Timeout`, `BadReply` or `Config`.
    pub(crate) kind: ErrorKind,
    /// What happened, to follow "`model`: ".
    pub(crate) message: String,
}

/// An HTTP answer whose body is still to be read.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Of any class: the caller judges.
    pub(crate) status: StatusCode,
    /// From `Retry-After` or `retry-after-ms`.
    pub(crate) retry_after: Option<Duration>,
    /// The body says it is one JSON document rather than a stream of them.
    pub(crate) is_json_document: bool,
    body: reqwest::Response,
    left: usize,
    limit: usize,
    silence_timeout: Duration,
}

/// A client with the bundled roots and the environment's proxies, for others than models.
pub fn http_client(settings: &Settings) -> Result<reqwest::Client, Error> {
    client::build(settings)
}

impl Transport {
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            client: client::build(settings)?,
            connect_timeout: settings.connect_timeout,
            silence_timeout: settings.silence_timeout,
            max_body: settings.max_body_bytes,
        })
    }

    /// Sends `body` and waits for the answer's head. The caller bounds the total time.
    pub(crate) async fn post(
        &self,
        url: &reqwest::Url,
        headers: &HeaderMap,
        body: Vec<u8>,
    ) -> Result<Answer, Broken> {
        let sent = self
            .client
            .post(url.clone())
            .headers(headers.clone())
            .body(body)
            .send()
            .await;
        let response = sent.map_err(|error| self.broken(url, &error))?;
        let status = response.status();
        let limit = if status.is_success() {
            self.max_body
        } else {
            MAX_ERROR_BODY
        };
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        Ok(Answer {
            status,
            retry_after: retry_after::read(response.headers()),
            is_json_document: content_type
                .is_some_and(|value| value.starts_with("application/json")),
            body: response,
            left: limit,
            limit,
            silence_timeout: self.silence_timeout,
        })
    }

    fn broken(&self, url: &reqwest::Url, error: &reqwest::Error) -> Broken {
        let place = place(url);
        if error.is_connect() {
            let cause = root(error);
            if cause.contains("invalid peer certificate") {
                return Broken {
                    kind: ErrorKind::Config,
                    message: format!(
                        "{place} has a certificate that is not trusted ({cause}); \
                         if its authority is your own, name it with `--ca FILE`"
                    ),
                };
            }
            let message = if error.is_timeout() {
                format!(
                    "no connection to {place} within {} s",
                    self.connect_timeout.as_secs_f64()
                )
            } else {
                format!(
                    "no connection to {place} ({cause}); is the server running, and the address right?"
                )
            };
            return Broken {
                kind: ErrorKind::Network,
                message,
            };
        }
        if error.is_builder() {
            return Broken {
                kind: ErrorKind::Config,
                message: format!("the request to {place} cannot be built: {}", root(error)),
            };
        }
        Broken {
            kind: ErrorKind::Network,
            message: format!("the connection to {place} broke: {}", root(error)),
        }
    }
}

impl Answer {
    /// The next piece of a streamed body, decompressed; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Broken> {
        match tokio::time::timeout(self.silence_timeout, self.body.chunk()).await {
            Ok(read) => self.count(read),
            Err(_) => Err(Broken {
                kind: ErrorKind::Timeout,
                message: format!(
                    "the stream was silent for {} s",
                    self.silence_timeout.as_secs_f64()
                ),
            }),
        }
    }

    /// The first piece of a streamed body, for which a model may think as long as the call allows.
    pub(crate) async fn first_chunk(&mut self) -> Result<Option<Bytes>, Broken> {
        let read = self.body.chunk().await;
        self.count(read)
    }

    /// The whole body.
    pub(crate) async fn into_bytes(mut self) -> Result<Vec<u8>, Broken> {
        let mut whole = Vec::new();
        while let Some(piece) = self.first_chunk().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    /// Reads on to the end of a body whose answer is complete, so that the connection can serve
    /// another call; not for long, since a server may keep it open for its own reasons.
    pub(crate) async fn end(mut self) {
        let rest = async { while let Ok(Some(_)) = self.first_chunk().await {} };
        // Either way the answer stands.
        let _ended_in_time = tokio::time::timeout(MAX_LINGER, rest).await.is_ok();
    }

    fn count(&mut self, read: reqwest::Result<Option<Bytes>>) -> Result<Option<Bytes>, Broken> {
        let piece = read.map_err(|error| Broken {
            kind: ErrorKind::Network,
            message: format!("the answer broke off: {}", root(&error)),
        })?;
        let Some(piece) = piece else { return Ok(None) };
        match self.left.checked_sub(piece.len()) {
            Some(left) => self.left = left,
            None => {
                return Err(Broken {
                    kind: ErrorKind::BadReply,
                    message: format!("the answer is longer than {} bytes", self.limit),
                });
            }
        }
        Ok(Some(piece))
    }
}

/// Host and port only: an address may carry credentials.
pub(crate) fn place(url: &reqwest::Url) -> String {
    let host = url.host_str().unwrap_or("the server");
    url.port_or_known_default()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The innermost cause, which is the one that says something.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
