//! Opening a database: what it must be, and migrating the schema `flowmill` to the present format.

use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::connect::ConnectError;
use super::fault::{Failure, sentence};
use super::options::{Options, UrlError};
use super::sessions::{Connector, Session};

/// In their order; `meta.format` is the number of migrations that a schema has had. Never edit one
/// that was released: add the next. A migration that older programs cannot work with raises
/// `meta.min_level`.
const MIGRATIONS: [&str; 1] = [include_str!("schema_1.sql")];

/// The oldest server that is supported, as `server_version_num` has it.
const OLDEST_SERVER: i32 = 15_00_00;

/// Names the lock of migrations: `flowmill` in ASCII.
const MIGRATION_LOCK: i64 = 0x666c_6f77_6d69_6c6c;

/// Why a store cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The URL cannot be used.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server is too old.
    #[error(
        "the database server is PostgreSQL {found}; flowmill needs 15 or later (14 has had no fixes \
         since November 2026)"
    )]
    ServerTooOld {
        /// Its version.
        found: String,
    },
    /// The server speaks PostgreSQL's protocol and is something else.
    #[error("the database server is {found}, which is not supported; use PostgreSQL 15 or later")]
    NotPostgres {
        /// Its own name.
        found: String,
    },
    /// The server is a standby, or its database was set to reading.
    #[error(
        "the database accepts no writes (a standby?); name the primary in the store's URL, or all \
         servers separated by commas"
    )]
    ReadOnly,
    /// There is no schema, and no right to create it.
    #[error(
        "the database has no schema flowmill, and the role {role} may not create one; have an \
         administrator run: CREATE SCHEMA flowmill AUTHORIZATION \"{role}\""
    )]
    NoRight {
        /// The role of the store's URL.
        role: String,
    },
    /// The schema belongs to somebody else.
    #[error(
        "the role {role} may not use the schema flowmill ({reason}); have its owner grant it, or use \
         the owner's role in the store's URL"
    )]
    Forbidden {
        /// The role of the store's URL.
        role: String,
        /// As the server says it.
        reason: String,
    },
    /// The schema is not what flowmill made, or only part of it.
    #[error(
        "the schema flowmill of the database holds tables and does not say of which format they are; \
         restore a complete copy, or have the schema dropped to start with an empty store"
    )]
    Incomplete,
    /// A newer version of the program has changed the tables.
    #[error(
        "a newer version of flowmill has changed this store (it needs level {needed}; this version has \
         level {level}); use that version"
    )]
    Newer {
        /// The lowest level that can use the store.
        needed: i64,
        /// The level of this program.
        level: u32,
    },
    /// The pooler does not allow transactions.
    #[error(
        "the connection pooler does not allow transactions (statement pooling); set pool_mode to \
         transaction or session, or connect to the database itself"
    )]
    StatementPooling,
    /// Anything else.
    #[error("the store cannot be opened: {0}")]
    Failed(String),
}

/// What one look at the database tells.
struct Found {
    version: i32,
    server: String,
    role: String,
    may_create_schema: bool,
    has_schema: bool,
    has_tables: bool,
    has_meta: bool,
    is_read_only: bool,
}

/// Checks the database and makes or migrates the tables. A server that cannot be reached is told at
/// once; another process that migrates is waited for.
pub(super) async fn prepare(connector: &Connector, options: &Options) -> Result<(), OpenError> {
    let mut session = connector.connect().await?;
    let found = look(&session).await.map_err(explain)?;
    found.check()?;
    let deadline = Instant::now() + options.open_timeout;
    loop {
        let migrated = migrate(&mut session, &found, options.level).await;
        match migrated {
            Ok(done) => return done,
            Err(Failure::Postgres(error))
                if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
                    && Instant::now() < deadline =>
            {
                tracing::info!("another process is migrating the store; waiting for it");
                session.leave_transaction().await.map_err(explain)?;
            }
            Err(Failure::Postgres(error))
                if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) =>
            {
                return Err(OpenError::Forbidden {
                    role: found.role,
                    reason: sentence(&error),
                });
            }
            Err(failure) => return Err(explain(failure)),
        }
    }
}

async fn look(session: &Session) -> Result<Found, Failure> {
    let rows = session
        .query(
            "SELECT current_setting('server_version_num')::int, version(), current_user::text,
                 has_database_privilege(current_database(), 'CREATE'),
                 to_regnamespace('flowmill') IS NOT NULL,
                 EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('flowmill')),
                 EXISTS (SELECT FROM pg_class
                     WHERE relnamespace = to_regnamespace('flowmill') AND relname = 'meta'),
                 current_setting('transaction_read_only')::bool",
            &[],
        )
        .await?;
    let row = rows.first().ok_or(Failure::Conflict)?;
    Ok(Found {
        version: row.try_get(0)?,
        server: row.try_get(1)?,
        role: row.try_get(2)?,
        may_create_schema: row.try_get(3)?,
        has_schema: row.try_get(4)?,
        has_tables: row.try_get(5)?,
        has_meta: row.try_get(6)?,
        is_read_only: row.try_get(7)?,
    })
}

