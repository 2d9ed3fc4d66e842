//! Encodes spans as protobuf messages.

use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value,
};
use opentelemetry_proto::tonic::resource::v1::Resource as ResourceMessage;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span as SpanMessage, Status as StatusMessage,
};
use outbound::Environment;
use percent_encoding::percent_decode_str;
use prost::Message as _;

use crate::semconv as name;
use crate::span::{Attributes, Kind, Span, Status, TraceId, Value};

/// The resource: attributes of this process.
#[derive(Debug, Clone)]
pub(crate) struct Resource(Vec<KeyValue>);

impl Resource {
    /// Reads `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`, which override our defaults.
    pub(crate) fn read(environment: &Environment) -> Self {
        let mut attributes = vec![
            (name::SERVICE_NAME.to_owned(), "flowmill".to_owned()),
            (
                name::SERVICE_VERSION.to_owned(),
                env!("CARGO_PKG_VERSION").to_owned(),
            ),
        ];
        let mut put = |name: &str, value: String| {
            attributes.retain(|(known, _)| known != name);
            attributes.push((name.to_owned(), value));
        };
        let pairs = environment
            .get("OTEL_RESOURCE_ATTRIBUTES")
            .unwrap_or_default();
        for (key, value) in pairs.split(',').filter_map(|pair| pair.split_once('=')) {
            let value = percent_decode_str(value.trim()).decode_utf8_lossy();
            put(key.trim(), value.into_owned());
        }
        if let Some(service) = environment.get("OTEL_SERVICE_NAME") {
            put(name::SERVICE_NAME, service.to_owned());
        }
        let pair = |(name, value): (String, String)| pair(name, any(Value::Text(value)));
        Self(attributes.into_iter().map(pair).collect())
    }
}

/// Encodes spans with the attributes of the conventions only.
pub(super) fn for_collector(spans: impl Iterator<Item = Span>, resource: &Resource) -> Vec<u8> {
    request(spans.map(|span| message(span, None)), resource)
}

/// Encodes spans with MLflow's attributes as well, as a trace of their own whose root is the run.
pub(crate) fn for_mlflow(
    spans: impl Iterator<Item = Span>,
    trace_id: TraceId,
    resource: &Resource,
) -> Vec<u8> {
    request(spans.map(|span| message(span, Some(trace_id))), resource)
}

fn request(spans: impl Iterator<Item = SpanMessage>, resource: &Resource) -> Vec<u8> {
    let scope = InstrumentationScope {
        name: "flowmill.gen_ai".to_owned(),
        version: name::GEN_AI_VERSION.to_owned(),
        ..InstrumentationScope::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(ResourceMessage {
                attributes: resource.0.clone(),
                ..ResourceMessage::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: spans.collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    };
    request.encode_to_vec()
}

fn message(span: Span, mlflow: Option<TraceId>) -> SpanMessage {
    let (code, message) = match span.status {
        Status::Unset => (StatusCode::Unset, String::new()),
        Status::Ok => (StatusCode::Ok, String::new()),
        Status::Error(message) => (StatusCode::Error, message),
    };
    let kind = match span.kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
    };
    let parent = span.parent.filter(|_| mlflow.is_none() || !span.is_run);
    let events = span.events.into_iter().map(|event| Event {
        time_unix_nano: nanoseconds(event.at),
        name: event.name.to_owned(),
        attributes: attributes(event.attributes, mlflow.is_some()),
        dropped_attributes_count: 0,
    });
    SpanMessage {
        trace_id: mlflow.unwrap_or(span.trace_id).to_vec(),
        span_id: span.span_id.to_vec(),
        parent_span_id: parent.map(|id| id.to_vec()).unwrap_or_default(),
        name: span.name,
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(span.start),
        end_time_unix_nano: nanoseconds(span.end),
        events: events.collect(),
        attributes: attributes(span.attributes, mlflow.is_some()),
        status: Some(StatusMessage {
            message,
            code: code.into(),
        }),
        // Recorded and sampled.
        flags: 1,
        ..SpanMessage::default()
    }
}

fn attributes(attributes: Attributes, mlflow: bool) -> Vec<KeyValue> {
    let conventional = attributes.conventional.into_iter();
    let mut pairs: Vec<KeyValue> = conventional
        .map(|(name, value)| pair(name.to_owned(), any(value)))
        .collect();
    if mlflow {
        let own = attributes.mlflow.into_iter();
        pairs.extend(own.map(|(name, value)| pair(name.into_owned(), any(value))));
    }
    pairs
}

fn pair(key: String, value: AnyValue) -> KeyValue {
    KeyValue {
        key,
        value: Some(value),
        ..KeyValue::default()
    }
}

fn any(value: Value) -> AnyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text),
        Value::Int(number) => any_value::Value::IntValue(number),
        Value::Float(number) => any_value::Value::DoubleValue(number),
        Value::Bool(truth) => any_value::Value::BoolValue(truth),
        Value::Texts(texts) => any_value::Value::ArrayValue(ArrayValue {
            values: texts
                .into_iter()
                .map(|text| any(Value::Text(text)))
                .collect(),
        }),
    };
    AnyValue { value: Some(value) }
}

/// Nanoseconds since 1970; earlier times become 0.
fn nanoseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or(0)
}
