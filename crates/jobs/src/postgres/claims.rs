//! Claiming jobs.
//!
//! A claim first looks, without a lock. What it finds it then claims by a second statement, which locks
//! the rows and passes over those that others have locked. An idle replica does not even look: see
//! [`probes`](super::probes). A row is claimed only with the token that was seen: what was read of the job before is still
//! true of it then, since every claim, hand-back and parking changes the token.
//!
//! More jobs are looked at than are wanted, so that replicas that claim at once all find enough.
//!
//! A job that has lapsed is locked first and read then: until it is locked, its replica may still save
//! progress.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::deaths::{declare_dead, remove_dead};
use super::fault::Failure;
use super::floors::Floors;
use super::probes::Probe;
use super::queue::{Claimant, Order, columns, look, looked_at, seen};
use super::sessions::{Session, Sessions};
use super::taking::{Source, given, take};
use super::values::{Time, signed};
use super::waking::wake_due;
use crate::id::ReplicaId;
use crate::store::{Claimed, Error};

/// Most jobs that are claimed together.
const CHUNK: usize = 128;

/// The claims of one handle of the store.
pub(super) struct Claims {
    sessions: Sessions,
    known: Arc<Known>,
}

/// What earlier claims of a handle have found.
struct Known {
    floors: Floors,
    queue: Probe,
    overdue: Probe,
}

impl Claims {
    pub(super) fn new(sessions: Sessions) -> Self {
        Self {
            sessions,
            known: Arc::new(Known {
                floors: Floors::default(),
                queue: Probe::queue(),
                overdue: Probe::overdue(),
            }),
        }
    }

    /// Jobs that have lapsed, then those of the queue.
    pub(super) async fn claim(
        &self,
        by: ReplicaId,
        limit: usize,
        order: Order,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        in_chunks(limit, |most| {
            let claimant = Claimant { by, most, now };
            let known = self.known.clone();
            self.sessions
                .run(move |session| Box::pin(claim(session, claimant, order, known.clone())))
        })
        .await
    }

    /// Queued and parked jobs whose deadline has passed.
    pub(super) async fn claim_overdue(
        &self,
        by: ReplicaId,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        in_chunks(limit, |most| {
            let claimant = Claimant { by, most, now };
            let known = self.known.clone();
            self.sessions
                .run(move |session| Box::pin(claim_overdue(session, claimant, known.clone())))
        })
        .await
    }
}

/// Claims until there are no more or enough. A failure after the first chunk ends the loop, and what was
/// claimed stays claimed.
async fn in_chunks<C>(
    limit: usize,
    claim: impl Fn(usize) -> C + Send,
) -> Result<Vec<Claimed>, Error>
where
    C: Future<Output = Result<Vec<Claimed>, Error>> + Send,
{
    let mut claimed = Vec::new();
    while claimed.len() < limit {
        let most = CHUNK.min(limit - claimed.len());
        match claim(most).await {
            Ok(chunk) => {
                let is_last = chunk.len() < most;
                claimed.extend(chunk);
                if is_last {
                    break;
                }
            }
            Err(error) if claimed.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(claimed)
}

async fn claim(
    session: &mut Session,
    claimant: Claimant,
    order: Order,
    known: Arc<Known>,
) -> Result<Vec<Claimed>, Failure> {
    let Claimant { by, now, .. } = claimant;
    let Known { floors, queue, .. } = &*known;
    // Where many rows are dead, a probe would walk them all.
    if floors.known().is_none() && queue.finds_nothing(session, now).await? {
        return Ok(Vec::new());
    }
    let mut seen = look(session, claimant, floors).await?;
    queue.learn(seen.len() == 0 && !seen.is_something_due);
    let mut claimed = Vec::new();
    if seen.is_something_due {
        declare_dead(session, by, now).await?;
        wake_due(session, CHUNK, now).await?;
        claimed = claim_lapsed(session, claimant).await?;
        remove_dead(session).await?;
        floors.forget();
        seen = look(session, claimant.with_fewer(claimed.len()), floors).await?;
    }
    // Twice, if others were faster.
    for _ in 0..2 {
        let claimant = claimant.with_fewer(claimed.len());
        let found = seen.len().min(claimant.most);
        if found == 0 {
            break;
        }
        let due = seen
            .in_order(session, order, looked_at(claimant.most))
            .await?;
        let taken = take(session, claimant, Source::Queue, &due).await?;
        let is_enough = taken.len() >= found;
        claimed.extend(given(session, claimant, taken).await?);
        if is_enough {
            break;
        }
        seen = look(session, claimant.with_fewer(claimed.len()), floors).await?;
    }
    Ok(claimed)
}

/// Jobs whose replica is not alive.
async fn claim_lapsed(session: &mut Session, claimant: Claimant) -> Result<Vec<Claimed>, Failure> {
    let lapsed = session
        .query(
            "SELECT a.job, a.token FROM flowmill.active a
             WHERE a.status IN (1, 2)
                 AND NOT EXISTS (
                     SELECT FROM flowmill.replicas r WHERE r.id = a.replica AND NOT r.is_dead
                 )
                 AND a.level <= (
                     SELECT me.level FROM flowmill.replicas me WHERE me.id = $1 AND NOT me.is_dead
                 )
             ORDER BY a.job LIMIT $2",
            &[
                (&claimant.by, Type::UUID),
                (&signed(looked_at(claimant.most)), Type::INT8),
            ],
        )
        .await?;
    if lapsed.is_empty() {
        return Ok(Vec::new());
    }
    let transaction = session.transaction().await?;
    let (jobs, tokens) = columns(&seen(&lapsed)?);
    let locked = transaction
        .query(
            "SELECT a.job, a.token FROM unnest($1, $2) AS s (job, token)
             JOIN flowmill.active a ON a.job = s.job AND a.token = s.token
             WHERE a.status IN (1, 2)
             ORDER BY a.job LIMIT $3 FOR UPDATE OF a SKIP LOCKED",
            &[
                (&jobs, Type::UUID_ARRAY),
                (&tokens, Type::INT8_ARRAY),
                (&signed(claimant.most), Type::INT8),
            ],
        )
        .await?;
    let locked = seen(&locked)?;
    let taken = take(transaction.session(), claimant, Source::Lapse, &locked).await?;
    transaction.commit().await?;
    given(session, claimant, taken).await
}

async fn claim_overdue(
    session: &mut Session,
    claimant: Claimant,
    known: Arc<Known>,
) -> Result<Vec<Claimed>, Failure> {
    if known.overdue.finds_nothing(session, claimant.now).await? {
        return Ok(Vec::new());
    }
    let overdue = session
        .query(
            "SELECT a.job, a.token FROM flowmill.replicas me, flowmill.active a
             WHERE me.id = $1 AND NOT me.is_dead AND a.level <= me.level
                 AND a.status IN (0, 6) AND a.deadline <= coalesce($3, now())
             ORDER BY a.deadline, a.job LIMIT $2",
            &[
                (&claimant.by, Type::UUID),
                (&signed(looked_at(claimant.most)), Type::INT8),
                (&session.now(claimant.now).map(Time), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    known.overdue.learn(overdue.is_empty());
    if overdue.is_empty() {
        return Ok(Vec::new());
    }
    let taken = take(session, claimant, Source::Deadline, &seen(&overdue)?).await?;
    given(session, claimant, taken).await
}
