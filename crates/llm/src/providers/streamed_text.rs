//! A text of an answer as it arrives.

/// Passes a piece of the answer's text on.
pub(crate) type Emit<'a> = &'a mut (dyn FnMut(&str) + Send);

/// A text that arrives in pieces, which may split a surrogate pair.
#[derive(Debug, Default)]
pub(crate) struct StreamedText {
    text: String,
    /// The first half of a pair whose second half has not arrived.
    half: Option<u16>,
}

impl StreamedText {
    /// Adds a piece, in which `marker` precedes halves of pairs, and emits what can be shown of it.
    pub(crate) fn push(&mut self, piece: &str, marker: Option<char>, emit: Emit<'_>) {
        let marker = marker.filter(|marker| piece.contains(*marker));
        if piece.is_empty() || (marker.is_none() && self.half.is_none()) {
            emit(piece);
            self.text.push_str(piece);
            return;
        }
        let joined = self.joined(piece, marker);
        emit(&joined);
        self.text.push_str(&joined);
    }

    fn joined(&mut self, piece: &str, marker: Option<char>) -> String {
        let mut joined = String::new();
        let mut pieces = marker.map_or_else(|| vec![piece], |marker| piece.split(marker).collect());
        let plain = pieces.remove(0);
        if !plain.is_empty() {
            self.end_half(&mut joined);
            joined.push_str(plain);
        }
        for piece in pieces {
            let (digits, plain) = piece.split_at_checked(4).unwrap_or((piece, ""));
            let unit = u16::from_str_radix(digits, 16).unwrap_or(0xdfff);
            let pair = self
                .half
                .map(|half| char::decode_utf16([half, unit]).next());
            if let Some(Some(Ok(character))) = pair {
                self.half = None;
                joined.push(character);
            } else {
                self.end_half(&mut joined);
                if (0xd800..0xdc00).contains(&unit) {
                    self.half = Some(unit);
                } else {
                    joined.push(char::REPLACEMENT_CHARACTER);
                }
            }
            if !plain.is_empty() {
                self.end_half(&mut joined);
                joined.push_str(plain);
            }
        }
        joined
    }

    fn end_half(&mut self, text: &mut String) {
        if self.half.take().is_some() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }

    pub(crate) fn into_text(mut self) -> String {
        let mut text = std::mem::take(&mut self.text);
        self.end_half(&mut text);
        text
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.half.is_none()
    }

    /// Whether this is the text so far.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.half.is_none() && self.text == text
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pieces: &[&str], expected: &str) {
        let mut growing = StreamedText::default();
        let mut shown = String::new();
        for piece in pieces {
            growing.push(piece, Some('|'), &mut |text| shown.push_str(text));
        }
        let text = growing.into_text();
        assert_eq!(text, expected);
        assert!(text.starts_with(&shown), "{shown}");
    }

    #[test]
    fn halves_of_a_pair_are_joined_and_a_lone_one_is_replaced() {
        check(&["a|d83d", "|de00b"], "a😀b");
        check(&["a|d83d", "", "|de00"], "a😀");
        check(&["a|d83d|de00b"], "a😀b");
        check(&["|d83d", "b"], "\u{fffd}b");
        check(&["|de00b"], "\u{fffd}b");
        check(&["|d83d|d83d", "|de00"], "\u{fffd}😀");
        check(&["a|d83d"], "a\u{fffd}");
        check(&["a", "b"], "ab");
    }
}
