//! Models that answer from a script, so that a workflow's logic can be tested without a model.
//!
//! A script is JSON, `{node id: [reply, …]}`. A reply is an object (a structured answer), a text
//! (an answer without structure), or `{"__raise__": text}` (a failed call: texts that hold "rate
//! limit", "timeout" or "temporarily unavailable" fail in a way that is worth retrying, others do
//! not). Each node takes its replies in order, one per call, for as long as the process lives:
//! under `serve`, a second run goes on where the first one stopped.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::Value;

use crate::Error;
use crate::chat::{ChatReply, ChatRequest, Content, Delta, FinishReason, Message};
use crate::error::ErrorKind;
use crate::model::{ChatModel, ModelSpec, Models};
use crate::offline::estimate_usage;
use crate::playback;

/// The key that makes a reply a failure.
const RAISE: &str = "__raise__";

/// Words in a failure's text and the kind of error that they stand for.
const RAISED: &[(&str, ErrorKind)] = &[
    ("rate limit", ErrorKind::RateLimit),
    ("timeout", ErrorKind::Timeout),
    ("temporarily unavailable", ErrorKind::Overloaded),
];

/// Every model, answering from one script.
#[derive(Debug)]
pub struct Scripted {
    model: Arc<ScriptedModel>,
}

/// A call that took a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The node.
    pub label: String,
    /// The texts of the request's messages, joined by blank lines.
    pub prompt: String,
}

impl Scripted {
    /// Reads a script. The error (`ErrorKind::Config`) says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let nodes: serde_json::Map<String, Value> =
            serde_json::from_str(text).map_err(|error| {
                config(format!(
                    "the replies are not a JSON object: {error}; write `{{\"node\": [reply, …]}}`"
                ))
            })?;
        let mut replies = HashMap::new();
        for (node, list) in nodes {
            let Value::Array(list) = list else {
                return Err(config(format!(
                    "the replies of `{node}` are not a list; write `[reply, …]`"
                )));
            };
            let parsed: Result<VecDeque<Reply>, Error> = list
                .into_iter()
                .enumerate()
                .map(|(index, reply)| Reply::read(&node, index, reply))
                .collect();
            replies.insert(node, parsed?);
        }
        let model = ScriptedModel {
            replies: Mutex::new(replies),
            calls: Mutex::default(),
        };
        Ok(Self {
            model: Arc::new(model),
        })
    }

    /// The calls that took a reply so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.model
            .calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Models for Scripted {
    fn find(&self, _spec: &ModelSpec) -> Result<Arc<dyn ChatModel>, Error> {
        Ok(Arc::clone(&self.model) as Arc<dyn ChatModel>)
    }

    fn is_sequential(&self) -> bool {
        true
    }
}

#[derive(Debug)]
enum Reply {
    Answer(Content),
    Raise(String),
}

impl Reply {
    fn read(node: &str, index: usize, reply: Value) -> Result<Self, Error> {
        match reply {
            Value::String(text) => Ok(Self::Answer(Content::Text(text))),
            Value::Object(fields) if fields.contains_key(RAISE) => match &fields[RAISE] {
                Value::String(text) if fields.len() == 1 => Ok(Self::Raise(text.clone())),
                _ => Err(config(format!(
                    "reply {index} of `{node}`: `{RAISE}` must be the only key, and its value a text"
                ))),
            },
            Value::Object(fields) => Ok(Self::Answer(Content::Json(Value::Object(fields)))),
            _ => Err(config(format!(
                "reply {index} of `{node}` is neither an object nor a text"
            ))),
        }
    }
}

#[derive(Debug)]
struct ScriptedModel {
    replies: Mutex<HashMap<String, VecDeque<Reply>>>,
    calls: Mutex<Vec<Call>>,
}

impl ScriptedModel {
    fn take(&self, request: &ChatRequest) -> Result<Reply, Error> {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        let left = replies.get_mut(&*request.label);
        let known = left.is_some();
        let reply = left.and_then(VecDeque::pop_front).ok_or_else(|| {
            let label = &request.label;
            let message = if known {
                format!("the script has no further reply for node `{label}`; add one for each call")
            } else {
                format!(
                    "the script has no replies for node `{label}`; add `\"{label}\": [reply, …]`"
                )
            };
            Error::new(ErrorKind::NoRecording, message)
        })?;
        let texts: Vec<_> = request.messages.iter().map(Message::text).collect();
        let call = Call {
            label: request.label.to_string(),
            prompt: texts.join("\n\n"),
        };
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(call);
        Ok(reply)
    }
}

