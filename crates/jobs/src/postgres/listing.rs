//! Pages of listings by keyset cursor on the id, each read from indexes however many jobs there are.
//!
//! `jobs` knows the status of a job that has ended, `active` that of any other. Where a filter names an
//! owner, workflows or a status, one short range is read for each combination of workflow and final
//! status, and one from `active`; the ranges are merged. A range is written as a comparison of rows and
//! sorted by all columns of its index, so that no other index can serve it: a planner whose
//! statistics are stale would otherwise walk the primary key past any number of jobs that the filter
//! leaves out.
//!
//! `created_at` is in no index: ids begin with the time they were made, and the greatest difference
//! between the two that ever occurred tells how far from a limit a range of ids has to begin.

use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::PostgresStore;
use super::fault::Failure;
use super::sessions::Session;
use super::values::{JOB_COLUMNS, JOB_TABLES, STATUSES, Time, job, number, signed};
use crate::id_time::{first_id, last_id};
use crate::job::{JobId, Status};
use crate::store::{Error, Filter, PAGE_BYTES, Page, PageInProgress};

impl PostgresStore {
    pub(super) async fn list(
        &self,
        filter: &Filter,
        cursor: Option<JobId>,
        most: usize,
    ) -> Result<Page, Error> {
        let filter = filter.clone();
        self.sessions
            .run(move |session| Box::pin(page(session, filter.clone(), cursor, most)))
            .await
    }
}

async fn page(
    session: &mut Session,
    filter: Filter,
    cursor: Option<JobId>,
    most: usize,
) -> Result<Page, Failure> {
    let mut page = PageInProgress::new(most);
    let is_bounded_by_time = filter.created_after.is_some() || filter.created_before.is_some();
    let id_skew_ms = if is_bounded_by_time {
        id_skew_ms(session).await?
    } else {
        0
    };
    // One more than the page holds tells whether another page follows.
    let Some(query) = Query::new(&filter, cursor, most.saturating_add(1), id_skew_ms) else {
        return Ok(page.end());
    };
    for row in session.query(&query.sql, &query.parameters()).await? {
        let is_in = match job(&row) {
            Ok(job) => page.add(job),
            // One that cannot be read does not take the others with it.
            Err(error) => {
                tracing::error!(%error, "a job cannot be read and is left out of the listing");
                page.pass_over(row.try_get(0)?)
            }
        };
        if !is_in {
            break;
        }
    }
    Ok(page.end())
}

async fn id_skew_ms(session: &mut Session) -> Result<u64, Failure> {
    let rows = session
        .query("SELECT id_skew_ms FROM flowmill.meta", &[])
        .await?;
    let ms: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(ms.unsigned_abs())
}

struct Query {
    sql: String,
    values: Values,
}

impl Query {
    /// `None` if no job can meet the conditions.
    fn new(filter: &Filter, cursor: Option<JobId>, most: usize, id_skew_ms: u64) -> Option<Self> {
        let workflows = workflows(filter);
        if workflows.as_ref().is_some_and(Vec::is_empty) {
            return None;
        }
        let mut values = Values::default();
        let most = values.bind(signed(most), Type::INT8);
        let (low, high) = ids(filter, cursor, id_skew_ms)?;
        let mut created = Vec::new();
        if let Some(after) = filter.created_after {
            let after = values.bind(Time(after), Type::TIMESTAMPTZ);
            created.push(format!("j.created_at > {after}"));
        }
        if let Some(before) = filter.created_before {
            let before = values.bind(Time(before), Type::TIMESTAMPTZ);
            created.push(format!("j.created_at < {before}"));
        }
        let mut ranges = Ranges {
            low: values.bind(low, Type::UUID),
            high: values.bind(high, Type::UUID),
            owner: filter
                .owner
                .clone()
                .map(|owner| values.bind(owner, Type::TEXT)),
            workflows: workflows.map(|names| values.bind(names, Type::TEXT_ARRAY)),
            most,
            created: (!created.is_empty()).then(|| created.join(" AND ")),
            all: Vec::new(),
        };
        if filter.status.is_none() && ranges.owner.is_none() && ranges.workflows.is_none() {
            ranges.all_jobs();
        } else {
            let wanted = STATUSES
                .into_iter()
                .filter(|status| filter.status.is_none_or(|wanted| wanted == *status));
            let (ended, active): (Vec<_>, Vec<_>) = wanted.partition(|status| status.is_final());
            if !ended.is_empty() {
                let ended = ended.into_iter().map(number).collect::<Vec<_>>();
                let ended = values.bind(ended, Type::INT2_ARRAY);
                ranges.ended(&ended);
            }
            ranges.active(&active);
        }
        Some(Self {
            sql: ranges.sql(),
            values,
        })
    }

    fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.values
            .0
            .iter()
            .map(|(value, of)| (&**value as _, of.clone()))
            .collect()
    }
}

/// The values of a statement, in the order of their numbers.
#[derive(Default)]
struct Values(Vec<(Box<dyn ToSql + Sync + Send>, Type)>);

