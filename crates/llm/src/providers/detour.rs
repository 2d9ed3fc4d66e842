//! Asking again in other words when a server refuses not the question but how it was put.

use crate::transport::failure::Refusal;

/// A refusal that another wording gets around.
pub(super) struct Detour<W> {
    /// The wording has what is refused.
    pub(super) applies: fn(&W) -> bool,
    /// One of these is in the refusal, in lower case.
    pub(super) words: &'static [&'static str],
    /// The wording without it. Something must be given up, so that detours end.
    pub(super) next: fn(W) -> W,
}

/// The statuses with which servers refuse a wording; 500 and 501 come from small local ones.
const REFUSING: &[u16] = &[400, 404, 415, 422, 500, 501];

/// The first detour that fits.
pub(super) fn around<W: Copy>(refusal: &Refusal, refused: W, detours: &[Detour<W>]) -> Option<W> {
    if !REFUSING.contains(&refusal.status) {
        return None;
    }
    let detour = detours
        .iter()
        .find(|detour| (detour.applies)(&refused) && refusal.mentions(detour.words))?;
    Some((detour.next)(refused))
}
