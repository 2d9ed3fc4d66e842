//! Jobs and events as text for people.

use std::fmt::Write as _;

use serde_json::Value;

use crate::printer::Look;
use crate::table::{Align, Table};

const COLUMNS: [(&str, &str); 6] = [
    ("JOB", "job_id"),
    ("STATUS", "status"),
    ("WORKFLOW", "workflow"),
    ("CREATED", "created_at"),
    ("TOOK", "execution_time_ms"),
    ("ERROR", "error"),
];

/// A table of jobs.
pub(super) fn jobs(jobs: &[Value], look: Look) -> String {
    let mut table = Table::of_text(COLUMNS.map(|(heading, _)| heading));
    for job in jobs {
        table.row(COLUMNS.map(|(_, key)| cell(key, &job[key])));
    }
    table.text(look)
}

/// A line for each key that has a value, followed by the usage and the outputs.
pub(super) fn job(job: &Value, look: Look) -> String {
    let mut text = String::new();
    for (key, value) in job.as_object().into_iter().flatten() {
        if !["outputs", "usage"].contains(&key.as_str()) && !value.is_null() {
            let _ = writeln!(text, "{key:18} {}", cell(key, value));
        }
    }
    if !job["usage"].is_null() {
        let _ = writeln!(text, "usage\n{}", usage(&job["usage"], look));
    }
    if !job["outputs"].is_null() {
        let _ = write!(text, "outputs\n{:#}", job["outputs"]);
    }
    text.trim_end().to_owned()
}

/// The usage of each node and of the whole run.
fn usage(usage: &Value, look: Look) -> String {
    let mut table = Table::new([
        ("NODE", Align::Left),
        ("CALLS", Align::Right),
        ("INPUT", Align::Right),
        ("CACHED", Align::Right),
        ("OUTPUT", Align::Right),
        ("COST", Align::Right),
        ("MODEL", Align::Left),
    ]);
    let mut row = |name: &str, taken: &Value| {
        table.row([
            name.to_owned(),
            number(&taken["llm_calls"]),
            number(&taken["input_tokens"]),
            number(&taken["cached_tokens"]),
            number(&taken["output_tokens"]),
            taken["cost_usd"]
                .as_f64()
                .map_or_else(|| "unknown".to_owned(), |cost| format!("${cost:.4}")),
            text(&taken["model"]),
        ]);
    };
    for (name, taken) in usage["nodes"].as_object().into_iter().flatten() {
        row(name, taken);
    }
    row("total", usage);
    table.text(look)
}

/// A number, or `-` if it is unknown.
fn number(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        known => text(known),
    }
}

/// One line: number, time, kind, and details.
pub(super) fn event(event: &Value) -> String {
    let mut line = format!(
        "{:>5}  {}  {}",
        text(&event["id"]),
        text(&event["at"]),
        text(&event["event"])
    );
    for key in ["node", "item", "error", "text"] {
        if !event[key].is_null() {
            let _ = write!(line, "  {key}={}", one_line(&text(&event[key])));
        }
    }
    line
}

/// A text as it is, anything else as JSON, nothing for null.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn cell(key: &str, value: &Value) -> String {
    match value.as_u64() {
        Some(ms) if key == "execution_time_ms" => format!("{ms} ms"),
        _ if key == "webhook" && value.is_object() => webhook(value),
        _ if key.ends_with("_at") => to_the_second(&text(value)),
        _ => one_line(&text(value)),
    }
}

/// The state of a webhook's delivery.
fn webhook(webhook: &Value) -> String {
    let state = text(&webhook["state"]).replace('_', " ");
    let mut line = format!("{state}: {}", text(&webhook["url"]));
    match webhook["attempts"].as_u64() {
        None | Some(0) => {}
        Some(1) => line.push_str(", 1 try"),
        Some(tries) => {
            let _ = write!(line, ", {tries} tries");
        }
    }
    if !webhook["next_attempt_at"].is_null() {
        let _ = write!(line, ", next at {}", text(&webhook["next_attempt_at"]));
    }
    if !webhook["last_error"].is_null() {
        let _ = write!(line, " ({})", one_line(&text(&webhook["last_error"])));
    }
    line
}

/// `2026-11-25T12:00:00.000000Z` → `2026-11-25T12:00:00Z`
pub(in crate::commands) fn to_the_second(time: &str) -> String {
    time.split_once('.')
        .map_or_else(|| time.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_is_a_table() {
        let shown = job(
            &json!({"job_id": "1", "created_at": "2026-11-25T12:00:00.000000Z", "usage": {
                "llm_calls": 2, "input_tokens": 30, "cached_tokens": 0, "output_tokens": 4, "cost_usd": 0.5,
                "nodes": {"greet": {"model": "openai/m", "llm_calls": 2, "input_tokens": 30, "cached_tokens": 0,
                                    "output_tokens": null, "cost_usd": null}},
            }}),
            Look::PIPE,
        );
        assert_eq!(
            shown,
            "job_id             1\n\
             created_at         2026-11-25T12:00:00Z\n\
             usage\n\
             NODE   CALLS  INPUT  CACHED  OUTPUT     COST  MODEL\n\
             greet      2     30       0       -  unknown  openai/m\n\
             total      2     30       0       4  $0.5000"
        );
    }

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = [
            json!({"job_id": "1", "status": "completed", "workflow": "größe", "created_at": "t", "execution_time_ms": 7}),
            json!({"job_id": "22", "status": "failed", "workflow": "w", "created_at": "t", "error": "it\nbroke"}),
        ];
        assert_eq!(
            jobs(&rows, Look::PIPE),
            "JOB  STATUS     WORKFLOW  CREATED  TOOK  ERROR\n\
             1    completed  größe     t        7 ms\n\
             22   failed     w         t              it broke"
        );
    }

    #[test]
    fn a_webhook_is_a_line() {
        let check = |webhook: Value, expected: &str| {
            let shown = job(&json!({ "webhook": webhook }), Look::PIPE);
            assert_eq!(shown, format!("webhook            {expected}"));
        };
        check(
            json!({"url": "https://h/", "state": "waiting", "attempts": 0, "last_error": null, "next_attempt_at": null}),
            "waiting: https://h/",
        );
        check(
            json!({"url": "https://h/", "state": "pending", "attempts": 2, "last_error": "it was busy", "next_attempt_at": "t"}),
            "pending: https://h/, 2 tries, next at t (it was busy)",
        );
        check(
            json!({"url": "https://h/", "state": "given_up", "attempts": 1, "last_error": null, "next_attempt_at": null}),
            "given up: https://h/, 1 try",
        );
    }

    #[test]
    fn events_are_a_line_each() {
        let node = json!({"id": 2, "at": "t", "event": "node_started", "node": "greet"});
        assert_eq!(event(&node), "    2  t  node_started  node=greet");
    }
}
