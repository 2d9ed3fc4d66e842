//! The tools of a request as they are sent.

use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::names::PlainNames;
use super::references;
use crate::chat::{Arguments, ChatRequest, Sampling, ToolCall, ToolChoice, ToolDefinition};

/// The most letters of a name that every provider takes.
const MAX_NAME: usize = 64;

/// A tool's schema in one dialect, prepared once.
#[derive(Debug)]
pub(crate) struct ToolShape {
    /// `Err`: why no provider takes it.
    schema: Result<Box<RawValue>, String>,
    /// Present if the schema has unusual property names.
    renamed: Option<PlainNames>,
}

impl ToolShape {
    /// `fit` is how the dialect fits a schema.
    pub(crate) fn new(original: &Value, fit: fn(&Value) -> Value) -> Self {
        let inlined = match references::inlined(original) {
            Ok(inlined) => inlined,
            Err(why) => {
                return Self {
                    schema: Err(why),
                    renamed: None,
                };
            }
        };
        let renamed = PlainNames::of(&inlined);
        let plain = renamed.as_ref().map_or(&inlined, |names| &names.schema);
        let fitted = fit(plain);
        Self {
            schema: Ok(to_raw_value(&fitted).expect("a value has text keys")),
            renamed,
        }
    }
}

/// A request's tools with their schemas.
#[derive(Debug, Default)]
pub(crate) struct Tools<'a> {
    definitions: &'a [ToolDefinition],
    shapes: Vec<Arc<ToolShape>>,
    choice: ToolChoice,
}

/// A tool as it is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentTool<'a> {
    pub(crate) name: &'a str,
    pub(crate) description: Option<&'a str>,
    pub(crate) schema: &'a RawValue,
}

impl<'a> Tools<'a> {
    pub(crate) fn of(
        request: &'a ChatRequest,
        shape: impl FnMut(&Arc<Value>) -> Arc<ToolShape>,
    ) -> Self {
        if request.tools.is_empty() {
            return Self::default();
        }
        Self {
            choice: request.tool_choice.clone(),
            ..Self::with(&request.tools, shape)
        }
    }

    /// These tools, whatever the request.
    pub(crate) fn with(
        tools: &'a [ToolDefinition],
        mut shape: impl FnMut(&Arc<Value>) -> Arc<ToolShape>,
    ) -> Self {
        Self {
            definitions: tools,
            shapes: tools.iter().map(|tool| shape(&tool.schema)).collect(),
            choice: ToolChoice::Auto,
        }
    }

    /// The names of the tools that cannot be sent, and why.
    pub(crate) fn faults(&self) -> Vec<(String, String)> {
        let names = self.definitions.iter().map(|tool| &*tool.name);
        let mut seen = std::collections::HashSet::new();
        names
            .zip(&self.shapes)
            .filter_map(|(name, shape)| {
                let why = name_fault(name)
                    .or_else(|| (!seen.insert(name)).then(|| "the name is taken".to_owned()))
                    .or_else(|| shape.schema.as_ref().err().cloned());
                Some((name.to_owned(), why?))
            })
            .collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.definitions.is_empty()
    }

    pub(crate) fn choice(&self) -> &ToolChoice {
        &self.choice
    }

    /// Those that can be sent.
    pub(crate) fn sent(&self) -> impl Iterator<Item = SentTool<'_>> {
        let tools = self.definitions.iter().zip(&self.shapes);
        tools.filter_map(|(tool, shape)| {
            Some(SentTool {
                name: &tool.name,
                description: tool.description.as_deref(),
                schema: shape.schema.as_ref().ok()?,
            })
        })
    }

    /// Bytes of their schemas.
    pub(crate) fn schema_bytes(&self) -> usize {
        self.sent().map(|tool| tool.schema.get().len()).sum()
    }

    /// Gives the arguments of a call their own names.
    pub(crate) fn restore(&self, call: &mut ToolCall) {
        let found = self.definitions.iter().zip(&self.shapes);
        let found = found.into_iter().find(|(tool, _)| *tool.name == *call.name);
        if let Some((tool, shape)) = found
            && let Some(names) = &shape.renamed
            && let Arguments::Object(arguments) = &mut call.arguments
        {
            let sent = Value::Object(std::mem::take(arguments));
            if let Value::Object(restored) = names.restore(sent, &tool.schema) {
                *arguments = restored;
            }
        }
    }

    /// The tool that a refusal names, if it names one alone.
    pub(crate) fn named_in(&self, message: &str) -> Option<&str> {
        let mut named = self.definitions.iter().enumerate().filter(|(index, tool)| {
            message.contains(&format!("'{}'", tool.name))
                || message.contains(&format!("\"{}\"", tool.name))
                || message.contains(&format!("`{}`", tool.name))
                || message.contains(&format!("tools.{index}."))
                || message.contains(&format!("tools[{index}]"))
                || message.contains(&format!("function_declarations[{index}]"))
        });
        match (named.next(), named.next()) {
            (Some((_, tool)), None) => Some(&tool.name),
            _ => None,
        }
    }
}

