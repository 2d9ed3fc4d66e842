//! Pages of listings by keyset cursor on the id, each read from an index however many jobs there
//! are.
//!
//! Ids lead every listing index after the columns that are compared for equality, the last of which
//! is the status. Where a filter leaves the status open, one short range per status is read and
//! merged. `created_at` is in no index: ids begin with the time they were made, and the greatest
//! difference between the two that ever occurred tells how far from a limit a range of ids has to
//! begin.

use std::collections::BTreeSet;

use rusqlite::types::ToSql;
use rusqlite::{Connection, params_from_iter};

use super::fault::is_unreadable;
use super::values::{JOB_COLUMNS, JOB_TABLES, STATUSES, Time, job, limit, number};
use crate::id_time::{first_id, last_id};
use crate::job::JobId;
use crate::store::{Filter, Page, PageInProgress};

pub(super) fn page(
    connection: &Connection,
    filter: &Filter,
    cursor: Option<JobId>,
    most: usize,
    id_skew_ms: u64,
) -> rusqlite::Result<Page> {
    // One more than the page holds tells whether another page follows.
    let query = Query::new(filter, cursor, most.saturating_add(1), id_skew_ms);
    let mut statement = connection.prepare_cached(&query.sql())?;
    let mut rows = statement.query(params_from_iter(&query.values))?;
    let mut page = PageInProgress::new(most);
    while let Some(row) = rows.next()? {
        let is_in = match job(row) {
            Ok(job) => page.add(job),
            // One that cannot be read does not take the others with it.
            Err(error) if is_unreadable(&error) => {
                tracing::error!(%error, "a job cannot be read and is left out of the listing");
                match row.get(0) {
                    Ok(id) => page.pass_over(id),
                    Err(_) => true,
                }
            }
            Err(error) => return Err(error),
        };
        if !is_in {
            break;
        }
    }
    Ok(page.end())
}

struct Query {
    index: &'static str,
    /// A range is read for each; empty: the one range of all jobs.
    statuses: Vec<u8>,
    /// What holds in each range, with the values in their order.
    conditions: Vec<String>,
    values: Vec<Box<dyn ToSql>>,
}

impl Query {
    fn new(filter: &Filter, cursor: Option<JobId>, most: usize, id_skew_ms: u64) -> Self {
        let (of_owner, of_workflow) = (filter.owner.is_some(), filter.workflow.is_some());
        let index = match (of_owner, of_workflow) {
            (true, true) => "jobs_by_owner_and_workflow",
            (true, false) => "jobs_by_owner",
            (false, true) => "jobs_by_workflow",
            (false, false) if filter.status.is_some() => "jobs_by_status",
            (false, false) => "jobs_by_id",
        };
        let mut query = Self {
            index,
            statuses: filter.status.map(number).into_iter().collect(),
            conditions: Vec::new(),
            // `LIMIT ?1`
            values: vec![Box::new(limit(most))],
        };
        if query.statuses.is_empty() && (of_owner || of_workflow) {
            query.statuses = STATUSES.map(number).to_vec();
        }
        let Filter {
            workflow,
            status: _,
            created_after,
            created_before,
            owner,
            workflows,
        } = filter;
        if let Some(owner) = owner {
            query.and("owner =", owner.clone());
        }
        if let Some(workflow) = workflow {
            query.and("workflow =", workflow.clone());
        }
        if let Some(workflows) = workflows {
            query.and_one_of("workflow", workflows);
        }
        if let Some(cursor) = cursor {
            query.and("id <", cursor);
        }
        if let Some(after) = *created_after {
            query.and("id >=", first_id(after, id_skew_ms));
            query.and("created_at >", Time(after));
        }
        if let Some(before) = *created_before {
            query.and("id <=", last_id(before, id_skew_ms));
            query.and("created_at <", Time(before));
        }
        query
    }

    fn and(&mut self, condition: &str, value: impl ToSql + 'static) {
        self.values.push(Box::new(value));
        let number = self.values.len();
        self.conditions.push(format!("{condition} ?{number}"));
    }

