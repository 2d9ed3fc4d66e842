//! Whether jobs may be stored: idempotency keys, limits of owners, the length of the queue.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::commands::{Answer, Outcome, Submission};
use super::fault::Failure;
use super::known::Known;
use super::sessions::{Param, Transaction};
use super::values::{JOB_COLUMN_COUNT, JOB_COLUMNS, JOB_TABLES, Time, job, signed, storable};
use crate::job::{Idempotency, Job, JobId, Status};
use crate::store::{Error, IDEMPOTENCY_KEPT, Submitted, Unfinished};

/// Takes keys that are free or were used too long ago. The others stay as they are; their rows are
/// locked, and a key that another transaction is just taking is waited for.
const TAKE_KEYS: &str = "
    INSERT INTO flowmill.idempotency_keys AS k (scope, key, fingerprint, used_at, job)
    SELECT scope, key, fingerprint, coalesce(used_at, now()), job
    FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::uuid[])
        AS n (scope, key, fingerprint, used_at, job)
    ORDER BY scope, key
    ON CONFLICT (scope, key) DO UPDATE
        SET fingerprint = excluded.fingerprint, used_at = excluded.used_at, job = excluded.job,
            gone = NULL
        WHERE k.used_at + make_interval(secs => $6) <= excluded.used_at";

const GIVE_KEYS_BACK: &str = "
    DELETE FROM flowmill.idempotency_keys k
    USING unnest($1::text[], $2::text[], $3::uuid[]) AS n (scope, key, job)
    WHERE k.scope = n.scope AND k.key = n.key AND k.job = n.job";

/// Until the end of the transaction, nobody else can count the jobs of these owners to add one.
const LOCK_OWNERS: &str = "
    SELECT pg_advisory_xact_lock(1718382455, hash)
    FROM (SELECT DISTINCT hashtext(owner) AS hash FROM unnest($1::text[]) owner ORDER BY hash) o";

const COUNT_OWNED: &str = "
    SELECT owner, count(*) FILTER (WHERE status IN (1, 2)), count(*) FILTER (WHERE status IN (0, 6))
    FROM flowmill.active WHERE owner = ANY ($1::text[]) GROUP BY owner";

const COUNT_PENDING: &str = "
    SELECT count(*) FROM (SELECT FROM flowmill.active WHERE status = 0 LIMIT $1) p";

/// What became of submissions: `None` for those that are to be stored.
pub(super) type Decisions = Vec<Option<Outcome>>;

/// Decides about submissions in their order, in the first trip of a transaction.
pub(super) async fn decide(
    transaction: &Transaction<'_>,
    all: &[&Submission],
    known: &Known,
) -> Result<Decisions, Failure> {
    let (begun, ids, by_owner, pending, keys) = futures_util::join!(
        transaction.begun(),
        stored_jobs(transaction, all),
        owned_jobs(transaction, all),
        pending_jobs(transaction, all, known),
        keys(transaction, all),
    );
    begun?;
    let repeated = ids?;
    let mut by_owner = by_owner?;
    let mut pending = pending?;
    let mut keys = keys?;
    let mut decide = |one: &&Submission| {
        if repeated.contains(&one.new.id) {
            // The submission is repeated.
            return Ok(None);
        }
        if let Some(key) = &one.new.idempotency
            && let Some(used) = keys.remove(&place(key))
            && used.job != one.new.id
        {
            return used.answer(key).map(|submitted| Some(Ok(submitted)));
        }
        if let Some(most) = one.bound() {
            if pending >= most {
                return Ok(Some(Err(Error::QueueFull { pending })));
            }
            pending += 1;
        }
        let Some(owner) = one.limited_owner() else {
            return Ok(None);
        };
        let jobs = by_owner.entry(owner.to_owned()).or_default();
        Ok(admit(one, jobs).err().map(Err))
    };
    all.iter().map(&mut decide).collect()
}

/// Gives back the keys of submissions that were refused after their keys were taken.
pub(super) async fn give_keys_back(
    transaction: &Transaction<'_>,
    refused: &[&Submission],
) -> Result<(), Failure> {
    let keys: Vec<(&Idempotency, JobId)> = refused
        .iter()
        .filter_map(|one| Some((one.new.idempotency.as_ref()?, one.new.id)))
        .collect();
    if keys.is_empty() {
        return Ok(());
    }
    let scopes: Vec<_> = keys.iter().map(|(key, _)| storable(&key.scope)).collect();
    let names: Vec<_> = keys.iter().map(|(key, _)| storable(&key.key)).collect();
    let jobs: Vec<JobId> = keys.iter().map(|(_, job)| *job).collect();
    transaction
        .execute(
            GIVE_KEYS_BACK,
            &[
                (&scopes, Type::TEXT_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&jobs, Type::UUID_ARRAY),
            ],
        )
        .await?;
    Ok(())
}

/// Admits one more job, or says which limit of its owner stands in its way.
fn admit(one: &Submission, owned: &mut Unfinished) -> Result<(), Error> {
    let is_queued = one.claim.is_none();
    one.owner_limits.admit(*owned, is_queued)?;
    if is_queued {
        owned.queued += 1;
    } else {
        owned.running += 1;
    }
    Ok(())
}

async fn stored_jobs(
    transaction: &Transaction<'_>,
    all: &[&Submission],
) -> Result<HashSet<JobId>, Failure> {
    let ids: Vec<JobId> = all
        .iter()
        .filter(|one| one.has_conditions())
        .map(|one| one.new.id)
        .collect();
    let rows = transaction
        .query(
            "SELECT id FROM flowmill.jobs WHERE id = ANY ($1::uuid[])",
            &[(&ids, Type::UUID_ARRAY)],
        )
        .await?;
    let ids: Result<_, tokio_postgres::Error> = rows.iter().map(|row| row.try_get(0)).collect();
    Ok(ids?)
}

