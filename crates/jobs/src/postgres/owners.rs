//! The unfinished jobs of each owner.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_postgres::types::Type;

use super::PostgresStore;
use super::sessions::Params;
use super::values::text;
use crate::store::{Error, Unfinished};

impl PostgresStore {
    pub(super) async fn unfinished(
        &self,
        owner: Option<&str>,
    ) -> Result<BTreeMap<Arc<str>, Unfinished>, Error> {
        let owner: Option<String> = owner.map(str::to_owned);
        self.sessions
            .run(move |session| {
                let owner = owner.clone();
                Box::pin(async move {
                    let parameters: Params<'_> = &[(&owner, Type::TEXT)];
                    let rows = session
                        .query(
                            "SELECT owner, status, count(*) FROM flowmill.active
                             WHERE owner IS NOT NULL AND ($1 IS NULL OR owner = $1)
                             GROUP BY owner, status",
                            parameters,
                        )
                        .await?;
                    let mut counted: BTreeMap<Arc<str>, Unfinished> = BTreeMap::new();
                    for row in &rows {
                        let number = usize::try_from(row.try_get::<_, i64>(2)?).unwrap_or(0);
                        let jobs = counted.entry(text(row, 0)?).or_default();
                        jobs.count(row.try_get(1)?, number);
                    }
                    Ok(counted)
                })
            })
            .await
    }
}
