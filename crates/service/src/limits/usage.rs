//! What a key has spent and what it has left, as it is shown.

use std::sync::Arc;

use jobs::spend::{Day, KeyDay, Spent};
use serde::Serialize;

use super::account::Snapshot;
use super::limit::{Limits, dollars};
use crate::document::Time;

/// Days that are shown, today included.
pub(super) const DAYS: i64 = 30;

/// How a key stands.
#[derive(Debug, Clone, Serialize)]
pub struct KeyUsage {
    /// Its id.
    pub key: Arc<str>,
    /// For people; `None` for a key of the list, or one that is gone.
    pub name: Option<Arc<str>>,
    /// What it may use, the server's defaults included.
    pub limits: Limits,
    /// Runs of it that run.
    pub running: u64,
    /// Runs of it that wait.
    pub waiting: u64,
    /// Since the day began, in UTC.
    pub today: Spending,
    /// What it may still spend today; what calls under way may take is taken off.
    pub left: Left,
    /// When the day ends.
    pub renews_at: Time,
    /// The last 30 days on which it spent something, the newest first.
    pub days: Vec<Spending>,
}

/// What was spent on a day.
#[derive(Debug, Clone, Serialize)]
pub struct Spending {
    /// `2026-11-28`
    pub day: String,
    /// That were let through.
    pub requests: u64,
    /// That were accepted.
    pub runs: u64,
    /// That were answered or broken off.
    pub model_calls: u64,
    /// Of prompts.
    pub input_tokens: u64,
    /// Of answers.
    pub output_tokens: u64,
    /// Of models whose price is known.
    pub cost_usd: f64,
}

/// `None`: not limited.
#[derive(Debug, Clone, Serialize)]
pub struct Left {
    /// Prompt and answer tokens.
    pub tokens: Option<u64>,
    /// US dollars.
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
