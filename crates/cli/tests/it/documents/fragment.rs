//! A part of a workflow put into a whole one.

use serde_json::{Map, Value, json};

/// The whole workflow as JSON. Sections of the fragment go over those of a small workflow, key by
/// key; its first node is that workflow's node.
pub(super) fn within_a_workflow(fragment: &str) -> Result<String, String> {
    let mut fragment: Map<String, Value> =
        serde_norway::from_str(fragment).map_err(|error| format!("this is not YAML: {error}"))?;
    let mut node = json!({
        "id": "answer", "prompt": "{question}", "output_schema": {"type": "str"}, "outputs": ["reply"],
    });
    let mut edges = None;
    if let Some(Value::Array(nodes)) = fragment.remove("nodes") {
        let [only] = nodes.as_slice() else {
            return Err("a fragment has one node".to_owned());
        };
        merge(&mut node, only.clone());
    }
    if let Some(given) = fragment.remove("edges") {
        edges = Some(given);
    }
    let id = node["id"].clone();
    let mut whole = json!({
        "schema_version": "1.0",
        "flow": {"name": "document"},
        "state": {"fields": {
            "question": {"type": "str", "default": "Why?"},
            "reply": {"type": "str"},
        }},
        "nodes": [node],
        "edges": edges.unwrap_or(json!([{"from": "START", "to": id}, {"from": id, "to": "END"}])),
    });
    merge(&mut whole, Value::Object(fragment));
    Ok(whole.to_string())
}

fn merge(whole: &mut Value, part: Value) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (key, value) in part {
                merge(whole.entry(key).or_insert(Value::Null), value);
            }
        }
        (whole, part) => *whole = part,
    }
}
