//! Jobs and events as people read them.

use std::fmt::Write as _;

use serde_json::Value;

const COLUMNS: [(&str, &str); 6] = [
    ("JOB", "job_id"),
    ("STATUS", "status"),
    ("WORKFLOW", "workflow"),
    ("CREATED", "created_at"),
    ("TOOK", "execution_time_ms"),
    ("ERROR", "error"),
];

/// Rows below their headings.
pub(super) fn jobs(jobs: &[Value]) -> String {
    let mut rows = vec![COLUMNS.map(|(heading, _)| heading.to_owned())];
    rows.extend(
        jobs.iter()
            .map(|job| COLUMNS.map(|(_, key)| cell(key, &job[key]))),
    );
    aligned(&rows)
}

/// Each column as wide as its widest cell.
pub(in crate::commands) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let widths: Vec<usize> = (0..COLUMNS)
        .map(|column| {
            rows.iter()
                .map(|row| console::measure_text_width(&row[column]))
                .max()
                .unwrap_or_default()
        })
        .collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let mut line = String::new();
            for (text, width) in row.iter().zip(&widths) {
                let gap = width + 2 - console::measure_text_width(text);
                let _ = write!(line, "{text}{:gap$}", "");
            }
            line.trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// A line for each key that has a value; the outputs below.
pub(super) fn job(job: &Value) -> String {
    let mut text = String::new();
    for (key, value) in job.as_object().into_iter().flatten() {
        if key != "outputs" && !value.is_null() {
            let _ = writeln!(text, "{key:18} {}", cell(key, value));
        }
    }
    if !job["outputs"].is_null() {
        let _ = write!(text, "outputs\n{:#}", job["outputs"]);
    }
    text.trim_end().to_owned()
}

/// One line: number, time, kind, and what it is about.
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
        _ => one_line(&text(value)),
    }
}

/// How far a job's end has been told.
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

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = [
            json!({"job_id": "1", "status": "completed", "workflow": "größe", "created_at": "t", "execution_time_ms": 7}),
            json!({"job_id": "22", "status": "failed", "workflow": "w", "created_at": "t", "error": "it\nbroke"}),
        ];
        assert_eq!(
            jobs(&rows),
            "JOB  STATUS     WORKFLOW  CREATED  TOOK  ERROR\n\
             1    completed  größe     t        7 ms\n\
             22   failed     w         t              it broke"
        );
    }

    #[test]
    fn a_webhook_is_a_line() {
        let check = |webhook: Value, expected: &str| {
            let shown = job(&json!({ "webhook": webhook }));
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
