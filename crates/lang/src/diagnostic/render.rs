//! Diagnostics as text or JSON. None of the renderers decides anything: they show every diagnostic
//! they are given, in that order.

mod human;
mod json;
mod short;

pub use human::human;
pub use json::json;
pub use short::short;
