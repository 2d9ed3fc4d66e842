//! Pages of a store with very many jobs, and what is read for them.

use std::collections::BTreeSet;
use std::iter;

use jiff::Timestamp;
use jobs::job::{JobId, Status};
use jobs::store::{Filter, JobStore};
use testing::postgres::Database;
use uuid::Uuid;

use super::filled::{rows_read, without_autovacuum};
use super::open;

const PAGE: usize = 50;

/// What is read for a page of that length, at most: some entries in each of the ranges, and the rows.
const MOST_READ: i64 = 1_500;

/// A second after 1970 of the first job; each next job was made 10 ms later.
const FIRST: i64 = 1_780_000_000;

const INSERT: &str = "
    WITH new AS (
        SELECT n, (lpad(to_hex(FIRST::bigint * 1000 + n * 10), 12, '0') || lpad(to_hex(n), 20, '0'))::uuid AS id,
            WORKFLOW AS workflow, OWNER AS owner, STATUS AS status,
            to_timestamp(FIRST + n * 0.01) AS created_at
        FROM generate_series(SERIES) n),
    queued AS (
        INSERT INTO flowmill.active (job, workflow, owner, level, status, token, replica, attempts, starts)
        SELECT id, workflow, owner, 1, status, 1, CASE WHEN status IN (1, 2) THEN id END, 1, 1
        FROM new WHERE status NOT IN (3, 4, 5))
    INSERT INTO flowmill.jobs (id, workflow, owner, definition, created_at, level, status, completed_at)
    SELECT id, workflow, owner, 'h', created_at, 1,
        CASE WHEN status IN (3, 4, 5) THEN status END, CASE WHEN status IN (3, 4, 5) THEN now() END
    FROM new";

/// Inserts a job for each number of a series.
fn insert(database: &Database<'_>, series: &str, workflow: &str, owner: &str, status: &str) {
    let statement = INSERT
        .replace("FIRST", &FIRST.to_string())
        .replace("WORKFLOW", workflow)
        .replace("OWNER", owner)
        .replace("STATUS", status)
        .replace("SERIES", series);
    database.query(&statement);
}

/// 100,000 jobs. The oldest have what most of the newer ones do not have.
fn fill(database: &Database<'_>) {
    without_autovacuum(database);
    insert(database, "1, 600", "'rare'", "'ann'", "3 + n % 3");
    insert(database, "601, 1200", "'rare'", "'bob'", "0");
    insert(
        database,
        "1201, 1300",
        "'rare'",
        "'bob'",
        "CASE WHEN n % 2 = 0 THEN 1 ELSE 2 END",
    );
    insert(database, "1301, 1500", "'rare'", "'bob'", "6");
    insert(database, "1501, 30000", "'busy'", "'eve'", "3");
    // The planner learns this much, and nothing of what follows.
    database.query("ANALYZE flowmill.jobs, flowmill.active");
    insert(
        database,
        "30001, 80000",
        "'busy'",
        "CASE WHEN n % 9 = 0 THEN NULL ELSE 'eve' END",
        "3",
    );
    insert(database, "80001, 100000", "'busy'", "'eve'", "0");
}

fn id(number: u128) -> JobId {
    let ms = u128::try_from(FIRST * 1_000).unwrap() + number * 10;
    JobId(Uuid::from_u128((ms << 80) | number))
}

fn made(number: i64) -> Timestamp {
    Timestamp::from_millisecond(FIRST * 1_000 + number * 10).unwrap()
}

/// The numbers of a page's jobs.
async fn check(database: &Database<'_>, filter: &Filter, expected: impl Iterator<Item = u128>) {
    let (rows, page) = rows_read(database, async |store| {
        store.list(filter, None, PAGE).await.unwrap()
    })
    .await;
    let found: Vec<_> = page.jobs.iter().map(|job| job.id).collect();
    let expected: Vec<_> = expected.take(PAGE).map(id).collect();
    assert_eq!(found, expected, "{filter:?}");
    assert!(rows < MOST_READ, "{filter:?}: {rows} rows were read");
}

