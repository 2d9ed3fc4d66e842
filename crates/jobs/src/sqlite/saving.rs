//! What a run saves: events, progress, outputs.

use std::sync::LazyLock;

use rusqlite::params;
use rusqlite::types::ToSql;

use super::tables::Tables;
use crate::json::Json;
use crate::store::{MAX_EVENTS, StoredEvent};

impl Tables<'_> {
    /// Replaces the progress saved before, whose text other jobs may share.
    pub(super) fn save_progress(&self, seq: i64, progress: &Json) -> rusqlite::Result<()> {
        let shared: Option<Option<i64>> =
            self.find("SELECT shared FROM progress WHERE job = ?1", [seq], |row| {
                row.get(0)
            })?;
        if let Some(shared) = shared.flatten() {
            self.unshare(shared)?;
        }
        self.execute(
            "REPLACE INTO progress (job, data) VALUES (?1, ?2)",
            params![seq, progress],
        )?;
        Ok(())
    }

    pub(super) fn save_outputs(&self, seq: i64, outputs: &Json) -> rusqlite::Result<()> {
        self.execute(
            "INSERT INTO outputs (job, data) VALUES (?1, ?2)",
            params![seq, outputs],
        )?;
        Ok(())
    }

    /// Adds events, whose ids count up, and keeps the last [`MAX_EVENTS`].
    pub(super) fn append(&self, seq: i64, events: &[StoredEvent]) -> rusqlite::Result<()> {
        let Some(newest) = events.last().map(|event| event.id) else {
            return Ok(());
        };
        for rows in events.chunks(MOST_ROWS) {
            let mut params: Vec<&dyn ToSql> = vec![&seq];
            for event in rows {
                params.extend([&event.id as &dyn ToSql, &event.kind, &event.data]);
            }
            self.execute(insert_events(rows.len()), &*params)?;
        }
        let dropped = newest.saturating_sub(MAX_EVENTS as u64);
        if dropped > 0 {
            self.execute(
                "DELETE FROM events WHERE job = ?1 AND id <= ?2",
                params![seq, dropped],
            )?;
        }
        Ok(())
    }
}

/// Most events in one statement; each number of events needs a prepared statement of its own.
const MOST_ROWS: usize = 8;

/// Events that were stored before, by a commit whose answer was lost, stay as they are. `OR FAIL`:
/// a failure is undone with the whole transaction, so SQLite need not prepare to undo the statement
/// alone.
fn insert_events(rows: usize) -> &'static str {
    static STATEMENTS: LazyLock<[String; MOST_ROWS]> = LazyLock::new(|| {
        std::array::from_fn(|rows| {
            let row = |row: usize| {
                let first = 2 + 3 * row;
                format!("(?1, ?{first}, ?{}, ?{})", first + 1, first + 2)
            };
            let rows: Vec<String> = (0..=rows).map(row).collect();
            format!(
                "INSERT OR FAIL INTO events (job, id, kind, data) VALUES {} ON CONFLICT (job, id) DO NOTHING",
                rows.join(", ")
            )
        })
    });
    &STATEMENTS[rows - 1]
}
