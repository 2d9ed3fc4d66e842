//! What every store does, and what is particular to each.

#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod conformance;
mod either_store;
mod fixtures;
mod lost_answers;
mod memory;
mod postgres;
mod seed;
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

// Two handles on one store.
conformance::suite!(memory_by_two_handles, {
    let store = jobs::memory::MemoryStore::default();
    (crate::either_store::EitherStore::of_one(store), ())
});
conformance::suite!(sqlite_by_two_handles, {
    let (store, kept) = crate::sqlite::fresh();
    (crate::either_store::EitherStore::of_one(store), kept)
});
conformance::suite!(
    postgres_by_two_handles,
    match crate::postgres::two_fresh().await {
        Some((one, other, kept)) => (crate::either_store::EitherStore::new(one, other), kept),
        None => return,
    }
);

// Two handles behind a pooler that lends them a connection for a transaction (T39).
conformance::suite!(
    postgres_through_pgbouncer,
    match crate::postgres::two_through_pgbouncer().await {
        Some((one, other, kept)) => (crate::either_store::EitherStore::new(one, other), kept),
        None => return,
    }
);

// Answers are lost, and calls repeated.
conformance::suite!(memory_with_lost_answers, {
    let store = jobs::memory::MemoryStore::default();
    (crate::lost_answers::LostAnswers::new(store), ())
});
conformance::suite!(sqlite_with_lost_answers, {
    let (store, kept) = crate::sqlite::fresh();
    (crate::lost_answers::LostAnswers::new(store), kept)
});
conformance::suite!(
    postgres_with_lost_answers,
    match crate::postgres::fresh().await {
        Some((store, kept)) => (crate::lost_answers::LostAnswers::new(store), kept),
        None => return,
    }
);
