//! The tables of docs/http-api.md against what is sent: the members of short answers, and those of
//! events.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::session::Session;
use super::text_of;

/// The rows of tables: what stands in each cell. A bar inside a cell is escaped.
fn rows(text: &str) -> impl Iterator<Item = Vec<String>> {
    text.lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| {
            let line = line.replace("\\|", "\u{0}");
            let cells = line.trim_matches('|').split(" | ");
            cells
                .map(|cell| cell.trim().replace('\u{0}', "|"))
                .collect()
        })
}

fn spans(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The names at the top of `{a, b: "x", c: {d}, …}`.
fn names(object: &str) -> BTreeSet<String> {
    let mut depth = 0;
    let mut names = vec![String::new()];
    for letter in object[1..object.len() - 1].chars() {
        match letter {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            _ if depth == 0 => names.last_mut().expect("never empty").push(letter),
            _ => {}
        }
    }
    let name = |entry: &String| {
        entry
            .split(':')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    names.iter().map(name).collect()
}

fn keys(object: &Value) -> BTreeSet<String> {
    let members = object.as_object().expect("an object");
    members.keys().cloned().collect()
}

#[test]
fn short_answers_have_the_members_that_the_table_of_endpoints_names() {
    let document = text_of("docs/http-api.md".as_ref());
    let mut session = Session::start();
    session
        .run("flowmill serve greeting.yaml --offline")
        .expect("it serves");
    let mut seen = 0;
    for row in rows(&document) {
        let [request, answer] = row.as_slice() else {
            continue;
        };
        let Some(path) = spans(request)
            .next()
            .and_then(|span| span.strip_prefix("GET "))
        else {
            continue;
        };
        let Some(object) = spans(answer).find(|span| span.starts_with('{')) else {
            continue;
        };
        if path.contains('{') {
            continue;
        }
        let path = path.split('?').next().unwrap_or_default();
        let sent = session
            .print(&format!("curl localhost:8000{path}"))
            .expect("an answer");
        let sent: Value = serde_json::from_str(&sent).expect("JSON");
        assert_eq!(keys(&sent), names(object), "GET {path}");
        seen += 1;
    }
    assert!(seen >= 6, "{seen} rows");
}

#[test]
fn events_have_the_members_that_the_table_of_events_names() {
    /// In every event.
    const ALWAYS: [&str; 3] = ["id", "at", "event"];
    let document = text_of("docs/http-api.md".as_ref());
    let (_, section) = document.split_once("\n## Events\n").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("another section");
    // By event: what is always there, and what may be.
    let mut told: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for row in rows(section) {
        let [event, data] = row.as_slice() else {
            continue;
        };
        let Some(event) = spans(event).next() else {
            continue;
        };
        let (list, _) = data
            .split_once(": ")
            .or(data.split_once(" ("))
            .unwrap_or((data, ""));
        let members = told.entry(event.to_owned()).or_default();
        let mut rest = list;
        while let Some((name, after)) = rest
            .split_once('`')
            .and_then(|(_, after)| after.split_once('`'))
        {
            let may_be = after.starts_with('?');
            let members = if may_be {
                &mut members.1
            } else {
                &mut members.0
            };
            members.insert(name.to_owned());
            rest = after;
        }
    }
    let mut session = Session::start();
    session
        .run("flowmill serve fan_out.yaml")
        .expect("it serves");
    let stream = |inputs: &str| {
        format!(
            "curl -N localhost:8000/run -H 'Accept: text/event-stream' -d @examples/inputs/{inputs}.json"
        )
    };
    let mut sent = session.print(&stream("fan_out")).expect("a stream");
    session
        .run("OPENAI_BASE_URL=http://127.0.0.1:9/v1 flowmill serve greeting.yaml")
        .expect("it serves");
    sent += &session.print(&stream("greeting")).expect("a stream");
    let mut seen = BTreeSet::new();
    let mut event = String::new();
    for line in sent.lines() {
        if let Some(name) = line.strip_prefix("event: ") {
            name.clone_into(&mut event);
        }
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let Some((always, may_be)) = told.get(&event) else {
            panic!("`{event}` is not in the table: {line}");
        };
        seen.insert(event.clone());
        let mut keys = keys(&serde_json::from_str(data).expect("JSON"));
        for name in ALWAYS {
            keys.remove(name);
        }
        if event == "result" {
            continue;
        }
        let lacking: Vec<_> = always.difference(&keys).collect();
        assert!(lacking.is_empty(), "{event} lacks {lacking:?}: {data}");
        let untold: Vec<_> = keys
            .iter()
            .filter(|key| !always.contains(*key) && !may_be.contains(*key))
            .collect();
        assert!(
            untold.is_empty(),
            "the table lacks {untold:?} of {event}: {data}"
        );
    }
    for event in [
        "run_started",
        "node_started",
        "llm_delta",
        "node_retried",
        "node_completed",
        "node_failed",
        "run_completed",
        "run_failed",
        "result",
    ] {
        assert!(seen.contains(event), "{event} is not among {seen:?}");
    }
}
