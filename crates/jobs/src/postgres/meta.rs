//! What many jobs share: their definitions, and how far the times in ids may be off.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::types::Type;

use super::commands::Submission;
use super::fault::Failure;
use super::known::Known;
use super::sessions::Transaction;
use super::values::{signed, storable};
use crate::job::{Definition, NewJob};

const INSERT_DEFINITIONS: &str = "
    INSERT INTO flowmill.definitions AS d (hash, name, text, last_used)
    SELECT *, current_date FROM unnest($1::text[], $2::text[], $3::text[])
    ON CONFLICT (hash) DO UPDATE SET last_used = excluded.last_used
        WHERE d.last_used < excluded.last_used";

/// Notes what a commit has made certain.
pub(super) fn learn(all: &[&Submission], known: &Known) {
    known.learn_definitions(all.iter().map(|one| &one.new.definition.hash));
    if let Some(ms) = skew_ms(all) {
        known.learn_id_skew(allowance(ms));
    }
}

/// Stores the definitions that may not be stored yet, or were not used today.
pub(super) async fn define(
    transaction: &Transaction<'_>,
    all: &[&Submission],
    known: &Known,
) -> Result<(), Failure> {
    let unknown: HashMap<&str, &Arc<Definition>> = all
        .iter()
        .map(|one| &one.new.definition)
        .filter(|definition| !known.has_definition(&definition.hash))
        .map(|definition| (&*definition.hash, definition))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let mut hashes: Vec<&str> = unknown.keys().copied().collect();
    hashes.sort_unstable();
    let names: Vec<_> = hashes
        .iter()
        .map(|hash| storable(&unknown[hash].name))
        .collect();
    let texts: Vec<_> = hashes
        .iter()
        .map(|hash| storable(&unknown[hash].text))
        .collect();
    transaction
        .execute(
            INSERT_DEFINITIONS,
            &[
                (&hashes, Type::TEXT_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&texts, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    Ok(())
}

/// Keeps `meta.id_skew_ms` true for new jobs: listings by time look in the ids.
pub(super) async fn allow_skew(
    transaction: &Transaction<'_>,
    all: &[&Submission],
    known: &Known,
) -> Result<(), Failure> {
    if let Some(ms) = skew_ms(all).filter(|ms| *ms > known.id_skew_ms()) {
        transaction
            .execute(
                "UPDATE flowmill.meta SET id_skew_ms = $1 WHERE id_skew_ms < $1",
                &[(&allowance(ms), Type::INT8)],
            )
            .await?;
    }
    Ok(())
}

/// Some more than is needed now, since every replica changes the same row.
fn allowance(ms: i64) -> i64 {
    signed(ms.clamp(16, 1 << 60).unsigned_abs().next_power_of_two())
}

fn skew_ms(all: &[&Submission]) -> Option<i64> {
    let skew = |new: &NewJob| {
        // Of a UUID of version 7: milliseconds since 1970.
        let in_id = signed(new.id.0.as_u128() >> 80);
        signed(in_id.abs_diff(new.created_at.as_millisecond()))
    };
    all.iter().map(|one| skew(&one.new)).max()
}
