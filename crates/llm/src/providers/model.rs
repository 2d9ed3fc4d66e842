//! One model of one provider, reached over HTTP: the only place where dialect and transport meet.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hyper::header::HeaderValue;
use serde_json::Value;
use url::Url;

use super::base;
use super::detour::{About, Asked};
use super::lessons::Lessons;
use super::names::Renamed;
use super::route::Route;
use super::schema::Fitted;
use super::{Assembly, Dialect, Fault};
use crate::Error;
use crate::answer::{Answer, content};
use crate::chat::{ChatReply, ChatRequest, Content, Delta, FinishReason, Usage};
use crate::error::{ErrorKind, Spent};
use crate::model::ChatModel;
use crate::pricing::PriceTable;
use crate::secret::Secret;
use crate::settings::Clock;
use crate::tokens::{Most, Reported};
use crate::transport::failure::Subject;
use crate::transport::frames::Frames;
use crate::transport::{self, Broken, Endpoint, Transport, Unfit};

/// Length of a stream's events around the text that they bring, in bytes.
const USUAL_EVENT: usize = 512;

/// Longest name of a model that is taken from an answer, in bytes.
const MAX_MODEL_NAME: usize = 256;

type OnDelta<'a> = &'a (dyn Fn(Delta) + Send + Sync);

/// A model behind a dialect.
pub(crate) struct HttpModel<D: Dialect> {
    name: String,
    provider: &'static str,
    model: String,
    whole: Endpoint,
    streamed: Endpoint,
    /// Where the key came from.
    key_variable: Option<String>,
    /// What an answer may not be quoted with.
    secrets: Vec<Secret>,
    dialect: D,
    /// By the schema of the answer.
    shapes: Fitted<Shape<D>>,
    /// For questions without one.
    lessons: Mutex<Lessons>,
    clock: Arc<dyn Clock>,
    transport: Transport,
    prices: Arc<PriceTable>,
}

/// What belongs to one shape of answers: a node's, in nearly every case.
struct Shape<D: Dialect> {
    schemas: D::Schemas,
    /// Where the schema has odd property names.
    renamed: Option<(D::Schemas, Renamed)>,
    lessons: Mutex<Lessons>,
}

impl<D: Dialect> Shape<D> {
    fn new(schema: &Value) -> Self {
        Self {
            schemas: D::fit(schema),
            renamed: Renamed::of(schema).map(|renamed| (D::fit(&renamed.schema), renamed)),
            lessons: Mutex::default(),
        }
    }

    fn schemas(&self, wording: D::Wording) -> &D::Schemas {
        match &self.renamed {
            Some((schemas, _)) if D::has_plain_names(wording) => schemas,
            _ => &self.schemas,
        }
    }
}

/// A key and the environment variable it came from.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) value: Secret,
    pub(crate) variable: String,
}

/// Keys stay out of logs, and so do credentials inside an address.
impl<D: Dialect> fmt::Debug for HttpModel<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpModel")
            .field("name", &self.name)
            .field("address", &self.whole)
            .finish_non_exhaustive()
    }
}

/// Where a model is found.
pub(crate) struct Place<'a> {
    pub(crate) provider: &'static str,
    pub(crate) model: &'a str,
    /// Without a trailing slash.
    pub(crate) base: &'a str,
    /// The workflow's file names it, not the operator.
    pub(crate) is_of_workflow: bool,
    pub(crate) key: Option<Key>,
}

impl<D: Dialect> HttpModel<D> {
    pub(crate) fn new(
        place: Place<'_>,
        dialect: D,
        transport: Transport,
        prices: Arc<PriceTable>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let Place {
            provider,
            model,
            base,
            is_of_workflow,
            key,
        } = place;
        let headers = dialect
            .headers(key.as_ref().map(|key| key.value.reveal()))
            .ok_or_else(|| {
                let variable = key.as_ref().map_or("the key", |key| key.variable.as_str());
                Error::new(
                    ErrorKind::Config,
                    format!(
                        "{variable} holds characters no key has; copy the {provider} key again"
                    ),
                )
            })?;
        let (below, query) = base::parse(base, provider)
            .map_err(|sentence| Error::new(ErrorKind::Config, sentence))?;
        let endpoint = |stream| {
            let address = base::with_query(D::address(below, model, stream), query);
            let url = Url::parse(&address).map_err(|_| Unfit::NoAddress);
            let endpoint = url.and_then(|url| {
                if is_of_workflow {
                    transport.guarded_endpoint(&url, headers.clone())
                } else {
                    transport.endpoint(&url, headers.clone())
                }
            });
            endpoint.map_err(|unfit| {
                let message = match unfit {
                    Unfit::NoAddress => {
                        // Without credentials, should there be any.
                        let shown = base.rsplit('@').next().unwrap_or_default();
                        format!("`{shown}` is no address for {provider}; write one such as `http://127.0.0.1:8080/v1`")
                    }
                    Unfit::NotAllowed(why) => why,
                };
                Error::new(ErrorKind::Config, message)
            })
        };
        let whole = endpoint(false)?;
        let mut secrets = whole.credentials.clone();
        let (value, key_variable) = key.map(|key| (key.value, key.variable)).unzip();
        secrets.extend(value);
        Ok(Self {
            name: format!("{provider}/{model}"),
            provider,
            model: model.to_owned(),
            whole,
            streamed: endpoint(true)?,
            key_variable,
            secrets,
            dialect,
            shapes: Fitted::default(),
            lessons: Mutex::default(),
            clock,
            transport,
            prices,
        })
    }