#[async_trait]
impl ChatModel for ScriptedModel {
    fn name(&self) -> &'static str {
        "scripted/replies"
    }

    fn cost_usd(&self, _input_tokens: u64, _output_tokens: u64) -> Option<f64> {
        Some(0.0)
    }

    async fn chat(
        &self,
        request: &ChatRequest,
        on_delta: &(dyn Fn(Delta) + Send + Sync),
    ) -> Result<ChatReply, Error> {
        let content = match self.take(request)? {
            Reply::Answer(content) => content,
            Reply::Raise(text) => {
                let lower = text.to_lowercase();
                let known = RAISED.iter().find(|(words, _)| lower.contains(words));
                let kind = known.map_or(ErrorKind::BadRequest, |(_, kind)| *kind);
                return Err(Error::new(kind, text));
            }
        };
        let text = playback::text(&content);
        if request.stream {
            playback::stream(&text, on_delta);
        }
        Ok(ChatReply {
            usage: estimate_usage(&request.messages, &text),
            content,
            finish: FinishReason::Stop,
            model: "replies".to_owned(),
            provider: "scripted".to_owned(),
            cost_usd: Some(0.0),
            calls: Vec::new(),
            opaque: Vec::new(),
        })
    }
}

fn config(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::test_request::free;
    use serde_json::json;

    fn ask(scripted: &Scripted, label: &str) -> Result<Content, ErrorKind> {
        let model = scripted.find(&ModelSpec::default()).unwrap();
        let request = ChatRequest {
            label: label.into(),
            ..free()
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime
            .block_on(model.chat(&request, &|_| {}))
            .map(|reply| reply.content)
            .map_err(|error| error.kind)
    }

    #[test]
    fn each_node_takes_its_replies_in_order() {
        let scripted = Scripted::parse(r#"{"a": [{"n": 1}, "text"], "b": [{"n": 2}]}"#).unwrap();
        assert_eq!(ask(&scripted, "a"), Ok(Content::Json(json!({"n": 1}))));
        assert_eq!(ask(&scripted, "b"), Ok(Content::Json(json!({"n": 2}))));
        assert_eq!(ask(&scripted, "a"), Ok(Content::Text("text".to_owned())));
        assert_eq!(ask(&scripted, "a"), Err(ErrorKind::NoRecording));
        assert_eq!(ask(&scripted, "c"), Err(ErrorKind::NoRecording));
        let calls: Vec<String> = scripted
            .calls()
            .into_iter()
            .map(|call| format!("{}: {}", call.label, call.prompt))
            .collect();
        assert_eq!(calls, ["a: Hi", "b: Hi", "a: Hi"]);
    }

    #[test]
    fn raised_texts_are_classified() {
        for (text, expected) in [
            ("Rate limit exceeded", ErrorKind::RateLimit),
            ("connection timeout", ErrorKind::Timeout),
            ("service temporarily unavailable", ErrorKind::Overloaded),
            ("invalid api key", ErrorKind::BadRequest),
        ] {
            let scripted =
                Scripted::parse(&json!({"a": [{"__raise__": text}]}).to_string()).unwrap();
            assert_eq!(ask(&scripted, "a"), Err(expected), "{text}");
        }
    }

    #[track_caller]
    fn check_refused(text: &str, part: &str) {
        let error = Scripted::parse(text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(part), "{}", error.message);
    }

    #[test]
    fn unreadable_scripts_are_refused() {
        check_refused("[1]", "the replies are not a JSON object");
        check_refused(r#"{"a": {"n": 1}}"#, "the replies of `a` are not a list");
        check_refused(
            r#"{"a": ["x", 5]}"#,
            "reply 1 of `a` is neither an object nor a text",
        );
        check_refused(r#"{"a": [{"__raise__": 5}]}"#, "reply 0 of `a`");
    }
}
