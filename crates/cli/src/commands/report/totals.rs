//! What runs took and cost, summed up over any number of jobs, one at a time: nothing of a job is
//! kept but the sums of its group.

use std::collections::BTreeMap;

use engine::outcome::{NodeUsage, Usage};
use jobs::job::Status;
use serde::{Deserialize, Serialize};

use super::spread::Spread;

/// What a job tells of itself: a row of a listing, and the key that made it where that is known.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Facts {
    /// Its workflow's name.
    pub(super) workflow: String,
    /// Where it stands.
    pub(super) status: Status,
    /// Once it has run.
    pub(super) execution_time_ms: Option<u64>,
    /// Once it has ended.
    pub(super) usage: Option<Usage>,
    /// The key that made it.
    #[serde(default)]
    pub(super) owner: Option<String>,
}

/// What jobs are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum By {
    /// The workflow's name.
    Workflow,
    /// `workflow/node`, for each node that asked a model.
    Node,
    /// `provider/model`, for each that answered.
    Model,
    /// The key that made the job.
    Key,
}

/// The group of jobs that no key made.
pub(super) const NO_KEY: &str = "(no key)";
/// The group of calls that no model answered.
pub(super) const NO_MODEL: &str = "(no answer)";

/// One group's sums, or those of all.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Row {
    /// What it is the group of; `total` for all.
    pub(super) group: String,
    /// Jobs. A job counts in each group in which it has a part.
    pub(super) runs: u64,
    /// Of these, completed.
    pub(super) completed: u64,
    /// Failed.
    pub(super) failed: u64,
    /// Cancelled.
    pub(super) cancelled: u64,
    /// Not ended yet.
    pub(super) active: u64,
    /// Half of the runs took no longer, in milliseconds; within a hundredth. `None` where none has
    /// ended.
    pub(super) p50_ms: Option<u64>,
    /// 95 of 100 took no longer.
    pub(super) p95_ms: Option<u64>,
    /// Attempts at a model.
    pub(super) llm_calls: u64,
    /// Prompt tokens.
    pub(super) input_tokens: u64,
    /// Of these, cached.
    pub(super) cached_tokens: u64,
    /// Answer tokens.
    pub(super) output_tokens: u64,
    /// US dollars, as far as prices were known.
    pub(super) cost_usd: f64,
    /// Jobs of which a part has no known price: `cost_usd` is too low by what they cost.
    pub(super) unpriced_runs: u64,
    /// Jobs of which a part of the tokens, and so of the cost, is an estimate.
    pub(super) estimated_runs: u64,
}

/// Sums that grow job by job.
#[derive(Debug)]
pub(super) struct Report {
    by: By,
    groups: BTreeMap<String, Sums>,
    total: Sums,
    price_tables: std::collections::BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Sums {
    row: Row,
    took: Spread,
}

impl Report {
    /// Of no job yet.
    pub(super) fn new(by: By) -> Self {
        Self {
            by,
            groups: BTreeMap::new(),
            total: Sums::default(),
            price_tables: std::collections::BTreeSet::new(),
        }
    }

    /// One more job.
    pub(super) fn add(&mut self, job: &Facts) {
        let none = Usage::default();
        let usage = job.usage.as_ref().unwrap_or(&none);
        self.price_tables
            .extend(usage.price_table.as_deref().map(str::to_owned));
        let nodes: Vec<&NodeUsage> = usage.nodes.values().collect();
        self.total.add(job, &whole(usage, &nodes));
        match self.by {
            By::Workflow => self.group(&job.workflow).add(job, &whole(usage, &nodes)),
            By::Key => {
                let key = job.owner.as_deref().unwrap_or(NO_KEY);
                self.group(key).add(job, &whole(usage, &nodes));
            }
            By::Node => {
                for (node, usage) in &usage.nodes {
                    let name = format!("{}/{node}", job.workflow);
                    self.group(&name).add(job, &Part::of([usage]));
                }
            }
            By::Model => {
                let mut models: BTreeMap<&str, Vec<&NodeUsage>> = BTreeMap::new();
                for usage in nodes {
                    let model = usage.model.as_deref().unwrap_or(NO_MODEL);
                    models.entry(model).or_default().push(usage);
                }
                for (model, usages) in models {
                    self.group(model).add(job, &Part::of(usages));
                }
            }
        }
    }

