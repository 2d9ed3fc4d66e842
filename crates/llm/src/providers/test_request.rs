//! Requests and stream readings the dialects' tests share.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{Assembly, Dialect, Fault};
use crate::answer::Answer;
use crate::chat::{ChatRequest, Message, OutputFormat, Role};
use crate::transport::frames::Frames;

/// "Hi", in free text.
pub(crate) fn free() -> ChatRequest {
    ChatRequest {
        label: "ask".into(),
        messages: vec![Message {
            role: Role::User,
            text: "Hi".to_owned(),
        }],
        output: None,
        temperature: None,
        max_tokens: None,
        timeout: Duration::from_secs(5),
        stream: false,
        trace_parent: None,
    }
}

/// "Hi", with an answer of this shape.
pub(crate) fn structured(schema: Value) -> ChatRequest {
    let output = OutputFormat {
        name: "Output_ask".into(),
        description: Some("An answer.".into()),
        schema: Arc::new(schema),
    };
    ChatRequest {
        output: Some(output),
        ..free()
    }
}

/// Reads a streamed body cut at `cut`; also gives the text that was emitted.
fn read_cut<D: Dialect>(dialect: &D, body: &[u8], cut: usize) -> (Result<Answer, Fault>, String) {
    let mut frames = Frames::new(D::FRAMING);
    let mut assembly = dialect.assembly();
    let mut emitted = String::new();
    for piece in [&body[..cut], &body[cut..]] {
        frames.push(piece);
        while let Some(data) = frames.next() {
            match assembly.event(&data, &mut |text| emitted.push_str(text)) {
                Ok(false) => {}
                Ok(true) => return (assembly.finish(), emitted),
                Err(fault) => return (Err(fault), emitted),
            }
        }
    }
    (assembly.finish(), emitted)
}

/// Reads a streamed body, cut in two at every byte; all readings must agree.
#[track_caller]
pub(crate) fn read_stream<D: Dialect>(dialect: &D, body: &str) -> (Result<Answer, Fault>, String) {
    let whole = read_cut(dialect, body.as_bytes(), 0);
    for cut in 1..body.len() {
        assert_eq!(
            read_cut(dialect, body.as_bytes(), cut),
            whole,
            "cut at byte {cut}"
        );
    }
    whole
}
