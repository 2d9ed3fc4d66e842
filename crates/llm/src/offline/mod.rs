//! The built-in model that needs no network: for demos, dry runs and tests.
//!
//! It answers any output schema with a conforming value, always the same one for the same question,
//! and says in every text, and in the names it goes by, that it is not a real model.

mod generate;
mod pattern;
mod text;

use std::sync::Arc;

use async_trait::async_trait;

use crate::Error;
use crate::chat::{ChatReply, ChatRequest, Content, Delta, FinishReason, Message, Role, Usage};
use crate::model::{ChatModel, ModelSpec, Models};
use crate::playback;

/// The provider's name.
pub(crate) const PROVIDER: &str = "offline";
/// The model's name where none is asked for.
pub(crate) const MODEL: &str = "builtin";

/// Answers in place of every model: `--offline`.
#[derive(Debug, Default)]
pub struct Offline;

impl Models for Offline {
    /// Goes by the name a node gave it under `provider: offline`, and by its own otherwise.
    fn find(&self, spec: &ModelSpec) -> Result<Arc<dyn ChatModel>, Error> {
        let own = spec.provider.as_deref() == Some(PROVIDER);
        let model = spec.model.as_deref().filter(|_| own).unwrap_or(MODEL);
        Ok(Arc::new(OfflineModel {
            name: format!("{PROVIDER}/{model}"),
        }))
    }
}

#[derive(Debug)]
struct OfflineModel {
    name: String,
}

#[async_trait]
impl ChatModel for OfflineModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn cost_usd(&self, _input_tokens: u64, _output_tokens: u64) -> Option<f64> {
        Some(0.0)
    }

    async fn chat(
        &self,
        request: &ChatRequest,
        on_delta: &(dyn Fn(Delta) + Send + Sync),
    ) -> Result<ChatReply, Error> {
        let prompt = request
            .messages
            .iter()
            .rfind(|message| message.role == Role::User);
        let prompt = prompt.map(Message::text).unwrap_or_default();
        let topic = text::Topic::new(&request.label, &prompt);
        let content = match &request.output {
            Some(output) => Content::Json(generate::value(&output.schema, &topic)),
            None => Content::Text(topic.sentence(None)),
        };
        let text = playback::text(&content);
        if request.stream {
            playback::stream(&text, on_delta);
        }
        Ok(ChatReply {
            usage: estimate_usage(&request.messages, &text),
            content,
            finish: FinishReason::Stop,
            model: self.name.trim_start_matches("offline/").to_owned(),
            provider: PROVIDER.to_owned(),
            cost_usd: Some(0.0),
            calls: Vec::new(),
            opaque: Vec::new(),
        })
    }
}

/// Tokens as models without a tokenizer count them: four characters each.
pub(crate) fn estimate_usage(messages: &[Message], answer: &str) -> Usage {
    let tokens = |characters: usize| characters.div_ceil(4) as u64;
    Usage {
        input_tokens: tokens(
            messages
                .iter()
                .flat_map(|message| message.parts.iter())
                .map(|part| part.text().chars().count())
                .sum(),
        ),
        cached_tokens: 0,
        output_tokens: tokens(answer.chars().count()),
        is_estimated: false,
    }
}
