//! The one HTTP client: connections, timeouts, bounded bodies, framing of streams, and what a
//! failure means.
//!
//! Knows HTTP but no provider's JSON; `providers` translates.

mod budget;
mod client;
mod connector;
mod echo;
mod endpoint;
pub(crate) mod failure;
pub(crate) mod frames;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gunzip;
mod retry_after;

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::http::uri::Scheme;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy;
use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use crate::Error;
use crate::chat::ExtraHeaders;
use crate::error::ErrorKind;
use crate::reach::{NotAllowed, Reach};
use crate::settings::Settings;
use budget::BodyBudget;
pub(crate) use budget::BodyReservation;
use client::{Client, Clients};
use connector::ConnectTimeout;
pub(crate) use endpoint::Endpoint;
use gunzip::Gunzip;

/// Longest error body that is read; providers' own are a few hundred bytes.
const MAX_ERROR_BODY: usize = 64 << 10;

/// Longest name of a content encoding that is quoted, in characters.
const MAX_PACKING_NAME: usize = 40;

/// Most bytes that one byte of gzip can decompress to.
const MOST_PACKED: usize = 1_032;

/// Longest wait for the end of a body after its last event; it usually came along with it.
const MAX_LINGER: Duration = Duration::from_millis(100);

/// The shared clients and their limits. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    free: Client,
    guarded: Client,
    reach: Option<Arc<dyn Reach>>,
    proxies: Arc<Matcher>,
    connect_timeout: Duration,
    silence_timeout: Duration,
    max_body: usize,
    bodies: Arc<BodyBudget>,
}

/// An exchange that failed before there was a complete answer.
#[derive(Debug)]
pub(crate) struct TransportError {
    /// `Network`, `Timeout`, `BadReply` or `Config`.
    pub(crate) kind: ErrorKind,
    /// What happened, to follow "`model`: ".
    pub(crate) message: String,
    /// The request may have reached the provider.
    pub(crate) was_sent: bool,
}

/// Why no request can be sent to an address.
#[derive(Debug)]
pub(crate) enum AddressError {
    /// It is not an HTTP address.
    Invalid,
    /// The operator does not let workflows name it; a sentence.
    NotAllowed(String),
}

/// An HTTP answer whose body is still to be read.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Any status; the caller decides what it means.
    pub(crate) status: StatusCode,
    /// Where a redirect leads, without credentials and query.
    pub(crate) redirects_to: Option<String>,
    /// From `Retry-After` or `retry-after-ms`.
    pub(crate) retry_after: Option<Duration>,
    /// The body says it is one JSON document rather than a stream of them.
    pub(crate) is_json_document: bool,
    body: Option<Incoming>,
    /// Present if the body is compressed.
    gunzip: Option<Gunzip>,
    left: usize,
    limit: usize,
    /// Bytes of the answer in memory, here or with the caller.
    kept: usize,
    share: BodyReservation,
    silence_timeout: Duration,
}

/// A body that was read to its end. Its memory stays reserved until it is dropped.
#[derive(Debug)]
pub(crate) struct FullBody {
    pub(crate) bytes: Bytes,
    _share: BodyReservation,
}