fn is_ended(status: Status, number: u128) -> bool {
    let at = match status {
        Status::Completed => 0,
        Status::Failed => 1,
        Status::Cancelled => 2,
        Status::Pending | Status::Running | Status::Waiting | Status::Cancelling => return false,
    };
    number % 3 == at
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_very_many_jobs_is_read_from_an_index_whatever_the_planner_believes() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    open(&database).await;
    fill(&database);
    let any = Filter::default();
    let of = |status| Filter {
        status: Some(status),
        ..any.clone()
    };
    check(&database, &any, (1..=100_000).rev()).await;
    check(&database, &of(Status::Pending), (80_001..=100_000).rev()).await;
    check(&database, &of(Status::Completed), (30_001..=80_000).rev()).await;
    check(&database, &of(Status::Waiting), (1_301..=1_500).rev()).await;
    let running = (1_201..=1_300).rev();
    check(
        &database,
        &of(Status::Running),
        running.clone().filter(|n| n % 2 == 0),
    )
    .await;
    check(
        &database,
        &of(Status::Cancelling),
        running.clone().filter(|n| n % 2 == 1),
    )
    .await;
    for status in [Status::Failed, Status::Cancelled] {
        check(
            &database,
            &of(status),
            (1..=600).rev().filter(|n| is_ended(status, *n)),
        )
        .await;
    }
    for rare in [
        Filter {
            workflow: Some("rare".into()),
            ..any.clone()
        },
        Filter {
            workflows: Some(["rare", "other"].map(str::to_owned).into()),
            ..any.clone()
        },
    ] {
        let of = |status| Filter {
            status: Some(status),
            ..rare.clone()
        };
        check(&database, &rare, (1..=1_500).rev()).await;
        check(&database, &of(Status::Pending), (601..=1_200).rev()).await;
        check(&database, &of(Status::Waiting), (1_301..=1_500).rev()).await;
        check(
            &database,
            &of(Status::Running),
            running.clone().filter(|n| n % 2 == 0),
        )
        .await;
        for status in [Status::Completed, Status::Failed, Status::Cancelled] {
            check(
                &database,
                &of(status),
                (1..=600).rev().filter(|n| is_ended(status, *n)),
            )
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_owner_or_a_time_is_read_from_an_index_whatever_the_planner_believes() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    open(&database).await;
    fill(&database);
    let any = Filter::default();
    let owned = |name: &str| Filter {
        owner: Some(name.to_owned()),
        ..any.clone()
    };
    let failed = |filter: Filter| Filter {
        status: Some(Status::Failed),
        ..filter
    };
    let of_rare = |filter: Filter| Filter {
        workflow: Some("rare".into()),
        ..filter
    };
    let ended = |status| (1..=600).rev().filter(move |n| is_ended(status, *n));
    check(&database, &owned("ann"), (1..=600).rev()).await;
    check(&database, &owned("bob"), (601..=1_500).rev()).await;
    check(&database, &owned("nobody"), iter::empty()).await;
    check(&database, &failed(owned("ann")), ended(Status::Failed)).await;
    check(&database, &failed(owned("bob")), iter::empty()).await;
    check(&database, &of_rare(owned("ann")), (1..=600).rev()).await;
    check(
        &database,
        &failed(of_rare(owned("ann"))),
        ended(Status::Failed),
    )
    .await;
    // Of the one who has nearly all.
    check(&database, &of_rare(owned("eve")), iter::empty()).await;
    check(&database, &failed(owned("eve")), iter::empty()).await;
    let between = Filter {
        created_after: Some(made(40_000)),
        created_before: Some(made(40_041)),
        ..any.clone()
    };
    check(&database, &between, (40_001..=40_040).rev()).await;
    let by_eve = Filter {
        owner: Some("eve".into()),
        ..between.clone()
    };
    check(
        &database,
        &by_eve,
        (40_001..=40_040).rev().filter(|n| n % 9 != 0),
    )
    .await;
    check(&database, &of_rare(between.clone()), iter::empty()).await;
    check(&database, &failed(between), iter::empty()).await;
    let old = Filter {
        created_before: Some(made(602)),
        ..of_rare(any)
    };
    check(&database, &old, (1..=601).rev()).await;
}

#[tokio::test]
async fn pages_of_a_filter_neither_skip_nor_repeat_across_its_ranges() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let store = open(&database).await;
    insert(
        &database,
        "1, 300",
        "CASE n % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'b' ELSE 'c' END",
        "'ann'",
        "n % 7",
    );
    for owner in [None, Some("ann".to_owned())] {
        let filter = Filter {
            workflows: Some(BTreeSet::from(["a".to_owned(), "b".to_owned()])),
            owner,
            ..Filter::default()
        };
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.list(&filter, cursor, 7).await.unwrap();
            seen.extend(page.jobs.iter().map(|job| job.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let expected: Vec<_> = (1..=300).rev().filter(|n| n % 3 != 2).map(id).collect();
        assert_eq!(seen, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn the_positions_of_all_who_watch_are_read_by_one_statement() {
    let Some(database) = testing::postgres::database() else {
        return;
    };
    let store = open(&database).await;
    insert(&database, "1, 1000", "'w'", "NULL", "n % 6");
    database.query(
        "INSERT INTO flowmill.events SELECT id, event, 'k', '{}'
         FROM flowmill.jobs, generate_series(1, 3) event",
    );
    let positions: Vec<_> = (1..=1_001_u64).map(|n| (id(n.into()), n % 4)).collect();
    let before = store.activity().statements;
    let tails = store.tails(&positions, 2).await.unwrap();
    assert_eq!(store.activity().statements - before, 1);
    assert_eq!(tails.len(), 1_001);
    assert_eq!(tails[1_000], None);
    for ((job, after), tail) in positions.iter().zip(&tails).take(1_000) {
        let tail = tail.as_ref().unwrap();
        let ids: Vec<_> = tail.events.iter().map(|event| event.id).collect();
        let expected: Vec<_> = (after + 1..=3).take(2).collect();
        assert_eq!(ids, expected, "{job}");
        assert_eq!(
            Some(tail.status),
            store.get(*job).await.unwrap().map(|job| job.status)
        );
    }
}
