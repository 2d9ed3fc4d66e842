//! One model of one provider, reached over HTTP: the only place where dialect and transport meet.

mod results;

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hyper::header::HeaderValue;
use serde_json::Value;
use url::Url;

use super::base;
use super::detour::{RefusedFeature, RequestFeatures};
use super::learned::LearnedDetours;
use super::names::PlainNames;
use super::partial::Offer;
use super::reading::{self, ReplyStream};
use super::schema::SchemaCache;
use super::tools::{ToolShape, Tools, left_out};
use super::wording_search::WordingSearch;
use super::{Dialect, refusal};
use crate::Error;
use crate::chat::{
    AnswerFilter, ChatReply, ChatRequest, Content, Delta, Part, ToolDefinition, Usage,
};
use crate::error::ErrorKind;
use crate::model::ChatModel;
use crate::pricing::PriceTable;
use crate::secret::Secret;
use crate::settings::Clock;
use crate::tokens::UsageCeiling;
use crate::transport::{self, AddressError, Endpoint, Transport};

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
    /// Never part of a quoted answer.
    secrets: Vec<Secret>,
    dialect: D,
    /// By the schema of the requested answer.
    shapes: SchemaCache<Shape<D>>,
    /// By the schema of a tool.
    tool_shapes: SchemaCache<ToolShape>,
    /// For requests without a schema.
    learned: Mutex<LearnedDetours>,
    clock: Arc<dyn Clock>,
    transport: Transport,
    prices: Arc<PriceTable>,
}

/// What is prepared once for one answer schema, which nearly always belongs to one node.
struct Shape<D: Dialect> {
    schemas: D::Schemas,
    /// Present if the schema has unusual property names.
    renamed: Option<(D::Schemas, Arc<PlainNames>)>,
    learned: Mutex<LearnedDetours>,
}

impl<D: Dialect> Shape<D> {
    fn new(schema: &Value) -> Self {
        Self {
            schemas: D::fit(schema),
            renamed: PlainNames::of(schema)
                .map(|renamed| (D::fit(&renamed.schema), Arc::new(renamed))),
            learned: Mutex::default(),
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

/// Neither keys nor credentials in an address are printed.
impl<D: Dialect> fmt::Debug for HttpModel<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpModel")
            .field("name", &self.name)
            .field("address", &self.whole)
            .finish_non_exhaustive()
    }
}

/// The address of a model and its key.
pub(crate) struct ModelAddress<'a> {
    pub(crate) provider: &'static str,
    pub(crate) model: &'a str,
    /// Without a trailing slash.
    pub(crate) base: &'a str,
    /// The workflow's file names the address, not the operator.
    pub(crate) is_of_workflow: bool,
    pub(crate) key: Option<Key>,
}

