//! What a key has spent and what it has left, as clients see it.

use std::sync::Arc;

use jobs::spend::{Day, KeyDay, Spent};
use serde::Serialize;

use super::account::Snapshot;
use super::limit::{Limits, dollars};
use crate::document::Time;

/// Days that are shown, today included.
pub(super) const DAYS: i64 = 30;

/// The usage of one key.
#[derive(Debug, Clone, Serialize)]
pub struct KeyUsage {
    /// The key's id.
    pub key: Arc<str>,
    /// The label; `None` for a key of the list, or one that no longer exists.
    pub name: Option<Arc<str>>,
    /// Its limits, with the server's defaults.
    pub limits: Limits,
    /// Its runs in flight that are running.
    pub running: u64,
    /// Its runs in flight that are waiting.
    pub waiting: u64,
    /// What it has spent since the day began (UTC).
    pub today: Spending,
    /// What it may still spend today, less what calls under way may take.
    pub left: Left,
    /// When the day ends.
    pub renews_at: Time,
    /// The last 30 days on which it spent anything, newest first.
    pub days: Vec<Spending>,
}

/// What was spent on a day.
#[derive(Debug, Clone, Serialize)]
pub struct Spending {
    /// `2026-11-28`
    pub day: String,
    /// Requests that the limits allowed.
    pub requests: u64,
    /// Runs that were accepted.
    pub runs: u64,
    /// Model calls that were answered or broken off.
    pub model_calls: u64,
    /// Tokens of prompts.
    pub input_tokens: u64,
    /// Tokens of answers.
    pub output_tokens: u64,
    /// US dollars, for models whose price is known.
    pub cost_usd: f64,
}

/// What is left of the daily limits; `None` where there is no limit.
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
