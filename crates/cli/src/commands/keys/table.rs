//! Keys as people read them.

use serde_json::{Map, Value};

use crate::commands::jobs::table::to_the_second;
use crate::printer::Look;
use crate::table::Table;

const COLUMNS: [(&str, &str); 9] = [
    ("ID", "id"),
    ("NAME", "name"),
    ("STATE", "state"),
    ("SCOPES", "scopes"),
    ("WORKFLOWS", "workflows"),
    ("LIMITS", "limits"),
    ("CREATED", "created_at"),
    ("LAST USED", "last_used_at"),
    ("EXPIRES", "expires_at"),
];

/// Rows below their headings.
pub(super) fn keys(keys: &Value, look: Look) -> String {
    let mut table = Table::of_text(COLUMNS.map(|(heading, _)| heading));
    for key in keys.as_array().into_iter().flatten() {
        table.row(COLUMNS.map(|(_, column)| cell(column, &key[column])));
    }
    table.text(look)
}

/// What keys have spent today and have left, below their headings.
pub(super) fn usage(keys: &Value, look: Look) -> String {
    let headings = [
        "KEY",
        "NAME",
        "REQUESTS",
        "RUNS",
        "TOKENS",
        "COST",
        "TOKENS LEFT",
        "COST LEFT",
        "RUNNING",
        "WAITING",
    ];
    let mut table = Table::of_text(headings);
    for key in keys.as_array().into_iter().flatten() {
        let (today, left) = (&key["today"], &key["left"]);
        let count = |value: &Value| value.as_u64().unwrap_or_default();
        let tokens = count(&today["input_tokens"]) + count(&today["output_tokens"]);
        let dollars = |value: &Value| {
            let amount = value.as_f64();
            amount.map_or_else(|| "-".to_owned(), |amount| format!("${amount:.4}"))
        };
        let left_tokens = left["tokens"].as_u64();
        table.row([
            key["key"].as_str().unwrap_or_default().to_owned(),
            key["name"].as_str().unwrap_or("-").to_owned(),
            count(&today["requests"]).to_string(),
            count(&today["runs"]).to_string(),
            tokens.to_string(),
            dollars(&today["cost_usd"]),
            left_tokens.map_or_else(|| "-".to_owned(), |left| left.to_string()),
            dollars(&left["cost_usd"]),
            count(&key["running"]).to_string(),
            count(&key["waiting"]).to_string(),
        ]);
    }
    table.text(look)
}

fn cell(column: &str, value: &Value) -> String {
    match value {
        Value::String(text) if column.ends_with("_at") => to_the_second(text),
        Value::String(text) => text.clone(),
        Value::Array(texts) => {
            let texts: Vec<_> = texts.iter().filter_map(Value::as_str).collect();
            texts.join(",")
        }
        Value::Object(limits) => shown(limits),
        _ if column == "workflows" => "all".to_owned(),
        _ => "-".to_owned(),
    }
}

/// `60/min, 5 running, $2.5/d`: those that the key has of its own.
fn shown(limits: &Map<String, Value>) -> String {
    let units = [
        ("requests_per_minute", "", "/min"),
        ("max_running", "", " running"),
        ("max_queued", "", " queued"),
        ("tokens_per_day", "", " tokens/d"),
        ("cost_per_day_usd", "$", "/d"),
    ];
    let shown: Vec<_> = units
        .iter()
        .filter(|(name, ..)| limits.get(*name).is_some_and(Value::is_number))
        .map(|(name, before, after)| format!("{before}{}{after}", limits[*name]))
        .collect();
    if shown.is_empty() {
        "-".to_owned()
    } else {
        shown.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_is_what_was_spent_today_and_what_is_left() {
        let rows = json!([
            {"key": "a1", "name": "shop", "running": 1, "waiting": 0, "left": {"tokens": 90, "cost_usd": null},
             "today": {"requests": 5, "runs": 2, "input_tokens": 7, "output_tokens": 3, "cost_usd": 0.5}},
        ]);
        assert_eq!(
            usage(&rows, Look::PIPE),
            "KEY  NAME  REQUESTS  RUNS  TOKENS  COST     TOKENS LEFT  COST LEFT  RUNNING  WAITING\n\
             a1   shop  5         2     10      $0.5000  90           -          1        0"
        );
    }

    #[test]
    fn a_key_is_a_row() {
        let rows = json!([
            {"id": "a1", "name": "shop", "state": "active", "scopes": ["run", "read"], "workflows": ["x", "y"],
             "limits": {"requests_per_minute": 60, "max_running": null, "cost_per_day_usd": 2.5},
             "created_at": "2026-11-25T12:00:00.000000Z", "last_used_at": null, "expires_at": null},
            {"id": "b2", "name": "me", "state": "revoked", "scopes": ["admin"], "workflows": null,
             "created_at": "2026-11-25T12:00:00.000000Z", "last_used_at": null, "expires_at": null},
        ]);
        assert_eq!(
            keys(&rows, Look::PIPE),
            "ID  NAME  STATE    SCOPES    WORKFLOWS  LIMITS          CREATED               LAST USED  EXPIRES\n\
             a1  shop  active   run,read  x,y        60/min, $2.5/d  2026-11-25T12:00:00Z  -          -\n\
             b2  me    revoked  admin     all        -               2026-11-25T12:00:00Z  -          -"
        );
    }
}
