//! What every store does, and what is particular to each.

#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod conformance;
mod fixtures;
mod memory;
mod postgres;
mod sqlite;

conformance::suite!(memory_store, (jobs::memory::MemoryStore::default(), ()));
conformance::suite!(sqlite_store, crate::sqlite::fresh());
conformance::suite!(
    postgres_store,
    match crate::postgres::fresh().await {
        Some(fresh) => fresh,
        None => return,
    }
);
