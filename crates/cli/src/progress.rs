//! Shows what a run is doing: to people on stderr (redrawn in place on a terminal, a line per
//! finished node in a pipe), and to programs on stdout (`--events`).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::event::{EventKind, RunEvent};
use engine::observer::Observer;
use engine::outcome::{NodeUsage, Usage};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::printer;
use crate::workflow_file::many;

/// How much progress is shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing.
    Quiet,
    /// A line for everything that has ended.
    Lines,
    /// Also what is running, redrawn in place.
    InPlace,
}

/// Shows the progress of a run.
#[derive(Debug)]
pub(crate) struct Progress {
    mode: Mode,
    /// Every event as a line of JSON on stdout.
    events: bool,
    bars: MultiProgress,
    active: Mutex<HashMap<Arc<str>, Active>>,
}

/// A running node, with all its fan-out items.
#[derive(Debug)]
struct Active {
    bar: ProgressBar,
    /// Executions that are running.
    running: usize,
    /// Executions that have ended.
    ended: usize,
    /// Characters received so far, if the answer is streamed.
    received: usize,
}

impl Progress {
    /// Shows nothing yet. With `events`, every event is also printed as a line of JSON on stdout.
    pub(crate) fn new(mode: Mode, events: bool) -> Self {
        // Draws on stderr, and nothing if that is not a terminal.
        Self {
            mode,
            events,
            bars: MultiProgress::new(),
            active: Mutex::default(),
        }
    }

    /// Removes what is drawn in place.
    pub(crate) fn finish(&self) {
        let _ = self.bars.clear();
    }

    fn line(&self, text: &str) {
        match self.mode {
            Mode::Quiet => {}
            Mode::Lines => printer::note(text),
            Mode::InPlace => self.bars.suspend(|| printer::note(text)),
        }
    }

