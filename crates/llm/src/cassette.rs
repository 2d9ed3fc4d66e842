//! Records model exchanges and plays them back.
//!
//! A cassette is JSON lines. The first is a header, `{"flowmill_cassette": 1}`; every other one is
//! an exchange: who asked, what, and the answer or the error. Cassettes hold prompts and answers,
//! never keys. Lines may be appended by a later recording, header and all.
//!
//! Playback finds an exchange by label and messages. Equal questions get their answers in the order
//! of the recording, and after the last one the first again, so that `serve` can replay the same
//! run any number of times.

mod exchange;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::chat::{ChatReply, ChatRequest, Delta, Message, ToolDefinition};
use crate::error::ErrorKind;
use crate::model::{ChatModel, ModelSpec, Models};
use crate::playback;
use crate::tokens::UsageCeiling;
use exchange::{Exchange, RecordedMessage};

/// The format this version writes and reads.
const VERSION: u32 = 1;

/// Longest line that can be a header, in bytes.
pub const MAX_HEADER_BYTES: u64 = 256;

/// Whether a file that begins with this line is a cassette, of any version.
pub fn is_header(line: &[u8]) -> bool {
    serde_json::from_slice::<Header>(line).is_ok()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    flowmill_cassette: u32,
}

/// Forwards every call and records its result.
#[derive(Debug)]
pub struct Recorder {
    models: Arc<dyn Models>,
    writer: Arc<CassetteWriter>,
}

struct CassetteWriter {
    out: Mutex<Box<dyn Write + Send>>,
    after_reply: Box<AfterReply>,
}

/// Called after each answer that was written.
type AfterReply = dyn Fn() -> io::Result<()> + Send + Sync;

impl fmt::Debug for CassetteWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CassetteWriter")
    }
}

impl CassetteWriter {
    /// Writes whole lines and flushes them, so that neither a reader nor a crash finds half a line.
    fn write(&self, line: &impl Serialize) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(&bytes)?;
        out.flush()
    }
}

impl Recorder {
    /// Records what `models` answer; the header is written at once. `after_reply` is called after
    /// each recorded answer; its failure counts as a failure to write.
    pub fn new(
        models: Arc<dyn Models>,
        out: Box<dyn Write + Send>,
        after_reply: impl Fn() -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let writer = CassetteWriter {
            out: Mutex::new(out),
            after_reply: Box::new(after_reply),
        };
        writer.write(&Header {
            flowmill_cassette: VERSION,
        })?;
        Ok(Self {
            models,
            writer: Arc::new(writer),
        })
    }
}

impl Models for Recorder {
    fn find(&self, spec: &ModelSpec) -> Result<Arc<dyn ChatModel>, Error> {
        let model = self.models.find(spec)?;
        Ok(Arc::new(RecordedModel {
            model,
            writer: Arc::clone(&self.writer),
        }))
    }

    fn is_sequential(&self) -> bool {
        self.models.is_sequential()
    }

    fn price_table(&self) -> Option<Arc<str>> {
        self.models.price_table()
    }

    fn max_retry_after(&self) -> std::time::Duration {
        self.models.max_retry_after()
    }
}

#[derive(Debug)]
struct RecordedModel {
    model: Arc<dyn ChatModel>,
    writer: Arc<CassetteWriter>,
}

#[async_trait]
impl ChatModel for RecordedModel {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn cost_usd(&self, input_tokens: u64, output_tokens: u64) -> Option<f64> {
        self.model.cost_usd(input_tokens, output_tokens)
    }

    fn usage_ceiling(&self, request: &ChatRequest) -> UsageCeiling {
        self.model.usage_ceiling(request)
    }

    fn check_tools(&self, tools: &[ToolDefinition]) -> Vec<(String, String)> {
        self.model.check_tools(tools)
    }