impl Values {
    /// Returns how the statement refers to it: `$1`.
    fn bind(&mut self, value: impl ToSql + Sync + Send + 'static, of: Type) -> String {
        self.0.push((Box::new(value), of));
        format!("${}", self.0.len())
    }
}

/// The ranges of a listing, with the references to the values that they share.
struct Ranges {
    /// The ids between which its jobs are, both included.
    low: String,
    high: String,
    owner: Option<String>,
    workflows: Option<String>,
    most: String,
    /// What holds for `created_at` of `jobs j`.
    created: Option<String>,
    all: Vec<String>,
}

impl Ranges {
    fn all_jobs(&mut self) {
        let (
            Self {
                low, high, most, ..
            },
            created,
        ) = (&*self, self.created());
        let range = format!(
            "SELECT j.id FROM flowmill.jobs j WHERE j.id BETWEEN {low} AND {high}{created}
             ORDER BY j.id DESC LIMIT {most}"
        );
        self.all.push(range);
    }

    /// A range for each workflow and status of the array.
    fn ended(&mut self, statuses: &str) {
        let (
            Self {
                low, high, most, ..
            },
            created,
        ) = (&*self, self.created());
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        let mut sets = vec![format!("unnest({statuses}) AS s (status)")];
        if let Some(owner) = &self.owner {
            columns.push("j.owner");
            values.push(&**owner);
        }
        if let Some(workflows) = &self.workflows {
            sets.push(format!("unnest({workflows}) AS w (workflow)"));
            columns.push("j.workflow");
            values.push("w.workflow");
        }
        columns.push("j.status");
        values.push("s.status");
        let is_owned = match &self.owner {
            Some(_) => " AND j.owner IS NOT NULL",
            None => "",
        };
        let order = order(&columns, "j.id");
        let (columns, values) = (columns.join(", "), values.join(", "));
        let sets = sets.join(" CROSS JOIN ");
        let range = format!(
            "SELECT r.id FROM {sets} CROSS JOIN LATERAL (
                 SELECT j.id FROM flowmill.jobs j
                 WHERE ({columns}, j.id) >= ({values}, {low}) AND ({columns}, j.id) <= ({values}, {high})
                     AND j.status IS NOT NULL{is_owned}{created}
                 ORDER BY {order} LIMIT {most}) r"
        );
        self.all.push(range);
    }

    fn active(&mut self, statuses: &[Status]) {
        let of = |status: Status| {
            statuses
                .contains(&status)
                .then(|| number(status).to_string())
        };
        let queued = [Status::Pending, Status::Waiting]
            .into_iter()
            .filter_map(of);
        if self.owner.is_some() {
            let queued: Vec<_> = queued.collect();
            if !queued.is_empty() {
                self.queued_of_owner(&queued.join(", "));
            }
        } else {
            queued.for_each(|status| self.queued(&status));
        }
        let running: Vec<_> = [Status::Running, Status::Cancelling]
            .into_iter()
            .filter_map(of)
            .collect();
        if !running.is_empty() {
            self.running(&running.join(", "));
        }
    }

    /// What is pending, or what is parked: a range for each workflow.
    fn queued(&mut self, status: &str) {
        let Self {
            low, high, most, ..
        } = &*self;
        let created = self.created_of_active();
        let first = format!("a.status = {status} ORDER BY a.workflow");
        let next = format!("a.status = {status} AND a.workflow > w.workflow ORDER BY a.workflow");
        let (with, workflows) = self.each_workflow(&first, &next);
        let range = format!(
            "{with}SELECT r.job FROM {workflows} CROSS JOIN LATERAL (
                 SELECT a.job FROM flowmill.active a
                 WHERE (a.workflow, a.job) >= (w.workflow, {low})
                     AND (a.workflow, a.job) <= (w.workflow, {high})
                     AND a.status = {status}{created}
                 ORDER BY a.workflow DESC, a.job DESC LIMIT {most}) r"
        );
        self.all.push(range);
    }

    /// What is pending or parked and belongs to the owner: a range for each workflow.
    fn queued_of_owner(&mut self, statuses: &str) {
        let Self {
            low, high, most, ..
        } = &*self;
        let created = self.created_of_active();
        let owner = self.owner.as_deref().unwrap_or("NULL");
        let first = format!("a.owner = {owner} ORDER BY a.owner, a.workflow");
        let next = format!(
            "a.owner <= {owner} AND (a.owner, a.workflow) > ({owner}, w.workflow)
             ORDER BY a.owner, a.workflow"
        );
        let (with, workflows) = self.each_workflow(&first, &next);
        let range = format!(
            "{with}SELECT r.job FROM {workflows} CROSS JOIN LATERAL (
                 SELECT a.job FROM flowmill.active a
                 WHERE (a.owner, a.workflow, a.job) >= ({owner}, w.workflow, {low})
                     AND (a.owner, a.workflow, a.job) <= ({owner}, w.workflow, {high})
                     AND a.owner IS NOT NULL AND a.status IN ({statuses}){created}
                 ORDER BY a.owner DESC, a.workflow DESC, a.job DESC LIMIT {most}) r"
        );
        self.all.push(range);
    }

    /// The workflows as `w`, with what has to stand before the statement. Where the filter names none,
    /// they are found by jumps in an index: to the `first` one, and to the `next` one after `w`.
    fn each_workflow(&self, first: &str, next: &str) -> (String, String) {
        let Some(workflows) = &self.workflows else {
            let of_active = "SELECT a.workflow FROM flowmill.active a WHERE";
            let with = format!(
                "WITH RECURSIVE w (workflow) AS (
                     ({of_active} {first} LIMIT 1)
                     UNION ALL
                     SELECT ({of_active} {next} LIMIT 1) FROM w WHERE w.workflow IS NOT NULL) "
            );
            return (with, "w".to_owned());
        };
        (
            String::new(),
            format!("unnest({workflows}) AS w (workflow)"),
        )
    }

    /// What runs: so few that all of it can be looked at. `OFFSET 0` keeps the planner from looking for
    /// it among all that is queued.
    fn running(&mut self, statuses: &str) {
        let Self {
            low, high, most, ..
        } = &*self;
        let created = self.created_of_active();
        let of_workflow = match &self.workflows {
            Some(workflows) => format!(" AND a.workflow = ANY ({workflows})"),
            None => String::new(),
        };
        let of_owner = match &self.owner {
            Some(owner) => format!(" AND a.owner = {owner}"),
            None => String::new(),
        };
        let range = format!(
            "SELECT a.job FROM (
                 SELECT job, workflow, owner, status FROM flowmill.active
                 WHERE status IN (1, 2) OFFSET 0) a
             WHERE a.status IN ({statuses}) AND a.job BETWEEN {low} AND {high}
                 {of_workflow}{of_owner}{created}
             ORDER BY a.job DESC LIMIT {most}"
        );
        self.all.push(range);
    }

    /// From `AND` on. `CASE` keeps the planner from expecting few jobs, for which it would read all.
    fn created(&self) -> String {
        match &self.created {
            Some(created) => format!(" AND CASE WHEN {created} THEN true END"),
            None => String::new(),
        }
    }

    /// As [`created`](Self::created), for a job in `active a`.
    fn created_of_active(&self) -> String {
        match &self.created {
            Some(created) => {
                format!(" AND (SELECT {created} FROM flowmill.jobs j WHERE j.id = a.job)")
            }
            None => String::new(),
        }
    }

    /// The newest jobs of all ranges, up to the one with which they take more bytes than a page may,
    /// and one more: it says that another page follows.
    fn sql(&self) -> String {
        let ranges: Vec<_> = self.all.iter().map(|range| format!("({range})")).collect();
        let (ranges, most) = (ranges.join(" UNION ALL "), &self.most);
        format!(
            "WITH page AS (SELECT r.id FROM ({ranges}) r (id) ORDER BY r.id DESC LIMIT {most}),
             sized AS (
                 SELECT p.id, coalesce(octet_length(j.metadata), 0) + coalesce(octet_length(j.problem), 0)
                     + coalesce(octet_length(j.usage), 0) + coalesce(octet_length(j.error), 0) AS bytes
                 FROM page p JOIN flowmill.jobs j ON j.id = p.id),
             placed AS (
                 SELECT s.id, coalesce(sum(s.bytes) OVER (ORDER BY s.id DESC
                     ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING), 0) AS bytes_before
                 FROM sized s)
             SELECT {JOB_COLUMNS} FROM {JOB_TABLES} JOIN placed p ON p.id = j.id
             WHERE p.bytes_before <= {PAGE_BYTES} ORDER BY j.id DESC"
        )
    }
}

