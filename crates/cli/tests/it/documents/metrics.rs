//! The metrics that documents name are those that are counted.

use std::collections::BTreeSet;

use serde_json::Value;

use super::blocks::{self, Part};
use super::{documents, text_of};
use crate::docs::mentioned;
use crate::support::root;

/// The names under which metrics are registered.
fn counted() -> BTreeSet<String> {
    let source = root().join("crates/telemetry/src/metrics.rs");
    let source = std::fs::read_to_string(source).expect("the metrics");
    source
        .split('"')
        .filter(|text| is_metric(text))
        .map(str::to_owned)
        .collect()
}

fn is_metric(word: &str) -> bool {
    word.strip_prefix("flowmill_")
        .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
}

/// The metric that a series belongs to: histograms have three each.
fn of_series(name: &str) -> &str {
    ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name)
}

#[test]
fn every_metric_in_a_document_is_counted_and_every_one_that_is_counted_is_documented() {
    let counted = counted();
    assert!(counted.len() > 10, "{counted:?}");
    for document in documents() {
        let text = text_of(&document);
        for name in mentioned(&text, is_metric) {
            assert!(
                counted.contains(of_series(&name)),
                "{}: nothing counts `{name}`",
                document.display()
            );
        }
    }
    let observability = text_of("docs/observability.md".as_ref());
    let told = mentioned(&observability, is_metric);
    let untold: Vec<_> = counted.difference(&told).collect();
    assert!(untold.is_empty(), "docs/observability.md lacks {untold:?}");
}

#[test]
fn the_alert_rules_of_operations_are_rules_about_our_metrics() {
    let parts = blocks::read(&text_of("docs/operations.md".as_ref()));
    let rules = parts.into_iter().find_map(|part| match part {
        Part::Block(block) if block.info == "yaml" => Some(block.text),
        Part::Block(_) | Part::Run { .. } => None,
    });
    let rules: Value = serde_norway::from_str(&rules.expect("rules")).expect("YAML");
    let rules = rules["groups"][0]["rules"].as_array().expect("a list");
    assert!(rules.len() > 5, "{rules:?}");
    for rule in rules {
        let asked = rule["expr"].as_str().expect("an expression");
        assert!(rule["alert"].is_string(), "{rule}");
        assert!(
            asked.contains("flowmill_") || asked.starts_with("up{"),
            "{rule}"
        );
        assert_eq!(
            asked.matches('(').count(),
            asked.matches(')').count(),
            "{asked}"
        );
    }
}
