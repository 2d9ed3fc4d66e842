//! What a key has spent and what it has left, as clients see it.

use std::sync::Arc;

use jobs::spend::{Day, KeyDay, Spent};
use jobs::store::Unfinished;
use schemars::JsonSchema;
use serde::Serialize;

use super::limit::{Limits, dollars};
use crate::document::Time;

/// Days that are shown, today included.
pub(super) const DAYS: i64 = 30;

/// What an API key has spent, and what it has left.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct KeyUsage {
    /// The id of the key.
    pub key: Arc<str>,
    /// The name of the key; `null` if the key is listed in the environment, or no longer exists.
    pub name: Option<Arc<str>>,
    /// The limits of the key, including the server's defaults.
    pub limits: Limits,
    /// Runs in progress.
    pub running: u64,
    /// Runs that wait.
    pub waiting: u64,
    /// What was spent since the day began, in UTC.
    pub today: Spending,
    /// What the key may still spend today. What calls in progress may take is already subtracted.
    pub left: Left,
    /// When the day ends, in UTC.
    pub renews_at: Time,
    /// The days of the last 30 on which something was spent, newest first.
    pub days: Vec<Spending>,
}

/// The state of an account at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Snapshot {
    pub(super) limits: Limits,
    pub(super) running: u64,
    pub(super) waiting: u64,
    pub(super) day: Day,
    pub(super) spent: Spent,
    pub(super) left_tokens: Option<u64>,
    pub(super) left_nano_usd: Option<u64>,
}

/// What was spent on one day, in UTC.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Spending {
    /// The date, such as `2026-11-28`.
    #[schemars(extend("format" = "date"))]
    pub day: String,
    /// Requests that were accepted.
    pub requests: u64,
    /// Runs that were accepted.
    pub runs: u64,
    /// Model calls that were answered or aborted.
    pub model_calls: u64,
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Answer tokens.
    pub output_tokens: u64,
    /// US dollars, for models whose price is known.
    #[schemars(range(min = 0.0))]
    pub cost_usd: f64,
}

/// `None`: not limited.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Left {
    /// Prompt and answer tokens; `null`: not limited.
    pub tokens: Option<u64>,
    /// US dollars; `null`: not limited.
    #[schemars(range(min = 0.0))]
    pub cost_usd: Option<f64>,
}

impl KeyUsage {
    pub(super) fn new(key: Arc<str>, snapshot: Snapshot, mut days: Vec<KeyDay>) -> Self {
        days.reverse();
        Self {
            key,
            name: None,
            limits: snapshot.limits,
            running: snapshot.running,
            waiting: snapshot.waiting,
            today: Spending::on(snapshot.day, &snapshot.spent),
            left: Left {
                tokens: snapshot.left_tokens,
                cost_usd: snapshot.left_nano_usd.map(dollars),
            },
            renews_at: Time(snapshot.day.next().begins()),
            days: days
                .iter()
                .map(|one| Spending::on(one.day, &one.spent))
                .collect(),
        }
    }

    /// As the store has counted it.
    pub(crate) fn has_in_flight(&mut self, unfinished: Unfinished) {
        self.running = unfinished.running as u64;
        self.waiting = unfinished.queued as u64;
    }
}

impl Spending {
    fn on(day: Day, spent: &Spent) -> Self {
        Self {
            day: day.to_string(),
            requests: spent.requests,
            runs: spent.runs,
            model_calls: spent.model_calls,
            input_tokens: spent.input_tokens,
            output_tokens: spent.output_tokens,
            cost_usd: dollars(spent.cost_nano_usd),
        }
    }
}