    async fn ask(&self, request: &ChatRequest, on_delta: OnDelta<'_>) -> Result<ChatReply, Error> {
        let endpoint = if request.stream {
            &self.streamed
        } else {
            &self.whole
        };
        let trace_parent = request.trace_parent.as_deref();
        let trace_parent = trace_parent.and_then(|parent| HeaderValue::from_str(parent).ok());
        let shape = request
            .output
            .as_ref()
            .map(|output| self.shapes.get(&output.schema, Shape::new));
        let shape = shape.as_deref();
        let has_odd_names = shape.is_some_and(|shape| shape.renamed.is_some());
        let lessons = shape.map_or(&self.lessons, |shape| &shape.lessons);
        let asked = Asked::of(request, has_odd_names);
        let mut route = Route::new(&self.dialect, asked, lessons, self.clock.elapsed());
        loop {
            let wording = route.wording();
            let schemas = shape.map(|shape| shape.schemas(wording));
            let body = D::body(&self.model, request, schemas, wording).map_err(|error| {
                self.error(
                    ErrorKind::BadRequest,
                    &format!("the request is no JSON: {error}"),
                )
            })?;
            let mut answer = self
                .transport
                .post(endpoint, body, trace_parent.as_ref())
                .await
                .map_err(|broken| self.broken(&broken))?;
            if answer.status.is_success() {
                let mut reply = self.read(answer, request, on_delta).await?;
                if let Some((_, renamed)) = shape.and_then(|shape| shape.renamed.as_ref())
                    && let (Content::Json(answer), Some(output)) =
                        (&mut reply.content, &request.output)
                    && D::has_plain_names(wording)
                {
                    *answer = renamed.restore(answer.take(), &output.schema);
                }
                // Several steps down the same ladder are one lesson for people.
                let mut learnt: Vec<About> = route.answered(self.clock.elapsed()).collect();
                learnt.dedup();
                for about in learnt {
                    self.tell_learnt(about);
                }
                if let Some(warning) = route.given_up(&self.name) {
                    on_delta(Delta::Warning(warning));
                }
                return Ok(reply);
            }
            let (status, retry_after) = (answer.status.as_u16(), answer.retry_after);
            let target = answer.redirects_to.take();
            // The status alone says enough when the body does not arrive.
            let body = answer.into_bytes().await.ok();
            let body = body.as_ref().map_or(&[][..], |body| &body.bytes);
            let mut refusal = self.dialect.refusal(status, body);
            if let Some(target) = target {
                refusal.message = format!("it redirects to {target}");
            }
            if let Err((refusal, retry_after)) = route.refused((refusal, retry_after)) {
                return Err(refusal.into_error(self.subject(request), retry_after));
            }
            tracing::debug!(model = self.name, status, "asking again in other words");
        }
    }

    /// Nothing is learnt unseen.
    fn tell_learnt(&self, about: About) {
        let (model, refused) = (&*self.name, about.name());
        if matches!(about, About::Temperature | About::ZeroTemperature) {
            tracing::warn!(
                model,
                refused,
                "the model refuses a setting of the workflow and is asked otherwise for an hour"
            );
        } else {
            tracing::info!(
                model,
                refused,
                "the model's server refuses how one question was put; it is put otherwise for an hour"
            );
        }
    }

    async fn read(
        &self,
        answer: transport::Answer,
        request: &ChatRequest,
        on_delta: OnDelta<'_>,
    ) -> Result<ChatReply, Error> {
        // Some servers answer in one piece although a stream was asked for.
        if request.stream && !answer.is_json_document {
            // Its own piece of memory, which only those take that stream.
            return Box::pin(self.read_stream(answer, request, on_delta)).await;
        }
        let body = answer
            .into_bytes()
            .await
            .map_err(|broken| self.broken(&broken))?;
        let answer = self
            .dialect
            .answer(&body.bytes)
            .map_err(|fault| self.fault(fault, request))?;
        self.reply(answer, request)
    }

