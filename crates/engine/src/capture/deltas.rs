//! Pieces of an answer as they may be shown.

use std::sync::Mutex;

use lang::privacy::GrowingText;

use super::known::{Known, lock, search};
use crate::offload::{self, MAX_INLINE_BYTES};

/// Masks the pieces of one answer.
pub(crate) enum Deltas<'a> {
    /// No field is sensitive.
    Unmasked,
    /// The answer itself is sensitive.
    Never,
    Masked {
        known: &'a Mutex<Known>,
        text: Box<Mutex<GrowingText>>,
    },
}

impl Deltas<'_> {
    /// The text to show after the next piece.
    pub(crate) fn push(&self, piece: String) -> Option<String> {
        match self {
            Self::Unmasked => Some(piece),
            Self::Never => None,
            Self::Masked { known, text } => {
                let search = search(known);
                offload::run(piece.len() > MAX_INLINE_BYTES, || {
                    lock(text).push(&piece, &search)
                })
            }
        }
    }

    /// The text to show after the last piece.
    pub(crate) fn finish(&self) -> Option<String> {
        match self {
            Self::Unmasked | Self::Never => None,
            Self::Masked { known, text } => lock(text).finish(&search(known)),
        }
    }
}
