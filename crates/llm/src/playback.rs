//! For the models that replace real ones: emits a finished answer in pieces.

use crate::chat::{Content, Delta};

/// Characters per piece: enough pieces to see an answer grow, few enough to cost nothing.
const PIECE: usize = 24;

/// The answer's text, as a provider would stream it.
pub(crate) fn text(content: &Content) -> String {
    match content {
        Content::Text(text) => text.clone(),
        Content::Json(value) => value.to_string(),
    }
}

/// Emits a text in pieces, all at once.
pub(crate) fn stream(text: &str, on_delta: &(dyn Fn(Delta) + Send + Sync)) {
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .char_indices()
            .nth(PIECE)
            .map_or(rest.len(), |(end, _)| end);
        let (piece, after) = rest.split_at(end);
        on_delta(Delta::Text(piece.to_owned()));
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn the_pieces_make_up_the_text() {
        for text in ["", "short", &"größer 🎉 ".repeat(20)] {
            let pieces = Mutex::new(Vec::new());
            stream(text, &|delta| {
                if let Delta::Text(piece) = delta {
                    pieces.lock().unwrap().push(piece);
                }
            });
            let pieces = pieces.into_inner().unwrap();
            assert_eq!(pieces.concat(), text);
            assert_eq!(pieces.len(), text.chars().count().div_ceil(PIECE));
        }
    }
}
