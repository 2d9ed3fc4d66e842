//! Building one `OpenAPI` operation. Schemas are named as in [`super::components`].

use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use service::access::Scope;

use super::components::{self, Component};
use crate::need::Need;
use crate::views::problem::{Detail, ProblemDocument, ValidationFaults};

/// Tags, by which the document groups operations.
pub(crate) const RUN: &str = "run";
pub(crate) const JOBS: &str = "jobs";
pub(crate) const SERVER: &str = "server";
pub(crate) const KEYS: &str = "keys";

/// Names of the security schemes.
const BEARER: &str = "bearer";
const API_KEY: &str = "api_key";

/// `components.securitySchemes`: two ways to send the same key.
pub(super) fn security_schemes() -> Value {
    json!({
        BEARER: { "type": "http", "scheme": "bearer", "description": "`fm_<id>_<secret>`" },
        API_KEY: { "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key in a header of its own." },
    })
}

/// An operation object in the making.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    tag: &'static str,
    summary: &'static str,
    description: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    responses: Map<String, Value>,
    security: Option<Value>,
    /// The schemas that it refers to.
    pub(super) components: Vec<Component>,
}

/// A body of an answer: its media type and its form.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    media_type: &'static str,
    /// `None`: text.
    component: Option<Component>,
}

impl Content {
    /// JSON of that type.
    pub(crate) fn json<T: JsonSchema>() -> Self {
        Self::of("application/json", Component::of::<T>())
    }

    fn problem() -> Self {
        Self::of(
            "application/problem+json",
            Component::of::<ProblemDocument<'_>>(),
        )
    }

    /// Of a component.
    pub(crate) fn of(media_type: &'static str, component: Component) -> Self {
        Self {
            media_type,
            component: Some(component),
        }
    }

    /// Server-sent events.
    pub(crate) fn events() -> Self {
        Self::of("text/event-stream", components::event_stream())
    }

    /// Text of any form.
    pub(crate) fn text(media_type: &'static str) -> Self {
        Self {
            media_type,
            component: None,
        }
    }
}

impl Operation {
    pub(crate) fn new(tag: &'static str, summary: &'static str, description: &'static str) -> Self {
        Self {
            tag,
            summary,
            description,
            parameters: Vec::new(),
            body: None,
            responses: Map::new(),
            security: None,
            components: Vec::new(),
        }
    }

    /// An optional request header.
    pub(crate) fn header(self, name: &str, description: &str, example: &str) -> Self {
        self.header_like(name, description, example, json!({}))
    }

    /// An optional request header whose text has to fit.
    pub(crate) fn header_like(
        self,
        name: &str,
        description: &str,
        example: &str,
        mut rules: Value,
    ) -> Self {
        rules["type"] = "string".into();
        rules["examples"] = json!([example]);
        self.parameter("header", name, description, &rules)
    }

    /// An optional query parameter.
    pub(crate) fn query(self, name: &str, description: &str, schema: &Value) -> Self {
        self.parameter("query", name, description, schema)
    }

    fn parameter(mut self, place: &str, name: &str, description: &str, schema: &Value) -> Self {
        self.parameters.push(json!({ "name": name, "in": place, "required": false, "description": description, "schema": schema }));
        self
    }

    /// The JSON body that it takes.
    pub(crate) fn takes(self, schema: Component) -> Self {
        self.with_body(schema, true)
    }

    /// The JSON body that it takes, which may be left out.
    pub(crate) fn takes_optionally(self, schema: Component) -> Self {
        self.with_body(schema, false)
    }

    fn with_body(mut self, schema: Component, required: bool) -> Self {
        self.body = Some(
            json!({ "description": "JSON.", "required": required, "content": { "application/json": { "schema": schema.reference() } } }),
        );
        self.components.push(schema);
        self
    }

    /// A JSON answer.
    pub(crate) fn answers<T: JsonSchema>(self, status: u16, description: &str) -> Self {
        self.responds(status, description, [Content::json::<T>()])
    }

    /// An answer without a body.
    pub(crate) fn answers_nothing(self, status: u16, description: &str) -> Self {
        self.responds(status, description, [])
    }

    /// An answer in each of several media types.
    pub(crate) fn responds(
        mut self,
        status: u16,
        description: &str,
        contents: impl IntoIterator<Item = Content>,
    ) -> Self {
        let mut shown = Map::new();
        for Content {
            media_type,
            component,
        } in contents
        {
            let schema = match &component {
                Some(component) => component.reference(),
                None => json!({ "type": "string" }),
            };
            shown.insert(media_type.to_owned(), json!({ "schema": schema }));
            self.components.extend(component);
        }
        let response = if shown.is_empty() {
            json!({ "description": description })
        } else {
            json!({ "description": description, "content": shown })
        };
        self.responses.insert(status.to_string(), response);
        self
    }

    /// A header of an answer added before.
    pub(crate) fn with(mut self, status: u16, header: &str, description: &str) -> Self {
        let response = self
            .responses
            .entry(status.to_string())
            .or_insert_with(|| json!({}));
        response["headers"][header] =
            json!({ "description": description, "schema": { "type": "string" } });
        self
    }

