//! A span, independent of any wire format. Attributes that only MLflow reads are separate from
//! those of the OpenTelemetry conventions.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::capture::Captured;

pub(crate) type TraceId = [u8; 16];
pub(crate) type SpanId = [u8; 8];

/// A span that has ended.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_field_names,
    reason = "trace and span ids are named as everywhere"
)]
pub(crate) struct Span {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) parent: Option<SpanId>,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) attributes: Attributes,
    pub(crate) events: Vec<SpanEvent>,
    pub(crate) status: Status,
    /// Whether this is the run's own span, which is the root of MLflow's trace even if it has a
    /// parent elsewhere.
    pub(crate) is_run: bool,
}

/// Something that happened within a span.
#[derive(Debug, Clone)]
pub(crate) struct SpanEvent {
    pub(crate) at: Timestamp,
    pub(crate) name: &'static str,
    pub(crate) attributes: Attributes,
}

/// The kind of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Internal,
    Server,
    Client,
}

/// How a span ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Status {
    Unset,
    Ok,
    Error(String),
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Texts(Vec<String>),
}

/// Attributes in the order in which they were added.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attributes {
    pub(crate) conventional: Vec<(&'static str, Value)>,
    pub(crate) mlflow: Vec<(Cow<'static, str>, Value)>,
}

impl Attributes {
    /// Adds an attribute of the conventions.
    pub(crate) fn put(&mut self, name: &'static str, value: impl Into<Value>) {
        self.conventional.push((name, value.into()));
    }

    /// Adds an attribute of the conventions if there is a value.
    pub(crate) fn put_some(&mut self, name: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    /// Adds an attribute for MLflow only.
    pub(crate) fn mlflow(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        self.mlflow.push((name.into(), value.into()));
    }

    /// Adds content for MLflow if it may be shown.
    pub(crate) fn mlflow_content(&mut self, name: &'static str, content: Option<Captured>) {
        if let Some(content) = content {
            self.mlflow(name, content.into_string());
        }
    }

    fn bytes(&self) -> usize {
        let conventional = self
            .conventional
            .iter()
            .map(|(name, value)| (name.len(), value));
        let mlflow = self.mlflow.iter().map(|(name, value)| (name.len(), value));
        conventional
            .chain(mlflow)
            .map(|(name, value)| 48 + name + value.bytes())
            .sum()
    }
}

impl Span {
    /// Its approximate size in memory.
    pub(crate) fn bytes(&self) -> usize {
        let events = self
            .events
            .iter()
            .map(|event| 64 + event.attributes.bytes());
        256 + self.name.len() + self.attributes.bytes() + events.sum::<usize>()
    }
}

impl Value {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Texts(texts) => texts.iter().map(|text| 24 + text.len()).sum(),
            Self::Int(_) | Self::Float(_) | Self::Bool(_) => 8,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Captured> for Value {
    fn from(content: Captured) -> Self {
        Self::Text(content.into_string())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}
