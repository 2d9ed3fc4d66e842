//! Looking, without a lock, for what can be claimed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::fault::Failure;
use super::floors::Floors;
use super::sessions::{Param, Session};
use super::values::{Time, signed, text};
use crate::fairness;
use crate::id::{JobId, ReplicaId};

/// Of how many jobs that many are claimed: the first ones may be locked by another replica that claims
/// just as many.
pub(super) fn looked_at(most: usize) -> usize {
    2 * most + 16
}

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

/// All queues, and who holds jobs: steps through the indexes from one workflow to the next, and from
/// one holder to the next.
const EVERYTHING: &str = "
    WITH RECURSIVE known (workflow) AS (
        (SELECT workflow FROM flowmill.active WHERE status = 0 ORDER BY workflow LIMIT 1)
        UNION ALL
        SELECT (SELECT a.workflow FROM flowmill.active a
                WHERE a.status = 0 AND a.workflow > k.workflow ORDER BY a.workflow LIMIT 1)
        FROM known k WHERE k.workflow IS NOT NULL
    ), waiting (workflow, floor) AS (
        SELECT workflow, '00000000-0000-0000-0000-000000000000'::uuid FROM known
    ), holders (id) AS (
        (SELECT replica FROM flowmill.active WHERE status IN (1, 2) ORDER BY replica LIMIT 1)
        UNION ALL
        SELECT (SELECT a.replica FROM flowmill.active a
                WHERE a.status IN (1, 2) AND a.replica > h.id ORDER BY a.replica LIMIT 1)
        FROM holders h WHERE h.id IS NOT NULL
    )
    SELECT 4, id, NULL::int8, NULL::text FROM holders WHERE id IS NOT NULL
    UNION ALL
    SELECT 6, NULL, pg_stat_get_dead_tuples('flowmill.active'::regclass), NULL
    UNION ALL";

/// The queues that are known, from where they begin.
const KNOWN: &str = "
    WITH waiting AS (SELECT * FROM unnest($4, $5) AS w (workflow, floor))";

/// The first jobs of the queues, the replicas, and whether anything is to be woken or was handed back
/// to be ended.
const LOOK: &str = "
    SELECT 0, q.job, q.token, w.workflow
    FROM waiting w, LATERAL (
        SELECT a.job, a.token FROM flowmill.active a
        WHERE a.status = 0 AND a.workflow = w.workflow AND a.job >= w.floor AND a.level <= (
            SELECT me.level FROM flowmill.replicas me WHERE me.id = $1 AND NOT me.is_dead
        )
        ORDER BY a.job LIMIT $2
    ) q
    UNION ALL
    SELECT CASE WHEN is_dead THEN 1 WHEN lease_until <= coalesce($3, now()) THEN 2 ELSE 3 END,
        id, NULL, NULL
    FROM flowmill.replicas
    UNION ALL
    SELECT 5, NULL, NULL, NULL
    WHERE EXISTS (SELECT FROM flowmill.waits WHERE wakes_at <= coalesce($3, now()))
       OR EXISTS (SELECT FROM flowmill.active WHERE status = 2 AND replica IS NULL)";

/// Nothing, if the claimant is not alive.
pub(super) async fn look(
    session: &Session,
    claimant: Claimant,
    floors: &Floors,
) -> Result<Queues, Failure> {
    let mut seen = Queues::default();
    if claimant.most == 0 {
        return Ok(seen);
    }
    let most = signed(looked_at(claimant.most));
    let now = session.now(claimant.now).map(Time);
    let (workflows, first): (Vec<String>, Vec<JobId>);
    let mut params: Vec<Param<'_>> = vec![
        (&claimant.by, Type::UUID),
        (&most, Type::INT8),
        (&now, Type::TIMESTAMPTZ),
    ];
    let begin = match floors.known() {
        None => EVERYTHING,
        Some(known) => {
            (workflows, first) = known;
            params.push((&workflows, Type::TEXT_ARRAY));
            params.push((&first, Type::UUID_ARRAY));
            KNOWN
        }
    };
    let rows = session.query(&format!("{begin}{LOOK}"), &params).await?;
    let mut alive = HashSet::new();
    let mut holders = Vec::new();
    let mut dead = None;
    for row in rows {
        match row.try_get::<_, i32>(0)? {
            0 => {
                let queue = seen.jobs.entry(text(&row, 3)?).or_default();
                queue.push((row.try_get(1)?, row.try_get(2)?));
            }
            4 => holders.push(row.try_get(1)?),
            6 => dead = Some(row.try_get(2)?),
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
    floors.learn(&seen.jobs, dead);
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
