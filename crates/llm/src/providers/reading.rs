//! Reads answers, whole or streamed, however the server sends them: some stream unasked, some
//! answer in one piece although a stream was requested, and some declare the wrong one.

use std::marker::PhantomData;

use super::lenient::{documents, parse};
use super::partial::{Emit, Offer, PartialAnswer};
use super::{Dialect, Fault, refusal};
use crate::answer::Answer;
use crate::chat::FinishReason;
use crate::transport::frames::{Frames, Framing};

/// Ends a stream in OpenAI's dialect, and in proxies that imitate it for others.
const DONE: &[u8] = b"[DONE]";

/// Usual length of a stream's event without its text, in bytes.
const USUAL_EVENT: usize = 512;

/// Longest text instead of an answer that is taken for a sentence of the server, in bytes.
pub(crate) const MAX_SENTENCE: usize = 300;

/// Names of fields that an event stream begins with.
const FIELDS: &[&[u8]] = &[b"data:", b"event:", b"id:", b"retry:", b":"];

/// An answer that was read to the end of its body.
#[derive(Debug, PartialEq)]
pub(crate) struct ParsedReply {
    pub(crate) answer: Answer,
    /// The body declared the answer complete.
    pub(crate) is_complete: bool,
}

/// Reads an answer that came in one piece.
pub(crate) fn whole<D: Dialect>(body: &[u8], offer: Option<Offer>) -> Result<ParsedReply, Fault> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let body = body.trim_ascii();
    if is_event_stream(body) {
        let mut stream =
            ReplyStream::<D>::of(Mode::Frames(Frames::new(Framing::ServerSentEvents)), offer);
        if stream.push(body, &mut |_| {})? {
            return stream.finish();
        }
        return stream.end(&mut |_| {});
    }
    let mut partial = PartialAnswer {
        offer,
        ..PartialAnswer::default()
    };
    let (count, _) = read_all::<D>(&mut partial, body, &mut |_| {})?;
    if partial.finish.is_none() {
        if partial.is_whole && count == 1 {
            // Small servers leave the reason out of whole answers, which are complete all the same.
            partial.finish = Some(FinishReason::Stop);
        } else if !partial.is_whole && !partial.has_text() {
            return Err(if partial.is_of_protocol {
                Fault::NoAnswer
            } else {
                Fault::Malformed(D::WITHOUT_ANSWER.to_owned())
            });
        }
    }
    ending(partial)
}

/// Reads a document, or several, or one with something behind it. Returns their number, and whether
/// the last one declared the stream complete.
fn read_all<D: Dialect>(
    partial: &mut PartialAnswer,
    data: &[u8],
    emit: Emit<'_>,
) -> Result<(usize, bool), Fault> {
    let mut malformed = None;
    let documents = match list(data) {
        Some(items) => items,
        None => match D::read(partial, data, emit) {
            Err(Fault::Malformed(what)) => {
                malformed = Some(Fault::Malformed(what));
                documents(data).collect()
            }
            read => return read.map(|is_done| (1, is_done)),
        },
    };
    for (index, document) in documents.iter().enumerate() {
        if D::read(partial, document, emit)? {
            return Ok((index + 1, true));
        }
    }
    match malformed {
        Some(malformed) if documents.is_empty() => Err(malformed),
        _ => Ok((documents.len(), false)),
    }
}

/// The items of a list of documents.
fn list(body: &[u8]) -> Option<Vec<&[u8]>> {
    if !body.starts_with(b"[") {
        return None;
    }
    let items: Vec<&serde_json::value::RawValue> = serde_json::from_slice(body).ok()?;
    Some(
        items
            .into_iter()
            .map(|item| item.get().as_bytes())
            .collect(),
    )
}

fn is_event_stream(body: &[u8]) -> bool {
    FIELDS.iter().any(|field| body.starts_with(field))
}

/// Whether more of the body is needed to tell what it is.
fn may_be_event_stream(body: &[u8]) -> bool {
    FIELDS.iter().any(|field| field.starts_with(body))
}

fn ending(partial: PartialAnswer) -> Result<ParsedReply, Fault> {
    let is_complete = partial.finish.is_some();
    Ok(ParsedReply {
        answer: partial.into_answer()?,
        is_complete,
    })
}

/// Reads an answer as its body arrives.
#[derive(Debug)]
pub(crate) struct ReplyStream<D> {
    mode: Mode,
    partial: PartialAnswer,
    /// What came instead of an event.
    said: Option<Vec<u8>>,
    /// Bytes of its events beyond the usual length.
    event_bytes: usize,
    dialect: PhantomData<fn() -> D>,
}

#[derive(Debug)]
enum Mode {
    /// Only white space has come.
    Unknown(Vec<u8>),
    Frames(Frames),
    /// Neither; it is read as a whole.
    Whole(Vec<u8>),
}

impl<D: Dialect> ReplyStream<D> {
    /// The reply to a request that offered these tools.
    pub(crate) fn new(offer: Option<Offer>) -> Self {
        Self::of(Mode::Unknown(Vec::new()), offer)
    }

    fn of(mode: Mode, offer: Option<Offer>) -> Self {
        Self {
            mode,
            partial: PartialAnswer {
                offer,
                ..PartialAnswer::default()
            },
            said: None,
            event_bytes: 0,
            dialect: PhantomData,
        }
    }