    /// A call fails (`ErrorKind::Config`) if its exchange cannot be written: a gap in the recording
    /// would only be noticed at playback.
    async fn chat(
        &self,
        request: &ChatRequest,
        on_delta: &(dyn Fn(Delta) + Send + Sync),
    ) -> Result<ChatReply, Error> {
        let result = self.model.chat(request, on_delta).await;
        let exchange = Exchange::new(request, self.model.name(), &result);
        let written = self.writer.write(&exchange).and_then(|()| match result {
            Ok(_) => (self.writer.after_reply)(),
            Err(_) => Ok(()),
        });
        written.map_err(|error| {
            Error::new(
                ErrorKind::Config,
                format!(
                    "the cassette cannot be written: {error}; free disk space, or run without `--record`"
                ),
            )
        })?;
        result
    }
}

/// Answers from a cassette, whatever model is asked for.
#[derive(Debug)]
pub struct Player {
    recording: Arc<Recording>,
}

#[derive(Debug)]
struct Recording {
    by_question: HashMap<Question, AnswerSequence>,
}

type Question = (String, Vec<Message>);

/// The answers to one question, in order.
#[derive(Debug, Default)]
struct AnswerSequence {
    exchanges: Vec<Exchange>,
    /// Answers given so far.
    played: Mutex<usize>,
}

impl Player {
    /// Reads a cassette. The error (`ErrorKind::Config`) names the line that is wrong.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        let header = lines
            .next()
            .and_then(|(_, line)| serde_json::from_str::<Header>(line).ok());
        match header {
            Some(Header {
                flowmill_cassette: VERSION,
            }) => {}
            Some(Header { flowmill_cassette }) => {
                return Err(config(format!(
                    "the cassette has format {flowmill_cassette}, this version reads {VERSION}; record it again with `--record`"
                )));
            }
            None => {
                return Err(config(
                    "this file is not a cassette; record one with `--record FILE`".to_owned(),
                ));
            }
        }
        let mut by_question: HashMap<Question, AnswerSequence> = HashMap::new();
        for (index, line) in lines {
            if serde_json::from_str::<Header>(line)
                .is_ok_and(|header| header.flowmill_cassette == VERSION)
            {
                continue;
            }
            let exchange: Exchange = serde_json::from_str(line).map_err(|error| {
                config(format!(
                    "line {} of the cassette is not a recorded exchange: {error}",
                    index + 1
                ))
            })?;
            let messages = exchange.request.messages.iter();
            let messages = messages.map(RecordedMessage::message).collect();
            let question = (exchange.label.clone(), messages);
            by_question
                .entry(question)
                .or_default()
                .exchanges
                .push(exchange);
        }
        Ok(Self {
            recording: Arc::new(Recording { by_question }),
        })
    }
}

impl Models for Player {
    fn find(&self, spec: &ModelSpec) -> Result<Arc<dyn ChatModel>, Error> {
        let asked = [spec.provider.as_deref(), spec.model.as_deref()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("/");
        let name = if asked.is_empty() {
            "cassette".to_owned()
        } else {
            format!("cassette/{asked}")
        };
        Ok(Arc::new(PlayedModel {
            name,
            recording: Arc::clone(&self.recording),
        }))
    }
}

#[derive(Debug)]
struct PlayedModel {
    name: String,
    recording: Arc<Recording>,
}

#[async_trait]
impl ChatModel for PlayedModel {
    fn name(&self) -> &str {
        &self.name
    }

    async fn chat(
        &self,
        request: &ChatRequest,
        on_delta: &(dyn Fn(Delta) + Send + Sync),
    ) -> Result<ChatReply, Error> {
        let question = (request.label.to_string(), request.messages.clone());
        let sequence = self.recording.by_question.get(&question).ok_or_else(|| {
            let message = format!(
                "the cassette has no answer for node `{}` with this prompt; record it again with `--record`",
                request.label
            );
            Error::new(ErrorKind::NoRecording, message)
        })?;
        let played = {
            let mut played = sequence
                .played
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let now = *played;
            *played = (now + 1) % sequence.exchanges.len();
            now
        };
        let reply = sequence.exchanges[played].play()?;
        if request.stream {
            playback::stream(&playback::text(&reply.content), on_delta);
        }
        Ok(reply)
    }
}

fn config(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}
