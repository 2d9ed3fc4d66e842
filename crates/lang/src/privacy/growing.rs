//! A text that arrives piece by piece, and may be shown as it does: a value can begin in one piece and
//! end in the next, so the last part is held back until it is known not to be one.

use super::Secrets;

/// What of a growing text is not shown yet.
#[derive(Debug, Default)]
pub struct GrowingText {
    held: String,
}

impl GrowingText {
    /// The next piece; what can be shown now, masked.
    pub fn push(&mut self, piece: &str, secrets: &mut Secrets) -> Option<String> {
        self.held.push_str(piece);
        let end = secrets.shown_length(&self.held);
        let rest = self.held.split_off(end);
        let shown = std::mem::replace(&mut self.held, rest);
        (!shown.is_empty()).then(|| secrets.mask(&shown).into_owned())
    }

    /// Nothing follows: the rest, masked.
    pub fn finish(&mut self, secrets: &mut Secrets) -> Option<String> {
        let rest = std::mem::take(&mut self.held);
        (!rest.is_empty()).then(|| secrets.mask(&rest).into_owned())
    }
}