    /// The groups: what cost most comes first, then what took most tokens, then by name.
    pub(super) fn rows(&self) -> Vec<Row> {
        let groups = self.groups.iter().map(|(name, sums)| sums.row(name));
        let mut rows: Vec<Row> = groups.collect();
        let tokens = |row: &Row| row.input_tokens + row.output_tokens;
        rows.sort_by(|a, b| {
            let by_cost = b.cost_usd.total_cmp(&a.cost_usd);
            by_cost
                .then_with(|| tokens(b).cmp(&tokens(a)))
                .then_with(|| a.group.cmp(&b.group))
        });
        rows
    }

    /// All jobs, each once.
    pub(super) fn total(&self) -> Row {
        self.total.row("total")
    }

    /// The versions of the price tables that costs were worked out by.
    pub(super) fn price_tables(&self) -> impl Iterator<Item = &str> {
        self.price_tables.iter().map(String::as_str)
    }

    fn group(&mut self, name: &str) -> &mut Sums {
        if !self.groups.contains_key(name) {
            self.groups.insert(name.to_owned(), Sums::default());
        }
        self.groups.get_mut(name).expect("it is there by now")
    }
}

/// A job's part in a group.
#[derive(Default)]
struct Part {
    llm_calls: u64,
    input_tokens: u64,
    cached_tokens: u64,
    output_tokens: u64,
    cost_usd: f64,
    is_priced: bool,
    is_estimated: bool,
}

impl Part {
    fn of<'a>(usages: impl IntoIterator<Item = &'a NodeUsage>) -> Self {
        let start = Self {
            is_priced: true,
            ..Self::default()
        };
        usages.into_iter().fold(start, |sum, usage| Self {
            llm_calls: sum.llm_calls + usage.llm_calls,
            input_tokens: sum.input_tokens + usage.input_tokens,
            cached_tokens: sum.cached_tokens + usage.cached_tokens,
            output_tokens: sum.output_tokens + usage.output_tokens,
            cost_usd: sum.cost_usd + usage.cost_usd.unwrap_or_default(),
            is_priced: sum.is_priced && usage.cost_usd.is_some(),
            is_estimated: sum.is_estimated || usage.is_estimated,
        })
    }
}

/// The whole job. Its cost is unknown as soon as one node's is; those of the others are known all
/// the same.
fn whole(usage: &Usage, nodes: &[&NodeUsage]) -> Part {
    Part {
        llm_calls: usage.llm_calls,
        input_tokens: usage.input_tokens,
        cached_tokens: usage.cached_tokens,
        output_tokens: usage.output_tokens,
        cost_usd: usage
            .cost_usd
            .unwrap_or_else(|| Part::of(nodes.iter().copied()).cost_usd),
        is_priced: usage.cost_usd.is_some(),
        is_estimated: usage.is_estimated,
    }
}

impl Sums {
    fn add(&mut self, job: &Facts, part: &Part) {
        let row = &mut self.row;
        row.runs += 1;
        match job.status {
            Status::Completed => row.completed += 1,
            Status::Failed => row.failed += 1,
            Status::Cancelled => row.cancelled += 1,
            Status::Pending | Status::Running | Status::Waiting | Status::Cancelling => {
                row.active += 1;
            }
        }
        if let Some(took) = job.execution_time_ms.filter(|_| job.status.is_final()) {
            self.took.add(took);
        }
        row.llm_calls += part.llm_calls;
        row.input_tokens += part.input_tokens;
        row.cached_tokens += part.cached_tokens;
        row.output_tokens += part.output_tokens;
        row.cost_usd += part.cost_usd;
        row.unpriced_runs += u64::from(!part.is_priced);
        row.estimated_runs += u64::from(part.is_estimated);
    }

    fn row(&self, group: &str) -> Row {
        Row {
            group: group.to_owned(),
            p50_ms: self.took.at(50),
            p95_ms: self.took.at(95),
            ..self.row.clone()
        }
    }
}

#[cfg(test)]
mod tests;
