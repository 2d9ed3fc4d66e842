//! An event as JSON, written at once or when somebody asks for it.

use jiff::Timestamp;
use jobs::json::{Json, Payload, write_to};
use serde::Serialize;

/// `{"id", "at", "event", …}`, as [`RunEvent`](engine::event::RunEvent) reads it.
#[derive(Debug, Serialize)]
pub(crate) struct Numbered<K> {
    #[serde(skip_serializing_if = "engine::event::is_unnumbered")]
    pub(crate) id: u64,
    pub(crate) at: Timestamp,
    #[serde(flatten)]
    pub(crate) kind: K,
}

impl<K: Serialize> Numbered<K> {
    pub(crate) fn written(&self) -> Json {
        Json::of(self)
    }
}

impl<K: Serialize + Send + Sync + 'static> Numbered<K> {
    pub(crate) fn written_later(self) -> Json {
        Json::later(self)
    }
}

impl<K: Serialize + Send + Sync> Payload for Numbered<K> {
    fn write_to(&self, bytes: &mut Vec<u8>) {
        write_to(self, bytes);
    }
}
