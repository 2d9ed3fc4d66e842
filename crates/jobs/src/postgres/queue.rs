//! Looking, without a lock, for what can be claimed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::fault::Failure;
use super::sessions::Session;
use super::values::{Time, signed, text};
use crate::fairness;
use crate::id::{JobId, ReplicaId};

/// How many more jobs are looked at than are wanted.
pub(super) const SPARE: usize = 16;

/// Which jobs of the queue come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Age,
    Fairness,
}

/// What a claim is made with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claimant {
    pub(super) by: ReplicaId,
    pub(super) most: usize,
    pub(super) now: Timestamp,
}

impl Claimant {
    pub(super) fn with_fewer(self, claimed: usize) -> Self {
        Self {
            most: self.most.saturating_sub(claimed),
            ..self
        }
    }
}

/// A job as it was seen, with the token that it had.
pub(super) type Seen = (JobId, i64);

/// What there is to claim.
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// By workflow, the oldest first.
    jobs: BTreeMap<Arc<str>, Vec<Seen>>,
    /// A replica is dead or late, a job has lapsed, or a parked one is to be woken.
    pub(super) is_something_due: bool,
}

/// All that a claim has to know: of the queues the first jobs, the replicas, who holds jobs, and
/// whether anything is to be woken, or was handed back to be ended. It steps through the indexes from
/// one workflow to the next and from one holder to the next.
const LOOK: &str = "
    WITH RECURSIVE waiting (workflow) AS (
        (SELECT workflow FROM flowmill.active WHERE status = 0 ORDER BY workflow LIMIT 1)
        UNION ALL
        SELECT (SELECT a.workflow FROM flowmill.active a
                WHERE a.status = 0 AND a.workflow > w.workflow ORDER BY a.workflow LIMIT 1)
        FROM waiting w WHERE w.workflow IS NOT NULL
    ), holders (id) AS (
        (SELECT replica FROM flowmill.active WHERE status IN (1, 2) ORDER BY replica LIMIT 1)
        UNION ALL
        SELECT (SELECT a.replica FROM flowmill.active a
                WHERE a.status IN (1, 2) AND a.replica > h.id ORDER BY a.replica LIMIT 1)
        FROM holders h WHERE h.id IS NOT NULL
    )
    SELECT 0, q.job, q.token, w.workflow
    FROM waiting w, LATERAL (
        SELECT a.job, a.token FROM flowmill.active a
        WHERE a.status = 0 AND a.workflow = w.workflow AND a.level <= (
            SELECT me.level FROM flowmill.replicas me WHERE me.id = $1 AND NOT me.is_dead
        )
        ORDER BY a.job LIMIT $2
    ) q
    UNION ALL
    SELECT CASE WHEN is_dead THEN 1 WHEN lease_until <= coalesce($3, now()) THEN 2 ELSE 3 END,
        id, NULL, NULL
    FROM flowmill.replicas
    UNION ALL
    SELECT 4, id, NULL, NULL FROM holders WHERE id IS NOT NULL
    UNION ALL
    SELECT 5, NULL, NULL, NULL
    WHERE EXISTS (SELECT FROM flowmill.waits WHERE wakes_at <= coalesce($3, now()))
       OR EXISTS (SELECT FROM flowmill.active WHERE status = 2 AND replica IS NULL)";

/// Nothing, if the claimant is not alive.
pub(super) async fn look(session: &Session, claimant: Claimant) -> Result<Queues, Failure> {
    let mut seen = Queues::default();
    if claimant.most == 0 {
        return Ok(seen);
    }
    let rows = session
        .query(
            LOOK,
            &[
                (&claimant.by, Type::UUID),
                (&signed(claimant.most + SPARE), Type::INT8),
                (&session.now(claimant.now).map(Time), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    let mut alive = HashSet::new();
    let mut holders = Vec::new();
    for row in rows {
        match row.try_get::<_, i32>(0)? {
            0 => {
                let queue = seen.jobs.entry(text(&row, 3)?).or_default();
                queue.push((row.try_get(1)?, row.try_get(2)?));
            }
            4 => holders.push(row.try_get(1)?),
            1 | 5 => seen.is_something_due = true,
            lease => {
                let replica: ReplicaId = row.try_get(1)?;
                alive.insert(replica);
                seen.is_something_due |= lease == 2 && replica != claimant.by;
            }
        }
    }
    if !alive.contains(&claimant.by) {
        return Ok(Queues::default());
    }
    seen.is_something_due |= holders.iter().any(|holder| !alive.contains(holder));
    Ok(seen)
}

impl Queues {
    pub(super) fn len(&self) -> usize {
        self.jobs.values().map(Vec::len).sum()
    }

    pub(super) async fn in_order(
        &self,
        session: &Session,
        order: Order,
        most: usize,
    ) -> Result<Vec<Seen>, Failure> {
        let mut all: Vec<Seen> = self.jobs.values().flatten().copied().collect();
        if order == Order::Age || self.jobs.len() < 2 {
            all.sort_unstable();
            all.truncate(most);
            return Ok(all);
        }
        let running = running(session, self.jobs.keys()).await?;
        let ids = |queue: &Vec<Seen>| queue.iter().map(|(job, _)| *job).collect::<Vec<_>>();
        let queues = self
            .jobs
            .iter()
            .map(|(workflow, queue)| (workflow.clone(), ids(queue).into_iter()));
        let tokens: HashMap<JobId, i64> = all.into_iter().collect();
        let dealt = fairness::deal(queues, &running, most).into_iter();
        Ok(dealt.map(|job| (job, tokens[&job])).collect())
    }
}

/// How many jobs of these workflows run, on all replicas.
async fn running(
    session: &Session,
    workflows: impl Iterator<Item = &Arc<str>>,
) -> Result<BTreeMap<Arc<str>, usize>, Failure> {
    let workflows: Vec<&str> = workflows.map(|workflow| &**workflow).collect();
    let rows = session
        .query(
            "SELECT workflow, count(*) FROM flowmill.active
             WHERE status IN (1, 2) AND workflow = ANY ($1) GROUP BY workflow",
            &[(&workflows, Type::TEXT_ARRAY)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let running = usize::try_from(row.try_get::<_, i64>(1)?).unwrap_or_default();
            Ok((text(row, 0)?, running))
        })
        .collect()
}

pub(super) fn seen(rows: &[Row]) -> Result<Vec<Seen>, Failure> {
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

pub(super) fn columns(seen: &[Seen]) -> (Vec<JobId>, Vec<i64>) {
    seen.iter().copied().unzip()
}
