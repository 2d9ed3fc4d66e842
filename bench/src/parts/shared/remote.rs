//! What one server does for another: picks up its jobs, cancels its runs, shows their events.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testing::postgres::{Database, Server};
use testing::{FakeModel, Reply};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Bench, float, on, until};
use crate::load::{self, Question};
use crate::parts::jobs::submit;
use crate::parts::{milliseconds, start_model};
use crate::report::{Budget, Line};
use crate::target::Target;
use crate::watcher::{Arrivals, watch as follow};

const PICK_UP_MS: Budget = Budget::AtMost(60.0);
const CANCEL_MS: Budget = Budget::AtMost(250.0);
/// Either of them, with all signals lost.
const POLLED_MS: Budget = Budget::AtMost(1_500.0);
const LAG_MS: Budget = Budget::AtMost(350.0);
const QUERIES: Budget = Budget::AtMost(15.0);

/// Jobs that are watched by many.
const WATCHED: usize = 20;
/// How long the model of watched jobs takes: until all watchers are there.
const WATCHED_MODEL: Duration = Duration::from_secs(5);
/// How long the queries of watchers are counted.
const COUNTED: Duration = Duration::from_secs(10);

/// Whether servers hear of each other, or find out by looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    Signals,
    Looks,
}

impl Hearing {
    /// The options of a server: without signals, it listens where nobody is.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Signals => &[],
            Self::Looks => &[
                "--store-listen-url",
                "postgres://nobody@127.0.0.1:1/nothing",
            ],
        }
    }

    fn line(self, what: String, figure: f64, with_signals: Budget) -> Line {
        let (what, budget) = match self {
            Self::Signals => (what, with_signals),
            Self::Looks => (format!("{what}, all signals lost"), POLLED_MS),
        };
        Line::alone(what, "ms", &[figure]).within(budget)
    }
}

pub(in crate::parts) async fn pick_up(bench: &Bench, server: &Server) -> Result<Vec<Line>> {
    Ok(vec![
        picked_up(bench, server, Hearing::Signals).await?,
        picked_up(bench, server, Hearing::Looks).await?,
    ])
}

/// The server that has no room for a job leaves it to the other one.
async fn picked_up(bench: &Bench, server: &Server, hearing: Hearing) -> Result<Line> {
    let (_slow, slow) = start_model(Duration::from_secs(3_600))?;
    let (_fast, fast) = start_model(Duration::ZERO)?;
    let database = server.database();
    let url = database.url();
    let options = [&["--max-running", "1"], hearing.options()].concat();
    let full = bench
        .flowmill
        .start_with(slow, bench.folder(), &on(&url, &options))?;
    submit(&full, 1).await?;
    until("its only slot is taken", Duration::from_secs(10), || {
        database.count("SELECT count(*) FROM flowmill.active WHERE status = 1") == 1
    })
    .await?;
    let _free = bench
        .flowmill
        .start_with(fast, bench.folder(), &on(&url, hearing.options()))?;
    for number in 0..bench.scale.remote {
        submit(&full, 1).await?;
        tokio::time::sleep(unlike_a_poll(number)).await;
    }
    until("all have ended", Duration::from_secs(60), || {
        database.count("SELECT count(*) FROM flowmill.active") == 1
    })
    .await?;
    let late = percentile_of_starts(&database)?;
    let what = format!(
        "{} jobs picked up by another server: p99",
        bench.scale.remote
    );
    Ok(hearing.line(what, late, PICK_UP_MS))
}

fn percentile_of_starts(database: &Database<'_>) -> Result<f64> {
    let late = database.value(
        "SELECT percentile_disc(0.99) WITHIN GROUP
            (ORDER BY extract(epoch FROM started_at - created_at) * 1000)
        FROM flowmill.jobs
        WHERE completed_at IS NOT NULL AND id > (SELECT job FROM flowmill.active)",
    );
    late.parse().context("a time")
}

/// Pauses whose sum meets all moments between two polls.
fn unlike_a_poll(number: usize) -> Duration {
    Duration::from_millis(100 + number as u64 * 137 % 400)
}

pub(in crate::parts) async fn cancel(bench: &Bench, server: &Server) -> Result<Vec<Line>> {
    Ok(vec![
        cancelled(bench, server, Hearing::Signals).await?,
        cancelled(bench, server, Hearing::Looks).await?,
    ])
}

/// Asked of the server that does not run the job: until the model's client has left.
async fn cancelled(bench: &Bench, server: &Server, hearing: Hearing) -> Result<Line> {
    let model = FakeModel::answering(|_| Reply::hang());
    let database = server.database();
    let url = database.url();
    let start = || {
        bench.flowmill.start_with(
            model.address(),
            bench.folder(),
            &on(&url, hearing.options()),
        )
    };
    let (owner, other) = (start()?, start()?);
    let mut times = Vec::new();
    for number in 0..bench.scale.remote {
        let (ids, _) = submit(&owner, 1).await?;
        let limit = Duration::from_secs(30);
        until("the model is asked", limit, || model.in_flight() == 1).await?;
        tokio::time::sleep(unlike_a_poll(number)).await;
        let asked = Instant::now();
        load::ask_once(other.address, &Question::cancel(&ids[0])).await?;
        until("the call is aborted", limit, || model.in_flight() == 0).await?;
        times.push(milliseconds(asked.elapsed()));
    }
    let what = format!(
        "{} runs cancelled from another server: p99",
        bench.scale.remote
    );
    Ok(hearing.line(what, percentile_99(times)?, CANCEL_MS))
}