    fn and_one_of(&mut self, column: &str, values: &BTreeSet<String>) {
        let mut numbers = Vec::new();
        for value in values {
            self.values.push(Box::new(value.clone()));
            numbers.push(format!("?{}", self.values.len()));
        }
        self.conditions
            .push(format!("{column} IN ({})", numbers.join(", ")));
    }

    fn sql(&self) -> String {
        let ranges: Vec<_> = match &*self.statuses {
            [] => vec![self.range(None)],
            statuses => statuses
                .iter()
                .map(|status| self.range(Some(*status)))
                .collect(),
        };
        let ranges = ranges.join(" UNION ALL ");
        format!(
            "SELECT {JOB_COLUMNS} FROM {JOB_TABLES}
             WHERE j.seq IN (SELECT seq FROM ({ranges}) ORDER BY id DESC LIMIT ?1)
             ORDER BY j.id DESC"
        )
    }

    fn range(&self, status: Option<u8>) -> String {
        let mut conditions = self.conditions.clone();
        conditions.extend(status.map(|status| format!("status = {status}")));
        let conditions = match &*conditions {
            [] => String::new(),
            all => format!("WHERE {}", all.join(" AND ")),
        };
        let index = self.index;
        format!(
            "SELECT * FROM (SELECT id, seq FROM jobs INDEXED BY {index} {conditions}
             ORDER BY id DESC LIMIT ?1)"
        )
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rusqlite::{Connection, params_from_iter};
    use uuid::Uuid;

    use super::Query;
    use crate::job::{JobId, Status};
    use crate::sqlite::open::migrate;
    use crate::store::Filter;

    fn plan(filter: &Filter) -> String {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let query = Query::new(filter, Some(JobId(Uuid::from_u128(9))), 201, 0);
        let sql = format!("EXPLAIN QUERY PLAN {}", query.sql());
        let mut statement = connection.prepare(&sql).unwrap();
        let lines: Vec<String> = statement
            .query_map(params_from_iter(&query.values), |row| row.get("detail"))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        lines.join("\n")
    }

    fn check(filter: &Filter, ranges: usize, index: &str) {
        let plan = plan(filter);
        let found = plan
            .lines()
            .filter(|line| line.starts_with("SEARCH jobs USING ") && line.contains(index));
        assert_eq!(found.count(), ranges, "{filter:?}\n{plan}");
        assert!(!plan.contains("SCAN jobs"), "{filter:?}\n{plan}");
        assert!(!plan.contains("SCAN j"), "{filter:?}\n{plan}");
    }

    #[test]
    fn every_filter_has_its_index() {
        let time = Some(Timestamp::UNIX_EPOCH);
        for (created_after, created_before) in [(None, None), (time, None), (None, time)] {
            let any = Filter {
                created_after,
                created_before,
                ..Filter::default()
            };
            let of_status = |filter: &Filter| Filter {
                status: Some(Status::Failed),
                ..filter.clone()
            };
            let of_workflow = Filter {
                workflow: Some("w".into()),
                ..any.clone()
            };
            let of_owner = Filter {
                owner: Some("o".into()),
                ..any.clone()
            };
            let of_both = Filter {
                owner: Some("o".into()),
                ..of_workflow.clone()
            };
            check(&any, 1, "jobs_by_id (id");
            check(&of_status(&any), 1, "jobs_by_status (status=? AND id");
            check(
                &of_workflow,
                7,
                "jobs_by_workflow (workflow=? AND status=? AND id",
            );
            check(
                &of_status(&of_workflow),
                1,
                "jobs_by_workflow (workflow=? AND status=? AND id",
            );
            check(&of_owner, 7, "jobs_by_owner (owner=? AND status=? AND id");
            check(
                &of_status(&of_owner),
                1,
                "jobs_by_owner (owner=? AND status=? AND id",
            );
            let index = "jobs_by_owner_and_workflow (owner=? AND workflow=? AND status=? AND id";
            check(&of_both, 7, index);
            check(&of_status(&of_both), 1, index);
        }
    }
}