    /// Takes a piece of the body; new text of the answer goes to `emit`. Returns true if nothing
    /// more will come.
    pub(crate) fn push(&mut self, piece: &[u8], emit: Emit<'_>) -> Result<bool, Fault> {
        match &mut self.mode {
            Mode::Unknown(seen) => {
                seen.extend_from_slice(piece);
                let seen = std::mem::take(seen);
                self.mode = Self::mode_of(seen);
                if let Mode::Frames(_) = self.mode {
                    return self.read_events(emit);
                }
            }
            Mode::Frames(frames) => {
                frames.push(piece);
                return self.read_events(emit);
            }
            Mode::Whole(seen) => seen.extend_from_slice(piece),
        }
        Ok(false)
    }

    /// Bytes of the body in memory: its text, and what has not been read yet.
    pub(crate) fn kept(&self) -> usize {
        let unread = match &self.mode {
            Mode::Unknown(seen) | Mode::Whole(seen) => seen.len(),
            Mode::Frames(frames) => frames.held(),
        };
        unread + self.event_bytes.max(self.partial.text_bytes())
    }

    /// The kind of a body that begins like this.
    fn mode_of(seen: Vec<u8>) -> Mode {
        let text = seen.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&seen);
        let text = text.trim_ascii_start();
        let framing = match (text.first(), D::FRAMING) {
            (None, _) => return Mode::Unknown(seen),
            // The rest of a byte order mark is still to come.
            (Some(0xEF), _) if text.len() < 3 => return Mode::Unknown(seen),
            (Some(b'{'), Framing::Lines) => Framing::Lines,
            _ if is_event_stream(text) => Framing::ServerSentEvents,
            _ if may_be_event_stream(text) => return Mode::Unknown(seen),
            _ => return Mode::Whole(seen),
        };
        let mut frames = Frames::new(framing);
        frames.push(&seen);
        Mode::Frames(frames)
    }

    fn read_events(&mut self, emit: Emit<'_>) -> Result<bool, Fault> {
        let Mode::Frames(frames) = &mut self.mode else {
            return Ok(false);
        };
        while let Some(data) = frames.next_event() {
            self.event_bytes += data.len().saturating_sub(USUAL_EVENT);
            if event::<D>(&mut self.partial, &mut self.said, &data, emit)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The answer, after the event that declared the stream complete.
    pub(crate) fn finish(self) -> Result<ParsedReply, Fault> {
        ending(self.partial)
    }

    /// The answer, at the end of the body.
    pub(crate) fn end(mut self, emit: Emit<'_>) -> Result<ParsedReply, Fault> {
        match &mut self.mode {
            Mode::Unknown(seen) | Mode::Whole(seen) if !seen.is_empty() => {
                // Half a document at the end of the body is a cut stream, not a foreign protocol.
                return whole::<D>(seen, self.partial.offer).map_err(|fault| match fault {
                    Fault::Malformed(_) if seen.trim_ascii().first() == Some(&b'{') => {
                        Fault::Truncated
                    }
                    Fault::Malformed(what) => in_place_of_answer(seen, what),
                    fault => fault,
                });
            }
            Mode::Unknown(_) | Mode::Whole(_) => {}
            Mode::Frames(frames) => {
                let data = frames.rest();
                let is_line = data.is_some();
                if let Some(data) = data.or_else(|| frames.unfinished()) {
                    match event::<D>(&mut self.partial, &mut self.said, &data, emit) {
                        // As its specification says, an unfinished event is dropped, unless it is
                        // whole.
                        Err(Fault::Malformed(_)) if is_line => return Err(Fault::Truncated),
                        Ok(_) | Err(Fault::Malformed(_)) => {}
                        Err(fault) => return Err(fault),
                    }
                }
            }
        }
        match self.said {
            Some(said) if !self.partial.has_text() && self.partial.finish.is_none() => {
                Err(in_place_of_answer(&said, "no valid JSON".to_owned()))
            }
            _ => ending(self.partial),
        }
    }
}

/// Reads one event.
fn event<D: Dialect>(
    partial: &mut PartialAnswer,
    said: &mut Option<Vec<u8>>,
    data: &[u8],
    emit: Emit<'_>,
) -> Result<bool, Fault> {
    let data = data.trim_ascii();
    match data.first() {
        None => Ok(false),
        Some(b'{' | b'[') if data != DONE => {
            read_all::<D>(partial, data, emit).map(|(_, is_done)| is_done)
        }
        _ if data == DONE => Ok(true),
        // A sign of life, or a complaint.
        _ => {
            *said = Some(data.to_owned());
            Ok(false)
        }
    }
}

/// A short text is quoted as the server's sentence; an HTML page is not.
fn in_place_of_answer(text: &[u8], what: String) -> Fault {
    match refusal::plain_text(text) {
        Some(said) if said.len() <= MAX_SENTENCE => Fault::PlainText(said),
        _ => Fault::Malformed(what),
    }
}

/// Fails with the provider's error if the document is one.
pub(crate) fn check_for_error(data: &[u8]) -> Result<(), Fault> {
    match refusal::in_answer(&parse(data)?.value) {
        Some(refusal) => Err(Fault::Refused(refusal)),
        None => Ok(()),
    }
}
