//! The answers of health checks.

use schemars::JsonSchema;
use serde::Serialize;
use service::document::Time;

/// The health of the server.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Health {
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Time")]
    pub(crate) timestamp: Option<Time>,
}

impl Health {
    /// Without the time.
    pub(crate) fn of(status: &'static str) -> Self {
        Self {
            status,
            timestamp: None,
        }
    }
}