impl Found {
    fn check(&self) -> Result<(), OpenError> {
        for product in ["CockroachDB", "YugabyteDB", "-YB-"] {
            if self.server.contains(product) {
                return Err(OpenError::NotPostgres {
                    found: product.replace("-YB-", "YugabyteDB"),
                });
            }
        }
        if self.version < OLDEST_SERVER {
            return Err(OpenError::ServerTooOld {
                found: (self.version / 10_000).to_string(),
            });
        }
        if self.is_read_only {
            return Err(OpenError::ReadOnly);
        }
        if !self.has_schema && !self.may_create_schema {
            return Err(OpenError::NoRight {
                role: self.role.clone(),
            });
        }
        if self.has_tables && !self.has_meta {
            return Err(OpenError::Incomplete);
        }
        Ok(())
    }
}

/// Each start takes the lock, so that of several that start at once one migrates and the others find
/// what it has made.
async fn migrate(
    session: &mut Session,
    found: &Found,
    level: u32,
) -> Result<Result<(), OpenError>, Failure> {
    let transaction = session.transaction().await?;
    transaction.script("SET LOCAL lock_timeout = '3s'").await?;
    transaction
        .query(
            "SELECT pg_advisory_xact_lock($1)",
            &[(&MIGRATION_LOCK, Type::INT8)],
        )
        .await?;
    if !found.has_schema {
        transaction
            .script("CREATE SCHEMA IF NOT EXISTS flowmill")
            .await?;
    }
    let has_meta = transaction
        .query("SELECT to_regclass('flowmill.meta') IS NOT NULL", &[])
        .await?
        .first()
        .map(|row| row.try_get(0))
        .transpose()?;
    let mut format = 0;
    if has_meta == Some(true) {
        let rows = transaction
            .query("SELECT format, min_level::bigint FROM flowmill.meta", &[])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(Err(OpenError::Incomplete));
        };
        let needed: i64 = row.try_get(1)?;
        if needed > i64::from(level) {
            return Ok(Err(OpenError::Newer { needed, level }));
        }
        format = row.try_get(0)?;
    }
    // A format above the last one that is known here was made by a newer program that left this one
    // able to work with it.
    let missing = usize::try_from(format).map_or(&[][..], |format| {
        MIGRATIONS.get(format..).unwrap_or_default()
    });
    for script in missing {
        format += 1;
        transaction
            .script("SET LOCAL search_path = flowmill, pg_catalog")
            .await?;
        transaction.script(script).await?;
        transaction
            .execute(
                "INSERT INTO flowmill.meta (cluster, format, min_level)
                 VALUES (gen_random_uuid(), $1, 1)
                 ON CONFLICT (one) DO UPDATE SET format = excluded.format",
                &[(&format, Type::INT4)],
            )
            .await?;
    }
    transaction.commit().await?;
    Ok(Ok(()))
}

fn explain(failure: Failure) -> OpenError {
    match failure {
        Failure::Connect(error) => error.into(),
        Failure::Postgres(error)
            if error
                .as_db_error()
                .is_some_and(|error| error.message().contains("statement pooling")) =>
        {
            OpenError::StatementPooling
        }
        Failure::Postgres(error) if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => {
            OpenError::ReadOnly
        }
        Failure::Postgres(error) => OpenError::Failed(sentence(&error)),
        failure => OpenError::Failed(crate::store::Error::from(failure).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, OpenError};

    fn check(version: i32, server: &str) -> Result<(), OpenError> {
        let found = Found {
            version,
            server: server.to_owned(),
            role: "me".to_owned(),
            may_create_schema: true,
            has_schema: false,
            has_tables: false,
            has_meta: false,
            is_read_only: false,
        };
        found.check()
    }

    #[test]
    fn a_server_without_support_is_refused() {
        let found = "14".to_owned();
        assert_eq!(
            check(14_00_23, "PostgreSQL 14.23 on x86_64"),
            Err(OpenError::ServerTooOld { found })
        );
        assert_eq!(check(15_00_00, "PostgreSQL 15.0 on x86_64"), Ok(()));
        assert_eq!(check(18_00_01, "PostgreSQL 18.1 on x86_64"), Ok(()));
    }

    #[test]
    fn a_server_that_only_speaks_the_protocol_is_refused() {
        for (server, found) in [
            ("CockroachDB CCL v26.1", "CockroachDB"),
            ("PostgreSQL 15.12-YB-2025.2.0.0-b0 on x86_64", "YugabyteDB"),
        ] {
            let found = found.to_owned();
            assert_eq!(
                check(15_00_12, server),
                Err(OpenError::NotPostgres { found })
            );
        }
    }
}