    /// Links from an answer that was added before to the operations on the job that it names.
    pub(crate) fn leads_to_job(mut self, status: u16) -> Self {
        let response = self
            .responses
            .entry(status.to_string())
            .or_insert_with(|| json!({}));
        for (name, operation) in OF_A_JOB {
            response["links"][name] = json!({
                "operationId": operation,
                "parameters": { "job_id": "$response.body#/job_id" },
            });
        }
        self
    }

    /// 422: the request has faults.
    pub(crate) fn validates(self) -> Self {
        self.responds(
            422,
            "The request is not valid; every fault is listed.",
            [Content::json::<ValidationFaults<'_>>(), Content::problem()],
        )
    }

    /// 404, in the shape of the Python original.
    pub(crate) fn finds(self, what: &str) -> Self {
        self.responds(
            404,
            what,
            [Content::json::<Detail<'_>>(), Content::problem()],
        )
    }

    /// An RFC 9457 problem.
    pub(crate) fn refuses(self, status: u16, description: &str) -> Self {
        self.responds(status, description, [Content::problem()])
    }

    /// 503: the request may succeed later.
    pub(crate) fn may_be_unavailable(self) -> Self {
        self.refuses(503, "Try again later: the queue is full, the server is shutting down, or the job store does not answer.")
            .with(503, "Retry-After", "Seconds to wait.")
    }

    /// 429, for callers that have reached a limit.
    pub(super) fn limited(self, need: Need) -> Self {
        if need == Need::Probe {
            return self;
        }
        self.refuses(429, "A limit of the API key or the address is reached.")
            .with(429, "Retry-After", "Seconds to wait.")
            .with(429, "RateLimit-Policy", "The limits.")
            .with(429, "RateLimit", "What is left of the limits.")
    }

    /// Whether it exists only for servers with API keys.
    pub(super) fn is_about_keys(&self) -> bool {
        self.tag == KEYS
    }

    /// The refusals that any request may get: its head or its body is malformed, too large or too
    /// slow.
    pub(super) fn bounded(self) -> Self {
        let has_body = self.body.is_some();
        let bounded = self
            .refuses(
                400,
                "The head is malformed: there is not exactly one Host, or the Transfer-Encoding is not chunked.",
            )
            .refuses(414, "The address is too long.")
            .refuses(431, "There are too many header fields, or too large ones.");
        if !has_body {
            return bounded;
        }
        bounded
            .refuses(408, "The body took too long to arrive.")
            .refuses(413, "The body is too large.")
            .refuses(415, "The body is compressed or otherwise encoded.")
    }

    /// Without API keys: requests under a foreign name are refused, and so are requests from web
    /// pages of other origins that start or change something.
    pub(super) fn open(self, only_reads: bool) -> Self {
        self.refuses(
            403,
            if only_reads {
                "The Host header names another server."
            } else {
                "A web page of another origin sent the request, or its Host header names another server."
            },
        )
    }

    /// With API keys: who may use it.
    pub(super) fn guarded(mut self, need: Need) -> Self {
        let scopes: Vec<_> = need.scope().map(Scope::as_str).into_iter().collect();
        let with_key = [json!({ BEARER: scopes }), json!({ API_KEY: scopes })];
        let anyone = json!({});
        self.security = Some(match need {
            Need::Probe | Need::Open => json!([]),
            Need::Page => json!([with_key[0], with_key[1], anyone]),
            Need::AnyKey | Need::Run | Need::Read | Need::Metrics | Need::Admin => json!(with_key),
        });
        if matches!(need, Need::Probe | Need::Open) {
            return self;
        }
        self.refuses(401, "There is no API key, or it is not valid.")
            .with(401, "WWW-Authenticate", "How to send a key.")
            .refuses(
                403,
                "The API key lacks the scope, or is restricted to other workflows.",
            )
    }

    /// The `OpenAPI` object.
    pub(super) fn into_value(self, id: &str, path_parameters: Vec<Value>) -> Value {
        let mut operation = json!({
            "tags": [self.tag],
            "operationId": id,
            "summary": self.summary,
            "description": self.description,
            "responses": self.responses,
        });
        let parameters: Vec<Value> = path_parameters.into_iter().chain(self.parameters).collect();
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some(security) = self.security {
            operation["security"] = security;
        }
        if let Some(body) = self.body {
            operation["requestBody"] = body;
        }
        operation
    }
}

/// Name and `operationId` of the links to the operations on a job.
const OF_A_JOB: [(&str, &str); 7] = [
    ("status", "get_status_job_id"),
    ("job", "get_jobs_job_id"),
    ("events", "get_jobs_job_id_events"),
    ("cancel", "post_jobs_job_id_cancel"),
    ("cancel_by_alias", "post_cancel_job_id"),
    ("retry", "post_jobs_job_id_retry"),
    ("forget", "delete_jobs_job_id"),
];
