//! Requests and stream readings the dialects' tests share.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::reading::{self, ParsedReply, ReplyStream};
use super::{Dialect, Fault};
use crate::answer::Answer;
use crate::chat::{AnswerFilter, ChatRequest, Message, OutputFormat, Part, Role};

/// "Hi", in free text.
pub(crate) fn free() -> ChatRequest {
    ChatRequest {
        label: "ask".into(),
        messages: vec![Message::new(Role::User, "Hi")],
        output: None,
        temperature: None,
        max_tokens: None,
        timeout: Duration::from_secs(5),
        stream: false,
        trace_parent: None,
    }
}

/// A conversation of two turns, each of two texts.
pub(crate) fn in_parts() -> Vec<Message> {
    let message = |role, texts: [&str; 2]| Message {
        role,
        parts: texts
            .into_iter()
            .map(|text| Part::Text(text.to_owned()))
            .collect(),
    };
    vec![
        message(Role::System, ["Be ", "brief."]),
        message(Role::User, ["Hi", " there"]),
    ]
}

/// "Hi", with an answer of this shape.
pub(crate) fn structured(schema: Value) -> ChatRequest {
    let output = OutputFormat {
        name: "Output_ask".into(),
        description: Some("An answer.".into()),
        schema: Arc::new(schema),
        filter: AnswerFilter::default(),
    };
    ChatRequest {
        output: Some(output),
        ..free()
    }
}

/// An answer, if its body was complete.
fn complete(ending: Result<ParsedReply, Fault>) -> Result<Answer, Fault> {
    match ending? {
        ParsedReply {
            answer,
            is_complete: true,
        } => Ok(answer),
        ParsedReply { .. } => Err(Fault::Truncated),
    }
}

/// Reads a body that came in one piece.
pub(crate) fn read_whole<D: Dialect>(body: &[u8]) -> Result<Answer, Fault> {
    complete(reading::whole::<D>(body))
}

/// Reads a streamed body in these pieces; also gives the text that was emitted.
pub(crate) fn read_pieces<'a, D: Dialect>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Result<Answer, Fault>, String) {
    let mut stream = ReplyStream::<D>::default();
    let mut emitted = String::new();
    let mut emit = |text: &str| emitted.push_str(text);
    for piece in pieces {
        match stream.push(piece, &mut emit) {
            Ok(false) => {}
            Ok(true) => return (complete(stream.finish()), emitted),
            Err(fault) => return (Err(fault), emitted),
        }
    }
    let ending = stream.end(&mut emit);
    (complete(ending), emitted)
}

/// Reads a streamed body, cut in two at every byte; all readings must agree.
#[track_caller]
pub(crate) fn read_stream<D: Dialect>(_: &D, body: &str) -> (Result<Answer, Fault>, String) {
    let body = body.as_bytes();
    let whole = read_pieces::<D>([body]);
    for cut in 1..body.len() {
        assert_eq!(
            read_pieces::<D>([&body[..cut], &body[cut..]]),
            whole,
            "cut at byte {cut}"
        );
    }
    whole
}