impl<D: Dialect> HttpModel<D> {
    pub(crate) fn new(
        target: ModelAddress<'_>,
        dialect: D,
        transport: Transport,
        prices: Arc<PriceTable>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let ModelAddress {
            provider,
            model,
            base,
            is_of_workflow,
            key,
        } = target;
        let headers = dialect
            .headers(key.as_ref().map(|key| key.value.reveal()))
            .ok_or_else(|| {
                let variable = key.as_ref().map_or("the key", |key| key.variable.as_str());
                Error::new(
                    ErrorKind::Config,
                    format!(
                        "{variable} contains characters that an API key cannot have; copy the {provider} key again"
                    ),
                )
            })?;
        let (below, query) = base::parse(base, provider)
            .map_err(|sentence| Error::new(ErrorKind::Config, sentence))?;
        let endpoint = |stream| {
            let address = base::with_query(D::address(below, model, stream), query);
            let url = Url::parse(&address).map_err(|_| AddressError::Invalid);
            let endpoint = url.and_then(|url| {
                if is_of_workflow {
                    transport.guarded_endpoint(&url, headers.clone())
                } else {
                    transport.endpoint(&url, headers.clone())
                }
            });
            endpoint.map_err(|unfit| {
                let message = match unfit {
                    AddressError::Invalid => {
                        // Without credentials, should there be any.
                        let shown = base.rsplit('@').next().unwrap_or_default();
                        format!("`{shown}` is not a valid address for {provider}; write one such as `http://127.0.0.1:8080/v1`")
                    }
                    AddressError::NotAllowed(why) => why,
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
            shapes: SchemaCache::default(),
            tool_shapes: SchemaCache::default(),
            learned: Mutex::default(),
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
        let tools = self.tools(request);
        if let Some((tool, why)) = tools.faults().into_iter().next() {
            return Err(self.error(
                ErrorKind::Config,
                &format!("the tool `{tool}` cannot be offered: {why}"),
            ));
        }
        for warning in left_out(self.provider, D::MISSING, request) {
            on_delta(Delta::Warning(warning));
        }
        let has_odd_names = shape.is_some_and(|shape| shape.renamed.is_some());
        let learned = shape.map_or(&self.learned, |shape| &shape.learned);
        let features = RequestFeatures::of(request, has_odd_names);
        let mut search = WordingSearch::new(&self.dialect, features, learned, self.clock.elapsed());
        loop {
            let wording = search.wording();
            let schemas = shape.map(|shape| shape.schemas(wording));
            let body =
                D::body(&self.model, request, schemas, &tools, wording).map_err(|error| {
                    self.error(
                        ErrorKind::BadRequest,
                        &format!("the request cannot be written as JSON: {error}"),
                    )
                })?;
            let mut answer = self
                .transport
                .post(
                    endpoint,
                    body,
                    trace_parent.as_ref(),
                    &request.extra_headers,
                )
                .await
                .map_err(|broken| self.broken(&broken))?;
            let status = answer.status;
            // The names that were sent are the ones that come back.
            let sent_names = shape.filter(|_| D::has_plain_names(wording));
            let sent_names = sent_names.and_then(|shape| Some(&shape.renamed.as_ref()?.1));
            let renamed_request = sent_names.map(|names| with_names(request, names));
            let as_sent = renamed_request.as_ref().unwrap_or(request);
            let mut reply = if status.is_success() {
                self.read(answer, as_sent, on_delta).await?
            } else {
                let (retry_after, target) = (answer.retry_after, answer.redirects_to.take());
                // The status alone says enough when the body does not arrive.
                let body = answer.into_bytes().await.ok();
                let body = body.as_ref().map_or(&[][..], |body| &body.bytes);
                let mut refusal = refusal::of_body(status.as_u16(), body);
                if let Some(target) = target {
                    refusal.message = format!("it redirects to {target}");
                }
                if refusal.answer.is_none() {
                    if let Err((refusal, retry_after)) = search.refused((refusal, retry_after)) {
                        let named = tools.named_in(&refusal.message).map(str::to_owned);
                        let error = refusal.into_error(self.subject(request), retry_after);
                        return Err(of_tool(error, named.as_deref()));
                    }
                    let status = status.as_u16();
                    tracing::debug!(
                        model = self.name,
                        status,
                        "the request was refused; sending it again in another form"
                    );
                    continue;
                }
                self.refused(refusal, retry_after, as_sent)?
            };
            if let (Some(names), Content::Json(answer), Some(output)) =
                (sent_names, &mut reply.content, &request.output)
            {
                *answer = names.restore(answer.take(), &output.schema);
            }
            reply.calls.iter_mut().for_each(|call| tools.restore(call));
            // Several steps down the same ladder are one lesson for people.
            let mut learned: Vec<RefusedFeature> = search.answered(self.clock.elapsed()).collect();
            learned.dedup();
            for about in learned {
                self.log_learned(about);
            }
            if let Some(warning) = search.given_up(&self.name) {
                on_delta(Delta::Warning(warning));
            }
            return Ok(reply);
        }
    }

    /// Logs what is remembered from refusals.
    fn log_learned(&self, about: RefusedFeature) {
        let (model, refused) = (&*self.name, about.name());
        if matches!(
            about,
            RefusedFeature::Temperature | RefusedFeature::ZeroTemperature
        ) {
            tracing::warn!(
                model,
                refused,
                "the model refuses a setting of the workflow; requests leave it out or change it for an hour"
            );
        } else {
            tracing::info!(
                model,
                refused,
                "the model's server refuses this form of request; requests take another form for an hour"
            );
        }
    }

    fn tools<'a>(&self, request: &'a ChatRequest) -> Tools<'a> {
        Tools::of(request, |schema| {
            self.tool_shapes
                .get(schema, |schema| ToolShape::new(schema, D::fit_tool))
        })
    }

    /// What the reply to a request may call.
    fn offer(&self, request: &ChatRequest) -> Option<Offer> {
        let parts = request.messages.iter().flat_map(|turn| turn.parts.iter());
        (!request.tools.is_empty()).then(|| Offer {
            provider: self.provider,
            earlier_calls: parts
                .filter(|part| matches!(part, Part::ToolCall(_)))
                .count(),
        })
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
        match reading::whole::<D>(&body.bytes, self.offer(request)) {
            Ok(ending) => self.ended(ending, request),
            Err(fault) => self.failed(fault, refusal::plain_text(&body.bytes), request),
        }
    }

    async fn read_stream(
        &self,
        mut answer: transport::Answer,
        request: &ChatRequest,
        on_delta: OnDelta<'_>,
    ) -> Result<ChatReply, Error> {
        let mut stream = ReplyStream::<D>::new(self.offer(request));
        let mut emit = |text: &str| {
            if !text.is_empty() {
                on_delta(Delta::Text(text.to_owned()));
            }
        };
        let mut piece = answer.first_chunk().await;
        let ending = loop {
            let Some(bytes) = piece.map_err(|broken| self.broken(&broken))? else {
                break stream.end(&mut emit);
            };
            match stream.push(&bytes, &mut emit) {
                Ok(false) => {
                    answer.keep(stream.kept());
                    piece = answer.chunk().await;
                }
                Ok(true) => {
                    answer.end().await;
                    break stream.finish();
                }
                Err(fault) => break Err(fault),
            }
        };
        match ending {
            Ok(ending) => self.ended(ending, request),
            Err(fault) => self.failed(fault, None, request),
        }
    }
}

/// Says whose fault a refused request is, where the refusal names one tool.
fn of_tool(error: Error, tool: Option<&str>) -> Error {
    match tool {
        Some(tool) if error.kind == ErrorKind::BadRequest => Error {
            message: format!("{} (because of the tool `{tool}`)", error.message),
            ..error
        },
        _ => error,
    }
}

/// The request with the property names that were sent, to read its answer.
fn with_names(request: &ChatRequest, names: &Arc<PlainNames>) -> ChatRequest {
    let mut request = request.clone();
    if let Some(output) = &mut request.output {
        let (names, original) = (Arc::clone(names), output.clone());
        output.schema = Arc::new(names.schema.clone());
        output.filter = AnswerFilter::new(move |answer| {
            let restored = names.restore(answer.clone(), &original.schema);
            original.filter.accepts(&restored)
        });
    }
    request
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

    fn usage_ceiling(&self, request: &ChatRequest) -> UsageCeiling {
        UsageCeiling::of(request, D::ENVELOPE_TOKENS, D::answer_limit(request))
    }

    fn check_tools(&self, tools: &[ToolDefinition]) -> Vec<(String, String)> {
        Tools::with(tools, |schema| {
            self.tool_shapes
                .get(schema, |schema| ToolShape::new(schema, D::fit_tool))
        })
        .faults()
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