impl Transport {
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let Clients {
            free,
            guarded,
            proxies,
        } = client::build(settings)?;
        Ok(Self {
            free,
            guarded,
            reach: settings.reach.clone(),
            proxies,
            connect_timeout: settings.connect_timeout,
            silence_timeout: settings.silence_timeout,
            max_body: settings.max_body_bytes,
            bodies: Arc::new(BodyBudget::new(
                settings.max_bodies_bytes,
                settings.max_body_bytes,
            )),
        })
    }

    /// Prepares requests to an address that the operator set.
    pub(crate) fn endpoint(&self, url: &Url, headers: HeaderMap) -> Result<Endpoint, AddressError> {
        Endpoint::new(url, headers, &self.proxies).ok_or(AddressError::Invalid)
    }

    /// Prepares requests to an address that a workflow's file names. Where a name leads is judged
    /// for each connection.
    pub(crate) fn guarded_endpoint(
        &self,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<Endpoint, AddressError> {
        let mut endpoint = self.endpoint(url, headers)?;
        if let Some(reach) = &self.reach
            && !endpoint::may_reach(url, &**reach)
        {
            return Err(AddressError::NotAllowed(not_allowed(&endpoint.place)));
        }
        endpoint.is_guarded = true;
        Ok(endpoint)
    }

    /// Sends `body`, on behalf of a trace if there is one, and waits for the answer's head. The
    /// caller bounds the total time.
    pub(crate) async fn post(
        &self,
        to: &Endpoint,
        body: Vec<u8>,
        trace_parent: Option<&HeaderValue>,
        extra: &ExtraHeaders,
    ) -> Result<Answer, TransportError> {
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = to.uri.clone();
        *request.headers_mut() = to.headers.clone();
        if let Some(parent) = trace_parent {
            let name = HeaderName::from_static("traceparent");
            request.headers_mut().insert(name, parent.clone());
        }
        extra.add_to(request.headers_mut());
        let client = if to.is_guarded {
            &self.guarded
        } else {
            &self.free
        };
        let sent = client.request(request).await;
        let (head, body) = sent.map_err(|error| self.broken(to, &error))?.into_parts();
        let limit = if head.status.is_success() {
            self.max_body
        } else {
            MAX_ERROR_BODY
        };
        let text = |name| {
            head.headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::trim)
        };
        let packing = text(CONTENT_ENCODING).unwrap_or_default();
        let is = |name: &str| packing.eq_ignore_ascii_case(name);
        let is_packed = is("gzip") || is("x-gzip");
        let is_foreign = !is_packed && !packing.is_empty() && !is("identity");
        if is_foreign && head.status.is_success() {
            let name: String = packing.chars().take(MAX_PACKING_NAME).collect();
            return Err(TransportError {
                kind: ErrorKind::Config,
                message: format!(
                    "{} compresses its answers as `{name}` although only gzip was offered; make it, or the proxy \
                     in front of it, honour `Accept-Encoding`",
                    to.place
                ),
                was_sent: true,
            });
        }
        Ok(Answer {
            status: head.status,
            redirects_to: (head.status.is_redirection())
                .then(|| text(LOCATION).and_then(|target| redirect_target(to, target)))
                .flatten(),
            retry_after: retry_after::read(&head.headers),
            is_json_document: text(CONTENT_TYPE)
                .is_some_and(|value| value.starts_with("application/json")),
            // Of an error in a foreign packing the status has to do.
            body: (!is_foreign).then_some(body),
            gunzip: is_packed.then(Gunzip::new),
            left: limit,
            limit,
            kept: 0,
            share: self.bodies.share(),
            silence_timeout: self.silence_timeout,
        })
    }

    fn broken(&self, to: &Endpoint, error: &legacy::Error) -> TransportError {
        let place = &to.place;
        let cause = root(error);
        if cause.is::<NotAllowed>() {
            return TransportError {
                kind: ErrorKind::Config,
                message: not_allowed(place),
                was_sent: false,
            };
        }
        let is_encrypted = to.uri.scheme() == Some(&Scheme::HTTPS);
        let is_no_http = cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_parse);
        if is_no_http && !is_encrypted {
            return TransportError {
                kind: ErrorKind::Config,
                message: format!(
                    "{place} does not answer in HTTP; if it expects TLS, write `https://` in its address"
                ),
                was_sent: true,
            };
        }
        if !error.is_connect() {
            return TransportError {
                kind: ErrorKind::Network,
                message: format!("the connection to {place} broke: {cause}"),
                was_sent: true,
            };
        }
        if is_encrypted && speaks_no_tls(cause) {
            return TransportError {
                kind: ErrorKind::Config,
                message: format!(
                    "{place} does not speak TLS; if it is a plain HTTP server, write `http://` in its address"
                ),
                was_sent: false,
            };
        }
        let text = cause.to_string();
        if text.contains("invalid peer certificate") {
            return TransportError {
                kind: ErrorKind::Config,
                message: format!(
                    "{place} has a certificate that is not trusted ({text}); \
                     if its authority is your own, name it with `--ca FILE`"
                ),
                was_sent: false,
            };
        }
        let is_late = cause.is::<ConnectTimeout>()
            || cause
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
        let message = if is_late {
            format!(
                "no connection to {place} within {} s",
                self.connect_timeout.as_secs_f64()
            )
        } else {
            format!(
                "no connection to {place} ({text}); check that the server is running and that the address is right"
            )
        };
        TransportError {
            kind: ErrorKind::Network,
            message,
            was_sent: false,
        }
    }
}

