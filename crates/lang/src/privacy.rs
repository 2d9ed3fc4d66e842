//! Masking: which parts of a state only the caller may see, and hiding them in values, in faults
//! and in texts. All masking is done here; everything that shows runs uses it.
//!
//! A value is hidden by its *field* ([`Sensitive`]): the value of a sensitive field becomes
//! [`MASK`], whatever its type and length; only null stays, because it gives nothing away. Outside
//! its field, a value is searched for in *text* ([`Secrets`]): prompts, answers and error
//! sentences.

mod escapes;
mod growing;
mod mask;
mod scan;
mod search;
mod secrets;
mod sensitive;

pub use growing::GrowingText;
pub use mask::MASK;
pub use secrets::{Search, Secrets};
pub use sensitive::Sensitive;

#[cfg(test)]
mod tests;