fn percentile_99(mut figures: Vec<f64>) -> Result<f64> {
    figures.sort_unstable_by(f64::total_cmp);
    let rank = (figures.len() * 99).div_ceil(100);
    let figure = figures.get(rank.saturating_sub(1));
    figure.copied().context("no figure")
}

/// Clients that watch jobs on the server that does not run them.
pub(in crate::parts) async fn watch(bench: &Bench, server: &Server) -> Result<Vec<Line>> {
    let [few, many] = bench.scale.watchers;
    let lag = lag(bench, server, many).await?;
    let with_few = queries(bench, server, few).await?;
    let with_many = queries(bench, server, many).await?;
    let queries = format!("{many} remote watchers: statements (reference: {few})");
    Ok(vec![
        Line::alone(
            format!("{many} remote watchers: p99 behind one on the server of the run"),
            "ms",
            &[lag],
        )
        .within(LAG_MS),
        Line::paired(
            queries,
            "/s",
            crate::report::Measure::Value,
            &[crate::report::Pair {
                reference: with_few,
                flowmill: with_many,
            }],
        )
        .within(QUERIES),
    ])
}

/// How much later an event arrives than at a client of the server that runs the job.
async fn lag(bench: &Bench, server: &Server, watchers: usize) -> Result<f64> {
    let (_model, model) = start_model(WATCHED_MODEL)?;
    let database = server.database();
    let url = database.url();
    let start = || {
        bench
            .flowmill
            .start_with(model, bench.folder(), &on(&url, &[]))
    };
    let (owner, other) = (start()?, start()?);
    let (ids, _) = submit(&owner, WATCHED).await?;
    let (begun, mut beginnings) = mpsc::unbounded_channel();
    let mut near = JoinSet::new();
    let mut far = JoinSet::new();
    for (number, id) in ids.iter().enumerate() {
        let begun = begun.clone();
        let watching = follow(owner.address, id.clone(), begun);
        near.spawn(async move { Ok::<_, anyhow::Error>((number, watching.await?)) });
    }
    for number in 0..watchers {
        let number = number % WATCHED;
        let watching = follow(other.address, ids[number].clone(), begun.clone());
        far.spawn(async move { Ok::<_, anyhow::Error>((number, watching.await?)) });
    }
    let submitted = Instant::now();
    for _ in 0..WATCHED + watchers {
        beginnings.recv().await.context("a watcher failed")?;
    }
    ensure!(
        submitted.elapsed() < WATCHED_MODEL,
        "the jobs ended before all watched"
    );
    let all_begun = Instant::now();
    let mut first: Vec<Arrivals> = vec![Arrivals::new(); WATCHED];
    while let Some(seen) = near.join_next().await {
        let (number, arrivals) = seen??;
        first[number] = arrivals;
    }
    let mut lags = Vec::new();
    while let Some(seen) = far.join_next().await {
        let (number, arrivals) = seen??;
        for (id, at) in &first[number] {
            // What was there before all watched is no news.
            if *at > all_begun {
                let arrived = arrivals.get(id).context("an event never arrived")?;
                lags.push(milliseconds(arrived.saturating_duration_since(*at)));
            }
        }
    }
    percentile_99(lags)
}

/// Statements per second of a server whose clients watch runs of another one, which wait for a
/// model.
async fn queries(bench: &Bench, server: &Server, watchers: usize) -> Result<f64> {
    let (_model, model) = start_model(Duration::from_secs(3_600))?;
    let database = server.database();
    let url = database.url();
    let start = || {
        bench
            .flowmill
            .start_with(model, bench.folder(), &on(&url, &[]))
    };
    let servers: [Target; 2] = [start()?, start()?];
    let (ids, _) = submit(&servers[0], WATCHED).await?;
    let count = || async {
        let before = database.statements_run();
        tokio::time::sleep(COUNTED).await;
        float(database.statements_run() - before) / COUNTED.as_secs_f64()
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    let unwatched = count().await;
    let (begun, mut beginnings) = mpsc::unbounded_channel();
    let mut watching = JoinSet::new();
    for number in 0..watchers {
        let id = ids[number % WATCHED].clone();
        watching.spawn(follow(servers[1].address, id, begun.clone()));
    }
    for _ in 0..watchers {
        beginnings.recv().await.context("a watcher failed")?;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let watched = count().await;
    // Both servers ask as much when nobody watches.
    Ok(watched - unwatched / 2.0)
}
