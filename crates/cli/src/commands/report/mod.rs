//! `flowmill report`: what runs took and cost, from a server's jobs or a store file. Read page by page and
//! summed up as it comes, so that a store of any size will do.

mod layout;

use std::time::Duration;

use clap::ValueEnum;
use engine::host::Host as _;
use jiff::Timestamp;
use serde_json::json;
use service::report::{By, Facts, Report};

use self::layout::Columns;
use super::Context;
use super::jobs::{Listing, Source};
use crate::config::jobs::Options;
use crate::config::log::Level;
use crate::config::store::Store;
use crate::config::units::Age;
use crate::host::Machine;
use crate::report::{Exit, Failure, Result};
use crate::{logging, printer};

/// Sum up what runs took and cost
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowmill report costs --since 30d --by model
  flowmill report runs --store sqlite:flowmill.db --format csv > runs.csv")]
pub(super) struct Args {
    /// What to report
    #[arg(value_enum)]
    what: What,

    /// Runs accepted since then: how long ago, such as 24h or 7d, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", default_value = "7d")]
    since: Moment,

    /// Runs accepted before then, written likewise [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,

    /// What to sum up by
    #[arg(long, value_enum, default_value_t)]
    by: Grouping,

    /// Only runs of this workflow
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,

    /// What stdout gets
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,

    #[command(flatten)]
    options: Options,

    /// Open this store, sqlite:PATH, instead of asking a server; no server may be using it
    #[arg(long, value_name = "STORE")]
    store: Option<Store>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Model calls, tokens and US dollars
    Costs,
    /// How many ended how, how long they took, and what they cost
    Runs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Grouping {
    /// The workflow's name
    #[default]
    Workflow,
    /// Each node that asked a model
    Node,
    /// Each model that answered
    Model,
    /// The key that made the job; only a store file tells it
    Key,
}

impl From<Grouping> for By {
    fn from(grouping: Grouping) -> Self {
        match grouping {
            Grouping::Workflow => Self::Workflow,
            Grouping::Node => Self::Node,
            Grouping::Model => Self::Model,
            Grouping::Key => Self::Key,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// Columns with a total.
    #[default]
    Table,
    /// Comma-separated values with a heading, without the total.
    Csv,
    /// One document: all columns, total and price tables.
    Json,
}

/// A moment as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Ago(Duration),
    At(Timestamp),
}

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        text.parse().map(|Age(ago)| Self::Ago(ago)).map_err(|_| {
            format!("`{text}` is no time; write how long ago, such as 7d, or 2026-01-31T12:00:00Z")
        })
    }
}

impl Moment {
    /// The beginning of time where it is longer ago than that.
    fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }
}

pub(super) fn report(args: &Args, context: &Context) -> Result<Exit> {
    logging::start(
        &context.log,
        context.environment.rust_log().as_deref(),
        Level::Warn,
    );
    if args.store.is_some() && context.is_flag("server") {
        return Err(Failure::usage(
            "--server and --store are two answers to one question; give one",
        ));
    }
    if args.by == Grouping::Key && args.store.is_none() {
        return Err(Failure::usage("a server does not say which key made a job")
            .hint("stop it and name its store file: --store sqlite:PATH"));
    }
    let now = Machine::new().now();
    let since = args.since.from(now);
    let until = args.until.map(|until| until.from(now));
    let listing = Listing {
        workflow: args.workflow.clone(),
        // The listing's bound is exclusive.
        created_after: Some(before(since).to_string()),
        created_before: until.map(|until| until.to_string()),
        ..Listing::default()
    };
    let options = args.options.clone().or(&context.project.jobs);
    let source = Source::open(args.store.as_ref(), &options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Io, format!("the runtime could not start: {error}")))?;
    let report = runtime.block_on(sum_up(&source, &listing, args.by.into()))?;
    let columns = match args.what {
        What::Costs => Columns::costs(args.by.into()),
        What::Runs => Columns::runs(args.by.into()),
    };
    match args.format {
        Format::Table => {
            printer::data(&columns.table(&report.rows(), &report.total()))?;
            let unpriced = report.total().unpriced_runs;
            if unpriced > 0 {
                printer::note(&format!(
                    "{unpriced} of the runs asked a model without a known price: the costs are too low by theirs (--prices gives one)"
                ));
            }
        }
        Format::Csv => printer::data(&columns.csv(&report.rows()))?,
        Format::Json => {
            let document = json!({
                "report": match args.what { What::Costs => "costs", What::Runs => "runs" },
                "by": By::from(args.by),
                "since": since,
                "until": until.unwrap_or(now),
                "rows": report.rows(),
                "total": report.total(),
                "price_tables": report.price_tables().collect::<Vec<_>>(),
            });
            printer::data(&document.to_string())?;
        }
    }
    Ok(Exit::Success)
}

async fn sum_up(source: &Source, listing: &Listing, by: By) -> Result<Report> {
    let mut report = Report::new(by);
    let mut cursor = None;
    loop {
        let (jobs, next) = source.page(listing, cursor.as_deref()).await?;
        for job in jobs {
            let facts: Facts = serde_json::from_value(job).map_err(|error| {
                Failure::new(Exit::Failed, format!("a job cannot be read: {error}"))
                    .hint("was it made by another version of flowmill?")
            })?;
            report.add(&facts);
        }
        cursor = next;
        if cursor.is_none() {
            return Ok(report);
        }
    }
}

/// The moment right before.
fn before(at: Timestamp) -> Timestamp {
    at.checked_sub(jiff::SignedDuration::from_nanos(1))
        .unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().expect("a time");
        let check = |text: &str, expected: &str| {
            let moment: Moment = text.parse().expect("a moment");
            assert_eq!(moment.from(now).to_string(), expected, "{text}");
        };
        check("24h", "2026-11-24T12:00:00Z");
        check("7d", "2026-11-18T12:00:00Z");
        check("0", "2026-11-25T12:00:00Z");
        check("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z");
        for text in ["soon", "", "yesterday"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }
}
