//! What a verb asks first that found nothing the last time.
//!
//! A replica that has nothing to do asks each second for jobs and webhooks. Statements have no name, so
//! each is planned anew, and to plan one that claims takes the server ten times as long as to find that
//! there is nothing to claim. A probe is planned in no time.

use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::fault::Failure;
use super::sessions::Session;
use super::values::Time;

/// A statement that tells whether there may be anything. `$1` is the time.
pub(super) struct Probe {
    sql: &'static str,
    found_nothing: AtomicBool,
}

impl Probe {
    /// Whether a job can be claimed.
    pub(super) fn queue() -> Self {
        Self::new(
            "SELECT EXISTS (SELECT FROM flowmill.active WHERE status = 0)
            OR EXISTS (SELECT FROM flowmill.replicas
                       WHERE is_dead OR lease_until <= coalesce($1, now()))
            OR EXISTS (SELECT FROM flowmill.waits WHERE wakes_at <= coalesce($1, now()))
            OR EXISTS (SELECT FROM flowmill.active WHERE status = 2 AND replica IS NULL)
            OR EXISTS (
                WITH RECURSIVE holders (id) AS (
                    (SELECT replica FROM flowmill.active WHERE status IN (1, 2)
                     ORDER BY replica LIMIT 1)
                    UNION ALL
                    SELECT (SELECT a.replica FROM flowmill.active a
                            WHERE a.status IN (1, 2) AND a.replica > h.id
                            ORDER BY a.replica LIMIT 1)
                    FROM holders h WHERE h.id IS NOT NULL
                )
                SELECT FROM holders h WHERE h.id IS NOT NULL
                    AND NOT EXISTS (SELECT FROM flowmill.replicas r WHERE r.id = h.id)
            )",
        )
    }

    /// Whether the deadline of a job has passed that does not run.
    pub(super) fn overdue() -> Self {
        Self::new(
            "SELECT EXISTS (SELECT FROM flowmill.active
                        WHERE status IN (0, 6) AND deadline <= coalesce($1, now()))",
        )
    }

    /// Whether a webhook is due.
    pub(super) fn deliveries() -> Self {
        Self::new(
            "SELECT EXISTS (SELECT FROM flowmill.webhooks WHERE due_at <= coalesce($1, now()))",
        )
    }

    fn new(sql: &'static str) -> Self {
        Self {
            sql,
            found_nothing: AtomicBool::new(false),
        }
    }

    /// Whether there is nothing. Asks only if nothing was found the last time: elsewhere it would most
    /// likely be a trip in vain.
    pub(super) async fn finds_nothing(
        &self,
        session: &Session,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        if !self.found_nothing.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let now = session.now(now).map(Time);
        let rows = session
            .query(self.sql, &[(&now, Type::TIMESTAMPTZ)])
            .await?;
        let row = rows.first().expect("a statement without a table has a row");
        Ok(!row.try_get::<_, bool>(0)?)
    }

    /// After the whole statement.
    pub(super) fn learn(&self, found_nothing: bool) {
        self.found_nothing.store(found_nothing, Ordering::Relaxed);
    }
}
