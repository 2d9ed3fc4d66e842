//! Run-time values. A value is JSON; integers are 64-bit (see [`crate::json`] for what is refused).

pub use serde_json::{Map, Value};
