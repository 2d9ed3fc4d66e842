//! What has happened to jobs since some event: one statement for all who watch.

use std::borrow::Cow;

use tokio_postgres::types::Type;

use super::PostgresStore;
use super::fault::Failure;
use super::sessions::{Params, Session};
use super::values::{signed, unsigned};
use crate::job::JobId;
use crate::store::{Error, StoredEvent, Tail};

const TAILS: &str = "
    SELECT p.place, coalesce(j.status, a.status), e.id, e.kind, e.data
    FROM unnest($1, $2) WITH ORDINALITY AS p (job, after, place)
    JOIN flowmill.jobs j ON j.id = p.job
    LEFT JOIN flowmill.active a ON a.job = p.job
    LEFT JOIN LATERAL (
        SELECT id, kind, data FROM flowmill.events WHERE job = p.job AND id > p.after ORDER BY id LIMIT $3) e
        ON true
    ORDER BY p.place, e.id";

impl PostgresStore {
    pub(super) async fn tails(
        &self,
        positions: &[(JobId, u64)],
        most: usize,
    ) -> Result<Vec<Option<Tail>>, Error> {
        if positions.is_empty() {
            return Ok(Vec::new());
        }
        // What a client sends as its last event may be any number.
        let position = |(id, after): &(JobId, u64)| (*id, signed(*after));
        let (jobs, afters): (Vec<_>, Vec<_>) = positions.iter().map(position).unzip();
        self.sessions
            .run(move |session| Box::pin(read(session, jobs.clone(), afters.clone(), most)))
            .await
    }
}

async fn read(
    session: &mut Session,
    jobs: Vec<JobId>,
    afters: Vec<i64>,
    most: usize,
) -> Result<Vec<Option<Tail>>, Failure> {
    let most = signed(most);
    let parameters: Params<'_> = &[
        (&jobs, Type::UUID_ARRAY),
        (&afters, Type::INT8_ARRAY),
        (&most, Type::INT8),
    ];
    let mut tails: Vec<Option<Tail>> = vec![None; jobs.len()];
    for row in session.query(TAILS, parameters).await? {
        let place: i64 = row.try_get(0)?;
        let tail = usize::try_from(place - 1)
            .ok()
            .and_then(|index| tails.get_mut(index));
        let tail = tail.expect("places count from 1");
        let tail = match tail {
            Some(tail) => tail,
            None => tail.insert(Tail {
                status: row.try_get(1)?,
                events: Vec::new(),
            }),
        };
        if let Some(id) = row.try_get::<_, Option<i64>>(2)? {
            tail.events.push(StoredEvent {
                id: unsigned(id),
                kind: Cow::Owned(row.try_get(3)?),
                data: row.try_get(4)?,
            });
        }
    }
    Ok(tails)
}
