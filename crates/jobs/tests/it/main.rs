//! What every store does, and what is particular to the one in memory.

#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod conformance;
mod fixtures;
mod memory;

conformance::suite!(memory_store, jobs::memory::MemoryStore::default());
