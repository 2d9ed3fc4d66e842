//! Everything in this crate that reads what a provider sent, given any bytes.

use hyper::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};

use crate::answer::content;
use crate::chat::Content;
use crate::providers::anthropic::Anthropic;
use crate::providers::google::Google;
use crate::providers::ollama::Ollama;
use crate::providers::openai::OpenAi;
use crate::providers::{Assembly as _, Dialect, Fault};
use crate::secret::Secret;
use crate::transport::failure::Subject;
use crate::transport::frames::Frames;
use crate::transport::fuzzing as packed;

const KEY: &str = "sk-letmein-0123456789";

/// Longest message of an error: the quotation, and the words around it.
const LONGEST_MESSAGE: usize = 4 * 300 + 500;

/// The first byte says whose reply it is, the second where the stream is cut; the rest is the reply. It is an
/// answer or a fault, whole, as a stream however it is cut, and as a refusal.
pub fn provider_reply(data: &[u8]) {
    let [whose, cut, reply @ ..] = data else {
        return;
    };
    match whose % 4 {
        0 => of(&OpenAi::at(None), *cut, reply),
        1 => of(&Anthropic, *cut, reply),
        2 => of(&Google, *cut, reply),
        _ => of(&Ollama, *cut, reply),
    }
}

fn of<D: Dialect>(dialect: &D, cut: u8, reply: &[u8]) {
    if let Ok(answer) = dialect.answer(reply) {
        for structured in [true, false] {
            let content = content(answer.body.clone(), structured);
            if let Content::Json(value) = content {
                assert!(!value.to_string().is_empty());
            }
        }
    }
    let pieces = reply.chunks(usize::from(cut) + 1);
    let whole = streamed(dialect, [reply].into_iter());
    let cut = streamed(dialect, pieces);
    assert_eq!(whole, cut);
    for status in [200, 400, 401, 429, 500] {
        let refusal = dialect.refusal(status, reply);
        let subject = Subject {
            name: "fuzz/model",
            secrets: &[Secret::from(KEY)],
            key_variable: Some("FUZZ_API_KEY"),
            messages: &[],
        };
        let error = refusal.into_error(subject, None);
        assert!(!error.message.contains(KEY), "{error:?}");
        assert!(error.message.len() <= LONGEST_MESSAGE, "{error:?}");
    }
}

/// The end of a stream, and what was shown of it on the way.
fn streamed<'a, D: Dialect>(
    dialect: &D,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Result<crate::answer::Answer, Fault>, String) {
    let mut frames = Frames::new(D::FRAMING);
    let mut assembly = dialect.assembly();
    let mut shown = String::new();
    let mut emit = |text: &str| shown.push_str(text);
    for piece in pieces {
        frames.push(piece);
        while let Some(event) = frames.next() {
            match assembly.event(&event, &mut emit) {
                Ok(false) => {}
                Ok(true) => return (assembly.finish(), shown),
                Err(fault) => return (Err(fault), shown),
            }
        }
    }
    if let Some(event) = frames.rest()
        && let Err(fault) = assembly.event(&event, &mut emit)
    {
        return (Err(fault), shown);
    }
    (assembly.finish(), shown)
}

/// A packed body, and when to come back: the first byte says how it is cut. It is unpacked the same however
/// that is, and never to more than is allowed.
pub fn packed_reply(data: &[u8]) {
    let Some((cut, body)) = data.split_first() else {
        return;
    };
    packed::unpack(usize::from(*cut) + 1, body);
    let mut headers = HeaderMap::new();
    let (asked, now) = body.split_at(body.len() / 2);
    for (name, value) in [(RETRY_AFTER, asked), (DATE, now)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    packed::retry_after(&headers);
    if let Ok(value) = HeaderValue::from_bytes(body) {
        headers.insert("retry-after-ms", value);
        packed::retry_after(&headers);
    }
}

#[cfg(test)]
mod tests {
    use testing::corpus::replay;

    #[test]
    fn kept_inputs_still_pass() {
        replay("provider_reply", super::provider_reply);
        replay("packed_reply", super::packed_reply);
    }
}
