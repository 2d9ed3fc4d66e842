//! Pieces of an answer as they may be shown.

use std::sync::Mutex;

use lang::privacy::GrowingText;

use super::known::{Known, lock, search};
use crate::offload::{self, QUICK};

/// The pieces of one answer.
pub(crate) enum Deltas<'a> {
    AsTheyCome,
    /// The answer is what is to be hidden.
    Never,
    Masked {
        known: &'a Mutex<Known>,
        text: Box<Mutex<GrowingText>>,
    },
}

impl Deltas<'_> {
    /// What to show when a piece has come.
    pub(crate) fn push(&self, piece: String) -> Option<String> {
        match self {
            Self::AsTheyCome => Some(piece),
            Self::Never => None,
            Self::Masked { known, text } => {
                let search = search(known);
                offload::run(piece.len() > QUICK, || lock(text).push(&piece, &search))
            }
        }
    }

    /// What is left to show when the last has come.
    pub(crate) fn finish(&self) -> Option<String> {
        match self {
            Self::AsTheyCome | Self::Never => None,
            Self::Masked { known, text } => lock(text).finish(&search(known)),
        }
    }
}