    async fn read_stream(
        &self,
        mut answer: transport::Answer,
        request: &ChatRequest,
        on_delta: OnDelta<'_>,
    ) -> Result<ChatReply, Error> {
        let mut frames = Frames::new(D::FRAMING);
        let mut assembly = self.dialect.assembly();
        // What is kept of the stream: its text, and what is unusually long in its events.
        let text_bytes = AtomicUsize::new(0);
        let mut event_bytes = 0;
        let mut emit = |text: &str| {
            text_bytes.fetch_add(text.len(), Ordering::Relaxed);
            if !text.is_empty() {
                on_delta(Delta::Text(text.to_owned()));
            }
        };
        let mut piece = answer.first_chunk().await;
        let mut done = false;
        while let Some(bytes) = piece.map_err(|broken| self.broken(&broken))? {
            frames.push(&bytes);
            while let Some(data) = frames.next() {
                event_bytes += data.len().saturating_sub(USUAL_EVENT);
                done = assembly
                    .event(&data, &mut emit)
                    .map_err(|fault| self.fault(fault, request))?;
                if done {
                    break;
                }
            }
            if done {
                answer.end().await;
                break;
            }
            answer.keep(frames.held() + event_bytes.max(text_bytes.load(Ordering::Relaxed)));
            piece = answer.chunk().await;
        }
        if !done && let Some(data) = frames.rest() {
            // Half a document at the end of the body is a cut stream, not a foreign protocol.
            assembly.event(&data, &mut emit).map_err(|fault| {
                let fault = if matches!(fault, Fault::Malformed(_)) {
                    Fault::Truncated
                } else {
                    fault
                };
                self.fault(fault, request)
            })?;
        }
        let answer = assembly
            .finish()
            .map_err(|fault| self.fault(fault, request))?;
        self.reply(answer, request)
    }

    fn reply(&self, answer: Answer, request: &ChatRequest) -> Result<ChatReply, Error> {
        let content = content(answer.body, request.output.is_some());
        let cut = match &content {
            Content::Text(text) => text.is_empty() || request.output.is_some(),
            Content::Json(_) => false,
        };
        let usage = answer.usage.or_estimate(request, &content);
        if cut && answer.finish == FinishReason::ContentFilter {
            return Err(Error {
                spent: Spent::Tokens(usage),
                ..self.fault(Fault::Filtered(String::new()), request)
            });
        }
        Ok(ChatReply {
            content,
            usage,
            finish: answer.finish,
            cost_usd: self.prices.cost_usd(self.provider, &self.model, &usage),
            model: answer
                .model
                .filter(|model| self.is_plain(model))
                .unwrap_or_else(|| self.model.clone()),
            provider: self.provider.to_owned(),
        })
    }

    /// Whether a model's name, as an answer gives it, can be shown everywhere.
    fn is_plain(&self, name: &str) -> bool {
        name.len() <= MAX_MODEL_NAME && !self.secrets.iter().any(|secret| secret.is_in(name))
    }

    fn subject<'a>(&'a self, request: &'a ChatRequest) -> Subject<'a> {
        Subject {
            name: &self.name,
            secrets: &self.secrets,
            key_variable: self.key_variable.as_deref(),
            messages: &request.messages,
        }
    }

    fn error(&self, kind: ErrorKind, what: &str) -> Error {
        Error::new(kind, format!("{}: {what}", self.name))
    }

    fn broken(&self, broken: &Broken) -> Error {
        Error {
            spent: if broken.was_sent {
                Spent::Unknown
            } else {
                Spent::Nothing
            },
            ..self.error(broken.kind, &broken.message)
        }
    }

    fn fault(&self, fault: Fault, request: &ChatRequest) -> Error {
        match fault {
            Fault::Malformed(what) => self.error(
                ErrorKind::BadReply,
                &format!(
                    "the answer is not {}'s protocol ({what}); check `api_base`",
                    self.provider
                ),
            ),
            Fault::Truncated => Error {
                spent: Spent::Unknown,
                ..self.error(
                    ErrorKind::Network,
                    "the stream ended before the answer was complete",
                )
            },
            Fault::Filtered(reason) => {
                let reason = self.subject(request).sanitise(&reason);
                let colon = if reason.is_empty() { "" } else { ": " };
                // Nothing of the answer came; the prompt was read.
                let nothing = Content::Text(String::new());
                let usage = Reported::default().or_estimate(request, &nothing);
                Error {
                    spent: Spent::Tokens(usage),
                    ..self.error(
                        ErrorKind::ContentFilter,
                        &format!("a content filter withheld the answer{colon}{reason}"),
                    )
                }
            }
            Fault::Refused(refusal) => refusal.into_error(self.subject(request), None),
        }
    }
}

#[async_trait]
impl<D: Dialect> ChatModel for HttpModel<D> {
    fn name(&self) -> &str {
        &self.name
    }

    fn cost_usd(&self, input_tokens: u64, output_tokens: u64) -> Option<f64> {
        let usage = Usage {
            input_tokens,
            cached_tokens: 0,
            output_tokens,
            is_estimated: false,
        };
        self.prices.cost_usd(self.provider, &self.model, &usage)
    }

    fn most(&self, request: &ChatRequest) -> Most {
        Most::of(request, D::ENVELOPE_TOKENS, D::answer_limit(request))
    }

    async fn chat(&self, request: &ChatRequest, on_delta: OnDelta<'_>) -> Result<ChatReply, Error> {
        let asking = tokio::time::timeout(request.timeout, self.ask(request, on_delta));
        asking.await.unwrap_or_else(|_elapsed| {
            let seconds = request.timeout.as_secs_f64();
            Err(self.error(
                ErrorKind::Timeout,
                &format!("no complete answer within {seconds} s"),
            ))
        })
    }
}
