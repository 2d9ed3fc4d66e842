//! `flowmill report`: durations and costs of runs, from a server or a store. Jobs are read page
//! by page and summed up on the way, so that memory does not grow with the store.

mod layout;
mod spread;
mod totals;

use std::collections::HashMap;

use clap::ValueEnum;
use engine::host::Host as _;
use jiff::Timestamp;
use serde_json::json;

use self::layout::Columns;
use self::totals::{By, Facts, Report};
use super::backend::{self, Backend};
use super::context::Context;
use super::jobs::{JobSource, Listing};
use crate::config::log::Level;
use crate::config::units::Moment;
use crate::failure::{Exit, Failure, Result};
use crate::system_host::SystemHost;
use crate::{printer, runtime};

/// Sum up the durations and costs of runs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowmill report costs --since 30d --by model
  flowmill report runs --store sqlite:flowmill.db --format csv > runs.csv")]
pub(super) struct Args {
    /// What to report
    #[arg(value_enum)]
    what: What,

    /// Only runs accepted since: a duration before now, such as 24h or 7d, or a time such as
    /// 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = in_the_past)]
    since: Moment,

    /// Only runs accepted before: written like --since [default: now]
    #[arg(long, value_name = "TIME", value_parser = in_the_past)]
    until: Option<Moment>,

    /// What to group by
    #[arg(long, value_enum, default_value_t)]
    by: Grouping,

    /// Only runs of this workflow
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,

    /// Format of stdout
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,

    #[command(flatten)]
    backend: backend::Args,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Model calls, tokens and US dollars
    Costs,
    /// Numbers by status, durations and costs
    Runs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Grouping {
    /// The workflow's name
    #[default]
    Workflow,
    /// Each node that called a model
    Node,
    /// Each model that answered
    Model,
    /// The API key that created the job; only available from a store
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

fn in_the_past(text: &str) -> Result<Moment, String> {
    Moment::parse(text, "how long ago, such as 7d, or 2026-01-31T12:00:00Z")
}

pub(super) fn report(args: &Args, context: &Context) -> Result<Exit> {
    context.start_logging(Level::Warn);
    let backend = args.backend.clone().settle(context)?;
    if args.by == Grouping::Key && matches!(backend, Backend::Server(_)) {
        return Err(Failure::usage("a server does not say which key made a job")
            .hint("name its store with --store: postgres, or sqlite:PATH once it is stopped"));
    }
    let now = SystemHost::new().now();
    let since = args.since.before(now);
    let until = args.until.map(|until| until.before(now));
    let listing = Listing {
        workflow: args.workflow.clone(),
        // The listing's bound is exclusive.
        created_after: Some(before(since).to_string()),
        created_before: until.map(|until| until.to_string()),
        ..Listing::default()
    };
    let runtime = runtime::of_one_thread()?;
    let report = runtime.block_on(async {
        let source = JobSource::open(&backend).await?;
        sum_up(&source, &listing, args.by.into()).await
    })?;
    let columns = match args.what {
        What::Costs => Columns::costs(args.by.into()),
        What::Runs => Columns::runs(args.by.into()),
    };
    match args.format {
        Format::Table => {
            printer::data(&columns.table(&report.rows(), &report.total(), printer::stdout_look()))?;
            let unpriced = report.total().unpriced_runs;
            if unpriced > 0 {
                printer::note(&format!(
                    "{unpriced} of the runs called a model without a known price; their costs are missing here (give prices with --prices)"
                ));
            }
            let estimated = report.total().estimated_runs;
            if estimated > 0 {
                printer::note(&format!(
                    "the tokens of {estimated} of the runs are estimates in part: a provider left them out, or a call was broken off"
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

async fn sum_up(source: &JobSource, listing: &Listing, by: By) -> Result<Report> {
    let mut report = Report::new(by);
    let names = match by {
        By::Key => source.key_names().await?,
        By::Workflow | By::Node | By::Model => HashMap::new(),
    };
    let mut cursor = None;
    loop {
        let (jobs, next) = source.page(listing, cursor.as_deref()).await?;
        for mut job in jobs {
            if let Some(name) = job["owner"].as_str().and_then(|id| names.get(id)) {
                // Two keys may share a name: the id stays with it.
                job["owner"] = json!(format!(
                    "{name} ({})",
                    job["owner"].as_str().unwrap_or_default()
                ));
            }
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
            let moment = in_the_past(text).expect("a moment");
            assert_eq!(moment.before(now).to_string(), expected, "{text}");
        };
        check("24h", "2026-11-24T12:00:00Z");
        check("7d", "2026-11-18T12:00:00Z");
        check("0", "2026-11-25T12:00:00Z");
        check("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z");
        for text in ["soon", "", "yesterday"] {
            assert!(in_the_past(text).is_err(), "{text}");
        }
    }
}
