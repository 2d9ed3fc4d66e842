//! Options of `flowmill jobs` that its sources take as they are.

use ::jobs::job::Status;
use clap::ValueEnum;
use clap::builder::PossibleValuesParser;

/// Which jobs to list.
#[derive(Debug, Default, clap::Args)]
pub(in crate::commands) struct Listing {
    /// Only of this workflow
    #[arg(long, value_name = "NAME")]
    pub(in crate::commands) workflow: Option<String>,

    /// Only those with this status
    #[arg(long, value_name = "STATUS", value_parser = PossibleValuesParser::new(Status::ALL.map(Status::as_str)))]
    pub(in crate::commands) status: Option<String>,

    /// Only those accepted later than this, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(in crate::commands) created_after: Option<String>,

    /// Only those accepted earlier
    #[arg(long, value_name = "TIME")]
    pub(in crate::commands) created_before: Option<String>,

    /// Most jobs to list
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(in crate::commands) limit: usize,

    /// All of them
    #[arg(long, conflicts_with = "limit")]
    pub(in crate::commands) all: bool,

    /// Go on where an earlier listing ended
    #[arg(long, value_name = "CURSOR")]
    pub(in crate::commands) cursor: Option<String>,
}

/// Which version of its workflow a job is repeated with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Definition {
    /// The one that the job began with
    Original,
    /// As it is served now
    Current,
}