fn name_fault(name: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_fit = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_plain);
    (!is_fit)
        .then(|| format!("the name must have 1 to {MAX_NAME} of the characters A-Z a-z 0-9 _ -"))
}

/// The arguments of a call for a dialect that takes objects only: the text of a faulty call is
/// wrapped, so that the model sees what it wrote.
pub(crate) fn object(arguments: &Arguments) -> Map<String, Value> {
    match arguments {
        Arguments::Object(arguments) => arguments.clone(),
        Arguments::Unreadable(text) => Map::from_iter([("INVALID_JSON".to_owned(), json!(text))]),
    }
}

/// A setting of [`Sampling`] that a provider may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    Seed,
    NumCtx,
    ToolChoice,
}

impl Setting {
    /// Whether a request has it.
    fn is_in(self, sampling: &Sampling, request: &ChatRequest) -> bool {
        match self {
            Self::Seed => sampling.seed.is_some(),
            Self::NumCtx => sampling.num_ctx.is_some(),
            Self::ToolChoice => {
                !request.tools.is_empty() && request.tool_choice != ToolChoice::Auto
            }
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Seed => "seed",
            Self::NumCtx => "num_ctx",
            Self::ToolChoice => "tool_choice",
        }
    }
}

/// A sentence for each setting of the request that the provider does not have.
pub(crate) fn left_out(
    provider: &str,
    missing: &[Setting],
    request: &ChatRequest,
) -> impl Iterator<Item = String> {
    let missing = missing.iter();
    missing
        .filter(|setting| setting.is_in(&request.sampling, request))
        .map(move |setting| {
            format!(
                "{provider} has no `{}`; the request is sent without it",
                setting.key()
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::Dialect as _;
    use crate::providers::ollama::Ollama;
    use crate::providers::test_request::offering;

    fn tools(request: &ChatRequest) -> Tools<'_> {
        Tools::of(request, |schema| {
            Arc::new(ToolShape::new(schema, Ollama::fit_tool))
        })
    }

    /// T32: one bad tool is named and does not spoil the others.
    #[test]
    fn each_tool_that_no_provider_takes_is_named() {
        let object = json!({"type": "object", "properties": {}});
        let request = offering(&[
            ("good", object.clone()),
            ("a.b", object.clone()),
            ("good", object),
            ("list", json!({"type": "array"})),
            (
                "lost",
                json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}}),
            ),
        ]);
        let faults = tools(&request).faults();
        let read: Vec<_> = faults.iter().map(|(name, _)| &**name).collect();
        assert_eq!(read, ["a.b", "good", "list", "lost"]);
        assert!(faults[3].1.contains("#/$defs/x"), "{faults:?}");
    }

    #[test]
    fn odd_names_of_arguments_come_back_as_they_were() {
        let request = offering(&[(
            "greet",
            json!({"type": "object", "properties": {"grüße": {"type": "string"}}}),
        )]);
        let tools = tools(&request);
        let sent = tools.sent().next().unwrap().schema.get().to_owned();
        assert!(sent.contains("\"gr__e\""), "{sent}");
        let mut call = ToolCall {
            id: "a".to_owned(),
            name: "greet".to_owned(),
            arguments: Arguments::read(r#"{"gr__e": "x"}"#),
        };
        tools.restore(&mut call);
        assert_eq!(call.arguments, Arguments::read(r#"{"grüße": "x"}"#));
    }

    #[test]
    fn a_refusal_that_names_one_tool_is_about_it() {
        let object = json!({"type": "object", "properties": {}});
        let request = offering(&[("get", object.clone()), ("put", object)]);
        let tools = tools(&request);
        for (message, expected) in [
            ("Invalid schema for function 'put': bad", Some("put")),
            ("tools.0.custom.input_schema: bad", Some("get")),
            ("'get' and 'put' are bad", None),
            ("too many tools", None),
        ] {
            assert_eq!(tools.named_in(message), expected, "{message}");
        }
    }
}