impl Answer {
    /// The next piece of a streamed body, decompressed; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        self.piece(Some(self.silence_timeout)).await
    }

    /// The first piece of a streamed body; the model may think as long as the call's timeout
    /// allows.
    pub(crate) async fn first_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        self.piece(None).await
    }

    /// The server may be silent for that long; the time that we wait for memory does not count.
    async fn piece(&mut self, silence: Option<Duration>) -> Result<Option<Bytes>, TransportError> {
        loop {
            let Some(body) = &mut self.body else {
                return Ok(None);
            };
            let frame = match silence {
                None => body.frame().await,
                Some(silence) => {
                    let frame = tokio::time::timeout(silence, body.frame()).await;
                    frame.map_err(|_elapsed| TransportError {
                        kind: ErrorKind::Timeout,
                        message: format!("the stream was silent for {} s", silence.as_secs_f64()),
                        was_sent: true,
                    })?
                }
            };
            let Some(frame) = frame else {
                return self.last_piece();
            };
            let frame = frame.map_err(|error| broke_off(root(&error)))?;
            // Trailers say nothing that we ask for.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let most = match self.gunzip {
                None => data.len(),
                Some(_) => data.len().saturating_mul(MOST_PACKED).min(self.left),
            };
            self.share.grow(self.kept + most).await;
            let piece = match &mut self.gunzip {
                None => data,
                Some(gunzip) => gunzip
                    .unpack(&data, self.left)
                    .map_err(|fault| self.unpackable(fault))?
                    .into(),
            };
            self.keep(self.kept + piece.len());
            if !piece.is_empty() {
                return self.count(piece).map(Some);
            }
        }
    }

    /// Sets how many bytes of the answer are in memory now.
    pub(crate) fn keep(&mut self, bytes: usize) {
        self.kept = bytes;
        self.share.shrink(bytes);
    }

    /// What is still in the packing when the body has ended.
    fn last_piece(&mut self) -> Result<Option<Bytes>, TransportError> {
        let Some(mut gunzip) = self.gunzip.take() else {
            return Ok(None);
        };
        let rest = gunzip.end(self.left);
        let rest = rest.map_err(|fault| self.unpackable(fault))?;
        if rest.is_empty() {
            return Ok(None);
        }
        self.count(rest.into()).map(Some)
    }

    /// The whole body.
    pub(crate) async fn into_bytes(mut self) -> Result<FullBody, TransportError> {
        let bytes = self.all().await?;
        Ok(FullBody {
            bytes,
            _share: self.share,
        })
    }

    async fn all(&mut self) -> Result<Bytes, TransportError> {
        // Nearly every body comes in one piece.
        let Some(first) = self.first_chunk().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.first_chunk().await? else {
            return Ok(first);
        };
        let mut whole = [first, second].concat();
        while let Some(piece) = self.first_chunk().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }

    /// Reads on to the end of a body whose answer is complete, so that the connection can serve
    /// another call; not for long, since a server may keep it open for its own reasons.
    pub(crate) async fn end(mut self) {
        let rest = async { while let Ok(Some(_)) = self.first_chunk().await {} };
        // Either way the answer stands.
        let _ended_in_time = tokio::time::timeout(MAX_LINGER, rest).await.is_ok();
    }

    fn count(&mut self, piece: Bytes) -> Result<Bytes, TransportError> {
        self.left = self
            .left
            .checked_sub(piece.len())
            .ok_or_else(|| self.too_long())?;
        Ok(piece)
    }

    fn too_long(&self) -> TransportError {
        TransportError {
            kind: ErrorKind::BadReply,
            message: format!("the answer is longer than {} bytes", self.limit),
            was_sent: true,
        }
    }

    fn unpackable(&self, fault: gunzip::Fault) -> TransportError {
        match fault {
            gunzip::Fault::TooLong => self.too_long(),
            gunzip::Fault::Broken(error) => broke_off(&error),
        }
    }
}

/// Where a redirect leads, for people: scheme, host and path.
fn redirect_target(from: &Endpoint, target: &str) -> Option<String> {
    let from = Url::parse(&from.uri.to_string()).ok()?;
    let mut target = from.join(target).ok()?;
    // Neither fails for an address that has a host; one without is shown as it is.
    let _ = target.set_username("");
    let _ = target.set_password(None);
    target.set_query(None);
    target.set_fragment(None);
    Some(target.into())
}

/// Whether the other end answered a handshake with something else.
fn speaks_no_tls(cause: &(dyn StdError + 'static)) -> bool {
    let mut cause = cause;
    while let Some(inner) = cause
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        cause = inner;
    }
    matches!(
        cause.downcast_ref::<rustls::Error>(),
        Some(rustls::Error::InvalidMessage(_))
    )
}

fn not_allowed(place: &str) -> String {
    format!("{place} {NotAllowed}")
}

fn broke_off(cause: &(dyn StdError + 'static)) -> TransportError {
    TransportError {
        kind: ErrorKind::Network,
        message: format!("the connection broke in the middle of the answer: {cause}"),
        was_sent: true,
    }
}

/// The innermost cause, which is the informative one.
fn root<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}
