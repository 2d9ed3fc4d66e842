//! What a listing asks for, and the pages of one.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::job::{Job, JobId, Status};

/// Which jobs to list: those that meet all conditions.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only jobs of this workflow.
    pub workflow: Option<String>,
    /// Only jobs of this status.
    pub status: Option<Status>,
    /// Only jobs accepted later than this.
    pub created_after: Option<Timestamp>,
    /// Only jobs accepted earlier than this.
    pub created_before: Option<Timestamp>,
    /// Only jobs that this API key submitted.
    pub owner: Option<String>,
    /// Only jobs of one of these workflows.
    pub workflows: Option<BTreeSet<String>>,
}

/// A page of a listing.
#[derive(Debug, Clone)]
pub struct Page {
    /// Newest first, without outputs. Not more than asked for, and not more than fit into
    /// [`PAGE_BYTES`], but at least one if there is one.
    pub jobs: Vec<Job>,
    /// The cursor of the next page if there is one: the last id of this page.
    pub next: Option<JobId>,
}

/// Most bytes that the labels, problems and usage of a page's jobs take together.
pub const PAGE_BYTES: usize = 1 << 20;

/// A page that is being filled, newest job first.
#[derive(Debug)]
pub(crate) struct PageInProgress {
    most: usize,
    jobs: Vec<Job>,
    bytes: usize,
    rows: usize,
    last: Option<JobId>,
    is_full: bool,
}

impl PageInProgress {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            jobs: Vec::new(),
            bytes: 0,
            rows: 0,
            last: None,
            is_full: false,
        }
    }

    /// Adds a job if it fits; otherwise the page is full and another one follows.
    pub(crate) fn add(&mut self, job: Job) -> bool {
        self.bytes += job.listed_bytes();
        self.is_full = self.rows == self.most || (self.bytes > PAGE_BYTES && self.rows > 0);
        if self.is_full {
            return false;
        }
        self.rows += 1;
        self.last = Some(job.id);
        self.jobs.push(job);
        true
    }

    /// As [`add`](Self::add), for a job that is left out of the page.
    pub(crate) fn pass_over(&mut self, id: JobId) -> bool {
        self.is_full = self.rows == self.most;
        if !self.is_full {
            self.rows += 1;
            self.last = Some(id);
        }
        !self.is_full
    }

    pub(crate) fn end(self) -> Page {
        Page {
            jobs: self.jobs,
            next: self.last.filter(|_| self.is_full),
        }
    }
}
