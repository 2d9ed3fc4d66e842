//! API keys: a small table that is read as a whole.

use std::error::Error as StdError;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use super::PostgresStore;
use super::fault::Failure;
use super::sessions::{Params, Session};
use super::values::{Time, storable, text};
use crate::key::{Changed, Hidden256, KeyChange, KeyRecord, KeyStore, Keys, Previous};
use crate::store::Error;

const COLUMNS: &str = "id, name, grants, hash, previous_hash, previous_until, created_at, expires_at, \
    revoked_at, last_used_at";

#[async_trait]
impl KeyStore for PostgresStore {
    async fn hashing_key(&self, fresh: Hidden256) -> Result<Hidden256, Error> {
        self.sessions
            .run(move |session| Box::pin(hashing_key(session, fresh.clone())))
            .await
    }

    async fn keys(&self) -> Result<Keys, Error> {
        self.sessions.run(|session| Box::pin(keys(session))).await
    }

    async fn add_key(&self, key: KeyRecord) -> Result<bool, Error> {
        self.sessions
            .run(move |session| Box::pin(add(session, key.clone())))
            .await
    }

    async fn change_key(&self, id: &str, change: KeyChange) -> Result<Changed, Error> {
        let id: Arc<str> = id.into();
        self.sessions
            .run(move |session| Box::pin(change_key(session, id.clone(), change.clone())))
            .await
    }

    async fn keys_used(&self, uses: Vec<(Arc<str>, Timestamp)>) -> Result<(), Error> {
        let uses: Arc<[_]> = uses.into();
        self.sessions
            .run(move |session| Box::pin(used(session, uses.clone())))
            .await
    }
}

async fn hashing_key(session: &mut Session, fresh: Hidden256) -> Result<Hidden256, Failure> {
    session
        .execute(
            "INSERT INTO flowmill.key_hashing (key) VALUES ($1) ON CONFLICT DO NOTHING",
            &[(&fresh, Type::BYTEA)],
        )
        .await?;
    let rows = session
        .query("SELECT key FROM flowmill.key_hashing", &[])
        .await?;
    let row = rows
        .first()
        .expect("the row is there since the statement before");
    Ok(row.try_get(0)?)
}

/// One statement, so that keys never come without the key of their hashes.
async fn keys(session: &mut Session) -> Result<Keys, Failure> {
    let sql = format!(
        "SELECT k.*, (SELECT key FROM flowmill.key_hashing) FROM (VALUES (1)) one
         LEFT JOIN (SELECT {COLUMNS}, seq FROM flowmill.api_keys) k ON true ORDER BY k.seq"
    );
    let rows = session.query(&sql, &[]).await?;
    let mut keys = Keys::default();
    for row in &rows {
        keys.hashing_key = row.try_get("key")?;
        if row.try_get::<_, Option<&str>>(0)?.is_some() {
            keys.records.push(record(row)?);
        }
    }
    Ok(keys)
}

async fn add(session: &mut Session, key: KeyRecord) -> Result<bool, Failure> {
    let sql = format!(
        "INSERT INTO flowmill.api_keys ({COLUMNS})
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING"
    );
    let (id, name, previous) = (&*key.id, storable(&key.name), key.previous.as_ref());
    let parameters: Params<'_> = &[
        (&id, Type::TEXT),
        (&name, Type::TEXT),
        (&key.grants, Type::TEXT),
        (&key.hash, Type::BYTEA),
        (&previous.map(|previous| &previous.hash), Type::BYTEA),
        (
            &previous.map(|previous| Time(previous.until)),
            Type::TIMESTAMPTZ,
        ),
        (&Time(key.created_at), Type::TIMESTAMPTZ),
        (&key.expires_at.map(Time), Type::TIMESTAMPTZ),
        (&key.revoked_at.map(Time), Type::TIMESTAMPTZ),
        (&key.last_used_at.map(Time), Type::TIMESTAMPTZ),
    ];
    if session.execute(&sql, parameters).await? > 0 {
        return Ok(true);
    }
    // The key itself, added before.
    let same = session
        .query(
            "SELECT FROM flowmill.api_keys WHERE id = $1 AND hash = $2",
            &[(&id, Type::TEXT), (&key.hash, Type::BYTEA)],
        )
        .await?;
    Ok(!same.is_empty())
}

