//! The results of a call: replies, and the errors of replies that contain no answer.

use std::time::Duration;

use super::HttpModel;
use crate::Error;
use crate::answer::{Answer, Body, FallbackText};
use crate::chat::{Arguments, ChatReply, ChatRequest, Content, FinishReason, ToolCall};
use crate::error::{ErrorKind, Spent};
use crate::providers::reading::{MAX_SENTENCE, ParsedReply};
use crate::providers::{Dialect, Fault};
use crate::tokens::Reported;
use crate::transport::TransportError;
use crate::transport::failure::{Refusal, Subject};

/// Longest name of a model that is taken from an answer, in bytes.
const MAX_MODEL_NAME: usize = 256;

impl<D: Dialect> HttpModel<D> {
    /// A reply that broke off still counts if it contains everything that was asked for.
    pub(super) fn ended(
        &self,
        ending: ParsedReply,
        request: &ChatRequest,
    ) -> Result<ChatReply, Error> {
        let ParsedReply {
            mut answer,
            is_complete,
        } = ending;
        if is_complete {
            return self.reply(answer, request);
        }
        let content = answer.content(request.output.as_ref());
        let fits = match (&content, &request.output) {
            (Content::Json(value), Some(output)) => output.filter.accepts(value),
            _ => false,
        };
        if fits {
            return Ok(self.with_content(content, answer, request));
        }
        self.failed(Fault::Truncated, None, request)
    }

    /// If the provider refuses what the model wrote, that text is the answer, whether it fits or
    /// not.
    pub(super) fn refused(
        &self,
        refusal: Refusal,
        retry_after: Option<Duration>,
        request: &ChatRequest,
    ) -> Result<ChatReply, Error> {
        let Refusal {
            answer: Some(text), ..
        } = refusal
        else {
            return Err(refusal.into_error(self.subject(request), retry_after));
        };
        let answer = Answer {
            body: Body::Text(text),
            aside: FallbackText::Nothing,
            usage: Reported::default(),
            finish: FinishReason::Stop,
            reason: None,
            model: None,
            calls: Vec::new(),
            opaque: Vec::new(),
        };
        self.reply(answer, request)
    }

    fn reply(&self, mut answer: Answer, request: &ChatRequest) -> Result<ChatReply, Error> {
        take_answer(&mut answer, request);
        let content = answer.content(request.output.as_ref());
        let cut = match &content {
            _ if !answer.calls.is_empty() => false,
            Content::Text(text) => text.is_empty() || request.output.is_some(),
            Content::Json(_) => false,
        };
        let withheld = match &answer.reason {
            _ if !cut => None,
            _ if answer.finish == FinishReason::ContentFilter => {
                Some(self.fault(Fault::Filtered(String::new()), None, request))
            }
            Some(reason) if answer.finish == FinishReason::Other => {
                let reason = self.subject(request).sanitise(reason);
                Some(self.error(
                    ErrorKind::BadReply,
                    &format!("the provider ended the answer without completing it ({reason})"),
                ))
            }
            _ => None,
        };
        if let Some(error) = withheld {
            return Err(Error {
                spent: Spent::Tokens(answer.usage.or_estimate(request, &content, &answer.calls)),
                ..error
            });
        }
        Ok(self.with_content(content, answer, request))
    }

    fn with_content(&self, content: Content, answer: Answer, request: &ChatRequest) -> ChatReply {
        let usage = answer.usage.or_estimate(request, &content, &answer.calls);
        ChatReply {
            content,
            usage,
            finish: answer.finish,
            cost_usd: self.prices.cost_usd(self.provider, &self.model, &usage),
            model: answer
                .model
                .filter(|model| self.is_plain(model))
                .unwrap_or_else(|| self.model.clone()),
            provider: self.provider.to_owned(),
            calls: answer.calls,
            opaque: answer.opaque,
        }
    }

    /// Whether a model's name from an answer can be shown everywhere.
    fn is_plain(&self, name: &str) -> bool {
        name.len() <= MAX_MODEL_NAME && !self.secrets.iter().any(|secret| secret.is_in(name))
    }

    pub(super) fn subject<'a>(&'a self, request: &'a ChatRequest) -> Subject<'a> {
        Subject {
            name: &self.name,
            secrets: &self.secrets,
            key_variable: self.key_variable.as_deref(),
            messages: &request.messages,
        }
    }

    pub(super) fn error(&self, kind: ErrorKind, what: &str) -> Error {
        Error::new(kind, format!("{}: {what}", self.name))
    }

    pub(super) fn broken(&self, broken: &TransportError) -> Error {
        Error {
            spent: if broken.was_sent {
                Spent::Unknown
            } else {
                Spent::Nothing
            },
            ..self.error(broken.kind, &broken.message)
        }
    }

    /// The result of a reply without an answer. `said` is its text, which is quoted if it is short
    /// enough to be a sentence.
    pub(super) fn failed(
        &self,
        fault: Fault,
        said: Option<String>,
        request: &ChatRequest,
    ) -> Result<ChatReply, Error> {
        match fault {
            Fault::Refused(refusal) => self.refused(refusal, None, request),
            fault => Err(self.fault(fault, said, request)),
        }
    }

    fn fault(&self, fault: Fault, said: Option<String>, request: &ChatRequest) -> Error {
        let (kind, what, quoted) = match fault {
            Fault::Malformed(what) => (
                ErrorKind::BadReply,
                format!(
                    "the answer does not follow {}'s protocol ({what}); check `api_base`",
                    self.provider
                ),
                said.filter(|said| {
                    said.len() <= MAX_SENTENCE && !said.trim_start().starts_with(['{', '['])
                }),
            ),
            Fault::NoAnswer => (
                ErrorKind::BadReply,
                "the provider's reply contains no answer and no reason".to_owned(),
                None,
            ),
            Fault::PlainText(said) => (
                ErrorKind::BadReply,
                "the server sent a text instead of an answer".to_owned(),
                Some(said),
            ),
            Fault::Truncated => (
                ErrorKind::Network,
                "the stream ended before the answer was complete".to_owned(),
                None,
            ),
            Fault::Filtered(reason) => (
                ErrorKind::ContentFilter,
                "a content filter withheld the answer".to_owned(),
                Some(reason),
            ),
            Fault::Refused(refusal) => return refusal.into_error(self.subject(request), None),
        };
        let quoted = quoted.map(|quoted| self.subject(request).sanitise(&quoted));
        let quoted = quoted.filter(|quoted| !quoted.is_empty());
        let colon = if quoted.is_some() { ": " } else { "" };
        let error = self.error(
            kind,
            &format!("{what}{colon}{}", quoted.unwrap_or_default()),
        );
        let spent = match kind {
            ErrorKind::ContentFilter => {
                // Nothing of the answer came; the prompt was read.
                let nothing = Content::Text(String::new());
                Spent::Tokens(Reported::default().or_estimate(request, &nothing, &[]))
            }
            _ => Spent::Unknown,
        };
        Error { spent, ..error }
    }
}

/// Where the answer's structure is asked for as one more tool, its call is the answer.
fn take_answer(answer: &mut Answer, request: &ChatRequest) {
    let Some(output) = &request.output else {
        return;
    };
    let is_answer = |call: &ToolCall| *call.name == *output.name;
    if let Some(at) = answer.calls.iter().position(is_answer) {
        let call = answer.calls.remove(at);
        answer.body = match call.arguments {
            Arguments::Object(arguments) => Body::Json(arguments.into()),
            Arguments::Unreadable(text) => Body::Text(text),
        };
    }
}
