//! API keys in the file: a small table that is read as a whole.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension, Row, params};

use super::SqliteStore;
use super::fault::Failure;
use super::tables::Tables;
use super::values::Time;
use crate::key::{Changed, Hidden256, KeyChange, KeyRecord, KeyStore, Keys, Previous};
use crate::store::Error;

const COLUMNS: &str = "id, name, grants, hash, previous_hash, previous_until, created_at, expires_at, \
    revoked_at, last_used_at";

#[async_trait]
impl KeyStore for SqliteStore {
    async fn hashing_key(&self, fresh: Hidden256) -> Result<Hidden256, Error> {
        self.writer
            .write(move |tables| tables.hashing_key(&fresh))
            .await
    }

    async fn keys(&self) -> Result<Keys, Error> {
        self.readers
            .read(|connection| {
                let hashing_key = connection
                    .query_row("SELECT key FROM key_hashing", [], |row| row.get(0))
                    .optional()?;
                let records = connection
                    .prepare(&format!("SELECT {COLUMNS} FROM api_keys ORDER BY seq"))?
                    .query_map([], record)?
                    .collect::<Result<_, _>>()?;
                Ok(Keys {
                    hashing_key,
                    records,
                })
            })
            .await
    }

    async fn add_key(&self, key: KeyRecord) -> Result<bool, Error> {
        self.writer.write(move |tables| tables.add_key(&key)).await
    }

    async fn change_key(&self, id: &str, change: KeyChange) -> Result<Changed, Error> {
        let id = id.to_owned();
        self.writer
            .write(move |tables| tables.change_key(&id, &change))
            .await
    }

    async fn keys_used(&self, uses: Vec<(Arc<str>, Timestamp)>) -> Result<(), Error> {
        self.writer
            .write(move |tables| tables.keys_used(&uses))
            .await
    }
}

impl Tables<'_> {
    fn hashing_key(&mut self, fresh: &Hidden256) -> Result<Hidden256, Failure> {
        self.execute("INSERT OR IGNORE INTO key_hashing VALUES (1, ?1)", [fresh])?;
        let key = self.find("SELECT key FROM key_hashing", [], |row| row.get(0))?;
        Ok(key.expect("the row is there since the line before"))
    }

    fn add_key(&mut self, key: &KeyRecord) -> Result<bool, Failure> {
        let previous = key.previous.as_ref();
        let added = self.execute(
            &format!(
                "INSERT INTO api_keys ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (id) DO NOTHING"
            ),
            params![
                key.id,
                key.name,
                key.grants,
                key.hash,
                previous.map(|previous| &previous.hash),
                previous.map(|previous| Time(previous.until)),
                Time(key.created_at),
                key.expires_at.map(Time),
                key.revoked_at.map(Time),
                key.last_used_at.map(Time),
            ],
        )?;
        if added == 1 {
            return Ok(true);
        }
        let select = "SELECT hash FROM api_keys WHERE id = ?1";
        let stored: Option<Hidden256> = self.find(select, [&key.id], |row| row.get(0))?;
        Ok(stored.is_some_and(|stored| key.hash.is_stored_as(&stored)))
    }

    fn change_key(&mut self, id: &str, change: &KeyChange) -> Result<Changed, Failure> {
        let select = format!("SELECT {COLUMNS} FROM api_keys WHERE id = ?1");
        let Some(key) = self.find(&select, [id], record)? else {
            return Ok(Changed::NotFound);
        };
        if key.revoked_at.is_some() {
            return Ok(Changed::Revoked);
        }
        match change {
            KeyChange::Rotate {
                hash,
                previous_until,
            } => self.execute(
                // What stands on the right is the row as it was.
                "UPDATE api_keys SET previous_hash = iif(?3 IS NULL, NULL, hash), previous_until = ?3,
                 hash = ?2 WHERE id = ?1 AND hash <> ?2",
                params![id, hash, previous_until.map(Time)],
            ),
            KeyChange::Revoke { at } => self.execute(
                "UPDATE api_keys SET revoked_at = ?2 WHERE id = ?1",
                params![id, Time(*at)],
            ),
        }?;
        let key = self.find(&select, [id], record)?;
        Ok(key.map_or(Changed::NotFound, |key| Changed::Done(Box::new(key))))
    }

    fn keys_used(&mut self, uses: &[(Arc<str>, Timestamp)]) -> Result<(), Failure> {
        for (id, at) in uses {
            self.execute(
                "UPDATE api_keys SET last_used_at = max(?2, coalesce(last_used_at, ?2)) WHERE id = ?1",
                params![id, Time(*at)],
            )?;
        }
        Ok(())
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    let time = |column| {
        let time: rusqlite::Result<Option<Time>> = row.get(column);
        time.map(|time| time.map(|time| time.0))
    };
    let previous: Option<Hidden256> = row.get(4)?;
    let previous = previous.zip(time(5)?);
    Ok(KeyRecord {
        id: row.get(0)?,
        name: row.get(1)?,
        grants: row.get(2)?,
        hash: row.get(3)?,
        previous: previous.map(|(hash, until)| Previous { hash, until }),
        created_at: row.get::<_, Time>(6)?.0,
        expires_at: time(7)?,
        revoked_at: time(8)?,
        last_used_at: time(9)?,
    })
}

impl ToSql for Hidden256 {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.reveal().as_slice().into())
    }
}

impl FromSql for Hidden256 {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 32]>::column_result(value).map(Self::from)
    }
}
