//! What nobody but the caller may see: which parts of a state are sensitive, and hiding them in values,
//! in faults and in texts. The one place that masks; every sink uses it.
//!
//! A value is hidden by its *place* ([`Sensitive`]): whatever stands in a sensitive field becomes
//! [`MASK`], of any type and length, and only null stays, because it says that there is nothing. Beyond
//! its place, a value is looked for in *text* ([`Secrets`]): prompts, answers and error sentences.

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
