//! `GET /jobs`: lists jobs, newest first, page by page.

use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use jiff::Timestamp;
use jobs::job::{JobId, Status};
use jobs::store::Filter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::App;
use crate::openapi::{JOBS, Operation, reference};
use crate::refusal::Refusal;
use crate::request::caller::Caller;
use crate::request::job_id;
use crate::views::Row;
use crate::views::fault::{FaultEntry, ParameterLocation};
use crate::views::reply;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;

pub(crate) fn docs() -> Operation {
    let time = json!({ "type": "string", "format": "date-time" });
    Operation::new(
        JOBS,
        "List jobs",
        "Newest first, without outputs. Pages neither skip nor repeat while jobs come and go.",
    )
    .query(
        "workflow",
        "Only jobs of this workflow.",
        &json!({ "type": "string" }),
    )
    .query(
        "status",
        "Only jobs with this status.",
        &reference("JobStatus"),
    )
    .query(
        "created_after",
        "Only jobs accepted after this time.",
        &time,
    )
    .query(
        "created_before",
        "Only jobs accepted before this time.",
        &time,
    )
    .query(
        "limit",
        "The most jobs per page.",
        &json!({ "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT }),
    )
    .query(
        "cursor",
        "The `next_cursor` of the previous page.",
        &json!({ "type": "string", "format": "uuid" }),
    )
    .answers::<JobPage<'_>>(200, "A page of jobs.")
    .validates()
    .may_be_unavailable()
}

/// A page of jobs, newest first.
#[derive(Serialize, JsonSchema)]
struct JobPage<'a> {
    jobs: Vec<Row<'a>>,
    /// Pass it as `cursor` for the next page; null on the last page.
    #[schemars(with = "Option<String>")]
    next_cursor: Option<JobId>,
}

pub(crate) async fn handle(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Refusal> {
    let ListQuery {
        mut filter,
        cursor,
        limit,
    } = ListQuery::read(&uri)?;
    filter.owner = caller.sees_jobs_of().map(|owner| owner.to_string());
    // A key whose workflows were restricted since then no longer sees the jobs of the others.
    filter.workflows = caller.workflows().cloned();
    let page = app
        .service()
        .list(&filter, cursor, limit)
        .await
        .map_err(|error| Refusal::store_failed(&error))?;
    let page = JobPage {
        jobs: page.jobs.iter().map(Row::from).collect(),
        next_cursor: page.next,
    };
    Ok(reply::json(StatusCode::OK, &page))
}

pub(crate) struct ListQuery {
    filter: Filter,
    cursor: Option<JobId>,
    pub(crate) limit: usize,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    workflow: Option<String>,
    status: Option<String>,
    created_after: Option<String>,
    created_before: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

impl ListQuery {
    /// Reads the query. Every faulty parameter is in the one refusal.
    pub(crate) fn read(uri: &Uri) -> Result<Self, Refusal> {
        let Ok(Query(given)) = Query::<Parameters>::try_from_uri(uri) else {
            return Err(FaultEntry::unreadable_query(uri).into());
        };
        let mut faults = Vec::new();
        let status = parse(
            "status",
            given.status,
            "enum",
            "Input should be a job status",
            &mut faults,
            |text| {
                Status::REACHABLE
                    .into_iter()
                    .find(|status| status.as_str() == text)
            },
        );
        let mut time = |name, text| {
            parse(
                name,
                text,
                "datetime_parsing",
                "Input should be an RFC 3339 timestamp",
                &mut faults,
                timestamp,
            )
        };
        let (created_after, created_before) = (
            time("created_after", given.created_after),
            time("created_before", given.created_before),
        );
        let message = format!("Input should be an integer from 1 to {MAX_LIMIT}");
        let limit = parse(
            "limit",
            given.limit,
            "int_parsing",
            &message,
            &mut faults,
            |text| {
                text.parse()
                    .ok()
                    .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            },
        );
        let cursor = parse(
            "cursor",
            given.cursor,
            "value_error",
            "Input should be a `next_cursor`",
            &mut faults,
            job_id::parse,
        );
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults));
        }
        let filter = Filter {
            workflow: given.workflow,
            status,
            created_after,
            created_before,
            // Set by the handler, not by the client.
            owner: None,
            workflows: None,
        };
        Ok(Self {
            filter,
            cursor,
            limit: limit.unwrap_or(DEFAULT_LIMIT),
        })
    }
}

/// The `+` of an offset arrives as a blank if a client forgot to encode it.
fn timestamp(text: &str) -> Option<Timestamp> {
    text.replace(' ', "+").parse().ok()
}

fn parse<T>(
    name: &str,
    text: Option<String>,
    kind: &'static str,
    message: &str,
    faults: &mut Vec<FaultEntry>,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let text = text?;
    let value = read(&text);
    if value.is_none() {
        faults.push(FaultEntry::parameter(
            ParameterLocation::Query,
            name,
            kind,
            message,
            &text,
        ));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_faults(query: &str, expected: &[&str]) {
        let uri: Uri = format!("/jobs?{query}").parse().unwrap();
        let faults = match ListQuery::read(&uri) {
            Ok(_) => Vec::new(),
            Err(Refusal::Invalid(faults)) => faults,
            Err(other) => panic!("{other:?}"),
        };
        let names: Vec<_> = faults
            .iter()
            .map(|fault| serde_json::to_value(fault).unwrap()["loc"][1].clone())
            .collect();
        assert_eq!(names, expected, "{query}");
    }

    #[test]
    fn filters_are_read() {
        check_faults("", &[]);
        check_faults("workflow=a%20b&status=failed&limit=200&unknown=1", &[]);
        check_faults(
            "created_after=2026-01-02T03:04:05Z&created_before=2026-01-02T03:04:05%2B01:00",
            &[],
        );
        check_faults("created_before=2026-01-02T03:04:05+01:00", &[]);
        check_faults("cursor=019abcde-0000-7000-8000-000000000000", &[]);
    }

    #[test]
    fn every_faulty_parameter_is_named() {
        check_faults("limit=0", &["limit"]);
        check_faults("limit=201", &["limit"]);
        check_faults(
            "status=done&created_after=yesterday&limit=x&cursor=x",
            &["status", "created_after", "limit", "cursor"],
        );
    }
}