    /// Draws if progress is redrawn in place. A poisoned lock means that drawing panicked before;
    /// at worst the picture is wrong.
    fn draw(&self, change: impl FnOnce(&mut HashMap<Arc<str>, Active>)) {
        if self.mode == Mode::InPlace {
            change(&mut self.active.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn started(&self, node: &Arc<str>) {
        self.draw(|active| {
            let entry = active.entry(Arc::clone(node)).or_insert_with(|| {
                let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed}{wide_msg}")
                    .expect("a constant template");
                let bar = self.bars.add(
                    ProgressBar::new_spinner()
                        .with_style(style)
                        .with_prefix(node.to_string()),
                );
                bar.enable_steady_tick(Duration::from_millis(100));
                Active {
                    bar,
                    running: 0,
                    ended: 0,
                    received: 0,
                }
            });
            entry.running += 1;
            entry.redraw();
        });
    }

    fn received(&self, node: &Arc<str>, text: &str) {
        self.draw(|active| {
            if let Some(entry) = active.get_mut(node) {
                entry.received += text.chars().count();
                entry.redraw();
            }
        });
    }

    fn ended(&self, node: &Arc<str>) {
        self.draw(|active| {
            let Some(entry) = active.get_mut(node) else {
                return;
            };
            entry.running = entry.running.saturating_sub(1);
            entry.ended += 1;
            if entry.running == 0 {
                entry.bar.finish_and_clear();
                active.remove(node);
            } else {
                entry.redraw();
            }
        });
    }
}

impl Active {
    fn redraw(&self) {
        let mut text = String::new();
        if self.running + self.ended > 1 {
            let _ = write!(text, "  {} running, {} done", self.running, self.ended);
        }
        if self.received > 0 {
            let _ = write!(text, "  {}", many(self.received, "character"));
        }
        self.bar.set_message(text);
    }
}

impl Observer for Progress {
    fn observe(&self, event: &RunEvent) {
        if self.events {
            let line = serde_json::to_string(event).expect("every key of an event is text");
            // If stdout cannot be written, only the exit code could say so, and that belongs to the
            // run.
            let _ = self.bars.suspend(|| printer::data(&line));
        }
        if self.mode == Mode::Quiet {
            return;
        }
        match &event.kind {
            EventKind::NodeStarted { node, .. } => self.started(node),
            EventKind::LlmDelta { node, text, .. } => self.received(node, text),
            EventKind::NodeRetried {
                node,
                item,
                attempt,
                reason,
                wait_ms,
            } => {
                let wait = Duration::from_millis(*wait_ms);
                let after = if wait.is_zero() {
                    String::new()
                } else {
                    format!(" in {}", seconds(wait))
                };
                self.line(&format!(
                    "{}: attempt {attempt} failed ({reason}); trying again{after}",
                    name(node, *item)
                ));
            }
            EventKind::NodeCompleted {
                node,
                item,
                usage,
                duration_ms,
                ..
            } => {
                self.ended(node);
                let took = seconds(Duration::from_millis(*duration_ms));
                self.line(&format!(
                    "{}: done in {took}{}",
                    name(node, *item),
                    node_cost(usage)
                ));
            }
            EventKind::NodeFailed { node, item, .. } => {
                self.ended(node);
                self.line(&format!("{}: failed", name(node, *item)));
            }
            EventKind::NodeWarning {
                node,
                item,
                message,
            } => self.line(&format!("{}: {message}", name(node, *item))),
            EventKind::GateFailed { message, .. } => self.line(&format!("gate: {message}")),
            EventKind::RunCompleted {
                usage,
                execution_time_ms,
                ..
            }
            | EventKind::RunFailed {
                usage,
                execution_time_ms,
                ..
            } => {
                let ended = if matches!(event.kind, EventKind::RunFailed { .. }) {
                    "failed after"
                } else {
                    "completed in"
                };
                let took = seconds(Duration::from_millis(*execution_time_ms));
                self.line(&format!("{ended} {took}: {}", total_cost(usage)));
            }
            EventKind::RunStarted { .. } | EventKind::RunCancelled { .. } => {}
        }
    }
}

/// `describe`, or `describe[2]` for an item of a fan-out.
fn name(node: &str, item: Option<usize>) -> String {
    item.map_or_else(|| node.to_owned(), |item| format!("{node}[{item}]"))
}

/// ` (31 tokens, $0.0002, openai/gpt-4o-mini)`; empty for a node that asked no model.
fn node_cost(usage: &NodeUsage) -> String {
    let Some(model) = &usage.model else {
        return String::new();
    };
    let tokens = usage.input_tokens + usage.output_tokens;
    format!(
        " ({}{}, {}, {model})",
        about(usage.is_estimated),
        many_u64(tokens, "token"),
        dollars(usage.cost_usd)
    )
}

/// `3 model calls, 120 input and 45 output tokens, $0.0012`.
fn total_cost(usage: &Usage) -> String {
    format!(
        "{}, {}{} input and {} output tokens, {}",
        many_u64(usage.llm_calls, "model call"),
        about(usage.is_estimated),
        usage.input_tokens,
        usage.output_tokens,
        dollars(usage.cost_usd)
    )
}

/// Prefix of an estimated number of tokens.
fn about(is_estimated: bool) -> &'static str {
    if is_estimated { "about " } else { "" }
}

fn dollars(cost: Option<f64>) -> String {
    match cost {
        None => "cost unknown".to_owned(),
        Some(0.0) => "$0".to_owned(),
        // Enough digits to tell one cheap call from another.
        Some(cost) if cost < 0.01 => format!("${cost:.6}"),
        Some(cost) => format!("${cost:.4}"),
    }
}

fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

fn many_u64(count: u64, noun: &str) -> String {
    many(usize::try_from(count).unwrap_or(usize::MAX), noun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_read_well_at_every_scale() {
        let check = |cost, expected: &str| assert_eq!(dollars(cost), expected);
        check(None, "cost unknown");
        check(Some(0.0), "$0");
        check(Some(0.000_012_3), "$0.000012");
        check(Some(1.5), "$1.5000");
    }

    #[test]
    fn a_node_names_its_item_tokens_cost_and_model() {
        let usage = NodeUsage {
            model: Some("openai/m".into()),
            input_tokens: 20,
            output_tokens: 11,
            llm_calls: 1,
            cost_usd: None,
            ..NodeUsage::default()
        };
        assert_eq!(
            format!("{}{}", name("describe", Some(2)), node_cost(&usage)),
            "describe[2] (31 tokens, cost unknown, openai/m)"
        );
        let estimated = NodeUsage {
            is_estimated: true,
            ..usage
        };
        assert_eq!(
            node_cost(&estimated),
            " (about 31 tokens, cost unknown, openai/m)"
        );
        assert_eq!(node_cost(&NodeUsage::default()), "");
    }
}