/// The order of an index from its end.
fn order(columns: &[&str], id: &str) -> String {
    let columns = columns.iter().chain([&id]);
    let backwards: Vec<_> = columns.map(|column| format!("{column} DESC")).collect();
    backwards.join(", ")
}

/// The workflows that a filter leaves; `None`: all.
fn workflows(filter: &Filter) -> Option<Vec<String>> {
    match (&filter.workflow, &filter.workflows) {
        (None, None) => None,
        (None, Some(names)) => Some(names.iter().cloned().collect()),
        (Some(name), Some(names)) if !names.contains(name) => Some(Vec::new()),
        (Some(name), _) => Some(vec![name.clone()]),
    }
}

/// The least and the greatest id that a page's jobs can have; `None` if there is none between.
fn ids(filter: &Filter, cursor: Option<JobId>, skew_ms: u64) -> Option<(JobId, JobId)> {
    let low = match filter.created_after {
        Some(after) => first_id(after, skew_ms),
        None => JobId(Uuid::nil()),
    };
    let mut high = match filter.created_before {
        Some(before) => last_id(before, skew_ms),
        None => JobId(Uuid::max()),
    };
    if let Some(cursor) = cursor {
        let before = JobId(Uuid::from_u128(cursor.0.as_u128().checked_sub(1)?));
        high = high.min(before);
    }
    (low <= high).then_some((low, high))
}
