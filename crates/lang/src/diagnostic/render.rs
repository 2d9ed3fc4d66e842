//! Diagnostics as text or JSON. None of the renderers decides anything: they show every diagnostic
//! they are given, in that order.

mod human;
mod json;
mod short;

pub use human::human;
pub use json::json;
pub use short::short;

use super::Diagnostic;

/// The way out as a sentence people read.
fn way_out(diagnostic: &Diagnostic) -> Option<String> {
    match &diagnostic.did_you_mean {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None => diagnostic.suggestion.clone(),
    }
}
