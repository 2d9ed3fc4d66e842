//! Options of `flowmill jobs` that a server and a store interpret in the same way.

use ::jobs::job::Status;
use clap::ValueEnum;
use clap::builder::PossibleValuesParser;

/// Which jobs to list.
#[derive(Debug, Default, clap::Args)]
pub(in crate::commands) struct Listing {
    /// Only jobs of this workflow
    #[arg(long, value_name = "NAME")]
    pub(in crate::commands) workflow: Option<String>,

    /// Only jobs with this status
    #[arg(long, value_name = "STATUS", value_parser = PossibleValuesParser::new(Status::REACHABLE.map(Status::as_str)))]
    pub(in crate::commands) status: Option<String>,

    /// Only jobs accepted after this time, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(in crate::commands) created_after: Option<String>,

    /// Only jobs accepted before this time
    #[arg(long, value_name = "TIME")]
    pub(in crate::commands) created_before: Option<String>,

    /// Maximum number of jobs to list
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(in crate::commands) limit: usize,

    /// List all jobs
    #[arg(long, conflicts_with = "limit")]
    pub(in crate::commands) all: bool,

    /// Continue where an earlier listing ended
    #[arg(long, value_name = "CURSOR")]
    pub(in crate::commands) cursor: Option<String>,
}

/// The version of its workflow that a job is run again with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Definition {
    /// The version that the job started with
    Original,
    /// The version that is served now
    Current,
}
