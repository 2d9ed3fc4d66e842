//! Jobs that run: which of them have lapsed, and whose the others are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::types::{ToSql, ToSqlOutput};
use rusqlite::{Connection, params_from_iter};

use super::tables::{CHUNK, Tables};
use super::values::limit;
use crate::id::ReplicaId;
use crate::job::{JobId, Status};

impl Tables<'_> {
    /// Before a claim: declares replicas dead and has parked jobs wake whose time has come. Returns
    /// whether the claimant is alive.
    pub(super) fn begin_claim(&mut self, by: ReplicaId, now: Timestamp) -> rusqlite::Result<bool> {
        self.wake_due(CHUNK, now)?;
        let mut replicas = self.holders.replicas();
        if replicas.declare_dead(by, now) {
            self.holders.some_may_have_lapsed();
        }
        Ok(replicas.is_alive(by))
    }

    /// After a claim: its replica may have left while it was made.
    pub(super) fn note_claim(&self, by: ReplicaId) {
        if !self.holders.replicas().is_alive(by) {
            self.holders.some_may_have_lapsed();
        }
    }

    /// Jobs that have lapsed, the oldest first.
    pub(super) fn lapsed(&self, most: usize) -> rusqlite::Result<Vec<i64>> {
        if !self.holders.clear_may_have_lapsed() {
            return Ok(Vec::new());
        }
        let lapsed = self.find_lapsed(most);
        if !matches!(&lapsed, Ok(found) if found.is_empty()) {
            self.holders.some_may_have_lapsed();
        }
        lapsed
    }

    fn find_lapsed(&self, most: usize) -> rusqlite::Result<Vec<i64>> {
        let alive: Vec<ReplicaId> = self.holders.replicas().ids().collect();
        let places = vec!["?"; alive.len()].join(", ");
        let mut params: Vec<&dyn ToSql> = alive.iter().map(|id| id as &dyn ToSql).collect();
        let most = limit(most);
        params.push(&most);
        self.collect(
            &format!(
                "SELECT seq FROM jobs INDEXED BY jobs_by_status
                 WHERE status IN (1, 2) AND (worker IS NULL OR worker NOT IN ({places}))
                 ORDER BY id LIMIT ?"
            ),
            params_from_iter(params),
            |row| row.get(0),
        )
    }

    /// Declares every replica dead. Returns the number of jobs that have lapsed by that.
    pub(super) fn release_leases(&self) -> usize {
        self.holders.replicas().declare_all_dead();
        self.holders.some_may_have_lapsed();
        self.counts.running
    }
}

/// The jobs of a replica: their tokens, and whether they were asked to stop.
pub(super) fn held_by(
    connection: &Connection,
    id: ReplicaId,
) -> rusqlite::Result<BTreeMap<JobId, (u64, bool)>> {
    connection
        .prepare_cached(
            "SELECT id, token, status FROM jobs INDEXED BY jobs_by_status
             WHERE status IN (1, 2) AND worker = ?1",
        )?
        .query_map([id], |row| {
            let is_cancelling = row.get::<_, Status>(2)? == Status::Cancelling;
            Ok((row.get(0)?, (row.get(1)?, is_cancelling)))
        })?
        .collect()
}

/// How many jobs each replica holds.
pub(super) fn held_by_each(
    connection: &Connection,
) -> rusqlite::Result<BTreeMap<ReplicaId, usize>> {
    let mut statement = connection.prepare_cached(
        "SELECT worker, count(*) FROM jobs INDEXED BY jobs_by_status
         WHERE status IN (1, 2) AND worker IS NOT NULL GROUP BY worker",
    )?;
    let mut rows = statement.query([])?;
    let mut held = BTreeMap::new();
    while let Some(row) = rows.next()? {
        // A job that an older version has left running may name its worker otherwise.
        if let Ok(id) = row.get_ref(0)?.as_str()?.parse() {
            held.insert(ReplicaId(id), row.get(1)?);
        }
    }
    Ok(held)
}

/// Jobs of a replica that were asked to stop, for readers.
pub(super) fn cancelling(connection: &Connection, by: ReplicaId) -> rusqlite::Result<Vec<JobId>> {
    connection
        .prepare_cached(
            "SELECT id FROM jobs INDEXED BY jobs_by_status WHERE status = 2 AND worker = ?1",
        )?
        .query_map([by], |row| row.get(0))?
        .collect()
}

impl ToSql for ReplicaId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}