async fn change_key(
    session: &mut Session,
    id: Arc<str>,
    change: KeyChange,
) -> Result<Changed, Failure> {
    let id = &*id;
    let changed = match change {
        KeyChange::Rotate {
            hash,
            previous_until,
        } => {
            // What stands on the right is the row as it was.
            let sql = format!(
                "UPDATE flowmill.api_keys
                 SET previous_hash = CASE WHEN $3 IS NULL THEN NULL ELSE hash END,
                     previous_until = $3, hash = $2
                 WHERE id = $1 AND revoked_at IS NULL AND hash <> $2 RETURNING {COLUMNS}"
            );
            let parameters: Params<'_> = &[
                (&id, Type::TEXT),
                (&hash, Type::BYTEA),
                (&previous_until.map(Time), Type::TIMESTAMPTZ),
            ];
            session.query(&sql, parameters).await?
        }
        KeyChange::Revoke { at } => {
            let sql = format!(
                "UPDATE flowmill.api_keys SET revoked_at = $2
                 WHERE id = $1 AND revoked_at IS NULL RETURNING {COLUMNS}"
            );
            let parameters: Params<'_> = &[(&id, Type::TEXT), (&Time(at), Type::TIMESTAMPTZ)];
            session.query(&sql, parameters).await?
        }
    };
    if let Some(row) = changed.first() {
        return Ok(Changed::Done(Box::new(record(row)?)));
    }
    let sql = format!("SELECT {COLUMNS} FROM flowmill.api_keys WHERE id = $1");
    let found = session.query(&sql, &[(&id, Type::TEXT)]).await?;
    let Some(row) = found.first() else {
        return Ok(Changed::NotFound);
    };
    let key = record(row)?;
    Ok(match key.revoked_at {
        Some(_) => Changed::Revoked,
        // Rotated to the same secret before.
        None => Changed::Done(Box::new(key)),
    })
}

async fn used(session: &mut Session, uses: Arc<[(Arc<str>, Timestamp)]>) -> Result<(), Failure> {
    let (ids, times): (Vec<_>, Vec<_>) = uses.iter().map(|(id, at)| (&**id, Time(*at))).unzip();
    session
        .execute(
            "WITH later AS MATERIALIZED (
                 SELECT k.id, u.at FROM flowmill.api_keys k
                 JOIN (SELECT id, max(at) AS at FROM unnest($1, $2) AS u (id, at) GROUP BY id) u
                     ON u.id = k.id AND (k.last_used_at IS NULL OR k.last_used_at < u.at)
                 ORDER BY k.id FOR UPDATE OF k)
             UPDATE flowmill.api_keys k SET last_used_at = l.at FROM later l WHERE k.id = l.id",
            &[(&ids, Type::TEXT_ARRAY), (&times, Type::TIMESTAMPTZ_ARRAY)],
        )
        .await?;
    Ok(())
}

fn record(row: &Row) -> Result<KeyRecord, tokio_postgres::Error> {
    let time = |column| {
        let time: Result<Option<Time>, _> = row.try_get(column);
        time.map(|time| time.map(|time| time.0))
    };
    let previous: Option<Hidden256> = row.try_get(4)?;
    let previous = previous.zip(time(5)?);
    Ok(KeyRecord {
        id: text(row, 0)?,
        name: text(row, 1)?,
        grants: row.try_get(2)?,
        hash: row.try_get(3)?,
        previous: previous.map(|(hash, until)| Previous { hash, until }),
        created_at: row.try_get::<_, Time>(6)?.0,
        expires_at: time(7)?,
        revoked_at: time(8)?,
        last_used_at: time(9)?,
    })
}

impl ToSql for Hidden256 {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.extend_from_slice(self.reveal());
        Ok(IsNull::No)
    }

    accepts!(BYTEA);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Hidden256 {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(<[u8; 32]>::try_from(raw)?.into())
    }

    accepts!(BYTEA);
}