async fn owned_jobs(
    transaction: &Transaction<'_>,
    all: &[&Submission],
) -> Result<HashMap<String, Unfinished>, Failure> {
    let owners: Vec<&str> = all.iter().filter_map(|one| one.limited_owner()).collect();
    if owners.is_empty() {
        return Ok(HashMap::new());
    }
    let params = &[(&owners as _, Type::TEXT_ARRAY)];
    let (locked, rows) = futures_util::join!(
        transaction.query(LOCK_OWNERS, params),
        transaction.query(COUNT_OWNED, params),
    );
    locked?;
    let number = |number: i64| usize::try_from(number).unwrap_or_default();
    let owned = rows?
        .iter()
        .map(|row| {
            let owned = Unfinished {
                running: number(row.try_get(1)?),
                queued: number(row.try_get(2)?),
            };
            Ok((row.try_get(0)?, owned))
        })
        .collect::<Result<_, tokio_postgres::Error>>();
    Ok(owned?)
}

/// The number of queued jobs, counted some way beyond the highest bound that matters.
async fn pending_jobs(
    transaction: &Transaction<'_>,
    all: &[&Submission],
    known: &Known,
) -> Result<usize, Failure> {
    let bounds = || all.iter().filter_map(|one| one.bound());
    let (Some(least), Some(most)) = (bounds().min(), bounds().max()) else {
        return Ok(0);
    };
    if let Some(pending) = known.pending(bounds().count(), least) {
        return Ok(pending);
    }
    let rows = transaction
        .query(
            COUNT_PENDING,
            &[(&(signed(most).saturating_add(1_000)), Type::INT8)],
        )
        .await?;
    let row = rows.first().ok_or(Failure::Conflict)?;
    let pending = usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default();
    known.learn_pending(pending);
    Ok(pending)
}

/// A key that is in use, with its job as far as it is there.
struct UsedKey {
    fingerprint: String,
    job: JobId,
    gone: Option<Status>,
    stored: Option<Job>,
}

impl UsedKey {
    /// The answer to another submission with that key.
    fn answer(self, key: &Idempotency) -> Result<Answer, Failure> {
        let job = self.job;
        let submitted = match (self.gone, self.stored) {
            _ if self.fingerprint != storable(&key.fingerprint) => Submitted::KeyReused,
            (Some(status), _) => Submitted::Forgotten { job, status },
            (None, Some(job)) => Submitted::Existing(Box::new(job)),
            (None, None) => return Err(Failure::Conflict),
        };
        Ok(Answer::Submitted(submitted))
    }
}

fn place(key: &Idempotency) -> (String, String) {
    (
        storable(&key.scope).into_owned(),
        storable(&key.key).into_owned(),
    )
}

async fn keys(
    transaction: &Transaction<'_>,
    all: &[&Submission],
) -> Result<HashMap<(String, String), UsedKey>, Failure> {
    let keyed: Vec<(&Submission, &Idempotency)> = all
        .iter()
        .filter_map(|one| Some((*one, one.new.idempotency.as_ref()?)))
        .collect();
    if keyed.is_empty() {
        return Ok(HashMap::new());
    }
    let scopes: Vec<_> = keyed.iter().map(|(_, key)| storable(&key.scope)).collect();
    let names: Vec<_> = keyed.iter().map(|(_, key)| storable(&key.key)).collect();
    let fingerprints: Vec<_> = keyed
        .iter()
        .map(|(_, key)| storable(&key.fingerprint))
        .collect();
    let now = |created_at: Timestamp| transaction.now(created_at).map(Time);
    let used_at: Vec<Option<Time>> = keyed
        .iter()
        .map(|(one, _)| now(one.new.created_at))
        .collect();
    let jobs: Vec<JobId> = keyed.iter().map(|(one, _)| one.new.id).collect();
    let kept = IDEMPOTENCY_KEPT.as_secs_f64();
    let read = format!(
        "SELECT {JOB_COLUMNS}, o.data, k.scope, k.key, k.fingerprint, k.job, k.gone
         FROM unnest($1::text[], $2::text[]) AS n (scope, key)
         JOIN flowmill.idempotency_keys k ON k.scope = n.scope AND k.key = n.key
         LEFT JOIN ({JOB_TABLES} LEFT JOIN flowmill.outputs o ON o.job = j.id) ON j.id = k.job"
    );
    let uses: [Param<'_>; 6] = [
        (&scopes, Type::TEXT_ARRAY),
        (&names, Type::TEXT_ARRAY),
        (&fingerprints, Type::TEXT_ARRAY),
        (&used_at, Type::TIMESTAMPTZ_ARRAY),
        (&jobs, Type::UUID_ARRAY),
        (&kept, Type::FLOAT8),
    ];
    let (taken, rows) = futures_util::join!(
        transaction.execute(TAKE_KEYS, &uses),
        transaction.query(&read, &uses[..2]),
    );
    taken?;
    let found = rows?.iter().map(used_key).collect::<Result<_, _>>();
    Ok(found?)
}

fn used_key(row: &Row) -> Result<((String, String), UsedKey), tokio_postgres::Error> {
    let column = |index| JOB_COLUMN_COUNT + index;
    let id: Option<JobId> = row.try_get(0)?;
    let stored = match id {
        None => None,
        Some(_) => Some(Job {
            outputs: row.try_get(column(0))?,
            ..job(row)?
        }),
    };
    let place = (row.try_get(column(1))?, row.try_get(column(2))?);
    let used = UsedKey {
        fingerprint: row.try_get(column(3))?,
        job: row.try_get(column(4))?,
        gone: row.try_get(column(5))?,
        stored,
    };
    Ok((place, used))
}
