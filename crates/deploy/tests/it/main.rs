//! Packages as a whole: their text, and what the formats make of it.

mod fixture;
mod formats;
mod snapshots;
