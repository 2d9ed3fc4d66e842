//! The body of `POST /jobs`: the inputs, and around them what `POST /run` takes from headers.

use std::time::Duration;

use axum::http::StatusCode;
use lang::fault::PathSegment;
use lang::workflow::Budget;
use serde_json::{Map, Value};

use crate::refusal::{Refusal, Trouble};
use crate::request::body::Object;
use crate::request::duration;
use crate::views::fault::Entry;

/// `{inputs, workflow?, metadata?, deadline?, budget?}`.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    pub(crate) inputs: Object,
    pub(crate) workflow: Option<String>,
    pub(crate) metadata: Option<Map<String, Value>>,
    /// From acceptance.
    pub(crate) deadline: Option<Duration>,
    pub(crate) budget: Budget,
}

impl Envelope {
    /// Takes the parts out; every fault of the envelope itself in one refusal.
    pub(crate) fn read(object: Object) -> Result<Self, Refusal> {
        let Object {
            mut members,
            oversized,
        } = object;
        if members
            .get("webhook")
            .is_some_and(|webhook| !webhook.is_null())
        {
            let detail =
                "Webhooks are not supported yet; leave `webhook` out and ask for the job's status.";
            return Err(
                Trouble::of_request(StatusCode::NOT_IMPLEMENTED, "not_supported", detail).into(),
            );
        }
        members.shift_remove("webhook");
        let mut reader = Reader { faults: Vec::new() };
        let mut envelope = Self {
            workflow: reader.text(members.shift_remove("workflow")),
            deadline: reader.deadline(members.shift_remove("deadline")),
            budget: reader.budget(members.shift_remove("budget")),
            metadata: reader.object("metadata", members.shift_remove("metadata")),
            ..Self::default()
        };
        match members.shift_remove("inputs") {
            None => reader.fault(
                "missing",
                &["inputs"],
                "Field required",
                Value::Object(members.clone()),
            ),
            Some(Value::Null) => reader.fault("dict_type", &["inputs"], NOT_A_DICT, Value::Null),
            inputs => envelope.inputs.members = reader.object("inputs", inputs).unwrap_or_default(),
        }
        for (path, rounded) in oversized {
            match path.split_first() {
                Some((PathSegment::Key(key), rest)) if key == "inputs" => {
                    envelope.inputs.oversized.push((rest.to_vec(), rounded));
                }
                _ => reader.faults.push(Entry::body(
                    "int_parsing_size",
                    path,
                    "An integer here has to fit 64 bits",
                    rounded.into(),
                )),
            }
        }
        for (key, value) in members {
            reader.fault(
                "extra_forbidden",
                &[&key],
                "Extra inputs are not permitted",
                value,
            );
        }
        if reader.faults.is_empty() {
            Ok(envelope)
        } else {
            Err(Refusal::Invalid(reader.faults))
        }
    }
}

const NOT_A_DICT: &str = "Input should be a valid dictionary";

struct Reader {
    faults: Vec<Entry>,
}

impl Reader {
    fn fault(&mut self, kind: &'static str, path: &[&str], message: &str, input: Value) {
        let path = path
            .iter()
            .map(|key| PathSegment::Key((*key).to_owned()))
            .collect();
        self.faults.push(Entry::body(kind, path, message, input));
    }

    fn text(&mut self, value: Option<Value>) -> Option<String> {
        match value? {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => {
                self.fault(
                    "string_type",
                    &["workflow"],
                    "Input should be a valid string",
                    other,
                );
                None
            }
        }
    }

    fn object(&mut self, key: &str, value: Option<Value>) -> Option<Map<String, Value>> {
        match value? {
            Value::Null => None,
            Value::Object(members) => Some(members),
            other => {
                self.fault("dict_type", &[key], NOT_A_DICT, other);
                None
            }
        }
    }

    fn deadline(&mut self, value: Option<Value>) -> Option<Duration> {
        let value = value.filter(|value| !value.is_null())?;
        let deadline = match &value {
            Value::String(text) => duration::parse(text),
            Value::Number(seconds) => seconds
                .as_f64()
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            _ => None,
        };
        let deadline = deadline.filter(|deadline| !deadline.is_zero());
        if deadline.is_none() {
            let message =
                "Input should be a duration above zero: seconds, or a text such as 30s, 5m or 1h";
            self.fault("duration_parsing", &["deadline"], message, value);
        }
        deadline
    }

    fn budget(&mut self, value: Option<Value>) -> Budget {
        let Some(mut members) = self.object("budget", value) else {
            return Budget::default();
        };
        let budget = Budget {
            max_cost_usd: self.limit(&mut members, "max_cost_usd", |value| {
                value.as_f64().filter(|dollars| *dollars >= 0.0)
            }),
            max_tokens: self.limit(&mut members, "max_tokens", Value::as_u64),
            max_llm_calls: self.limit(&mut members, "max_llm_calls", Value::as_u64),
        };
        for (key, value) in members {
            self.fault(
                "extra_forbidden",
                &["budget", &key],
                "Extra inputs are not permitted",
                value,
            );
        }
        budget
    }

    fn limit<T>(
        &mut self,
        budget: &mut Map<String, Value>,
        key: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = budget.shift_remove(key).filter(|value| !value.is_null())?;
        let limit = read(&value);
        if limit.is_none() {
            self.fault(
                "greater_than_equal",
                &["budget", key],
                "Input should be a number, 0 or above",
                value,
            );
        }
        limit
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<Envelope, Refusal> {
        let Value::Object(members) = body else {
            panic!("not an object")
        };
        Envelope::read(Object {
            members,
            oversized: Vec::new(),
        })
    }

    #[track_caller]
    fn check_faults(body: &Value, expected: &Value) {
        let Err(Refusal::Invalid(faults)) = read(body.clone()) else {
            panic!("{body} was taken")
        };
        let places: Vec<Value> = serde_json::to_value(&faults)
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| fault["loc"].clone())
            .collect();
        assert_eq!(Value::from(places), *expected, "{body}");
    }

    #[test]
    fn every_part_is_taken() {
        let body = json!({
            "inputs": { "name": "Ada" }, "workflow": "w", "metadata": { "a": 1 }, "deadline": "5m",
            "budget": { "max_cost_usd": 0.5, "max_tokens": 10 }, "webhook": null,
        });
        let envelope = read(body).unwrap();
        assert_eq!(
            Value::from(envelope.inputs.members),
            json!({ "name": "Ada" })
        );
        assert_eq!(envelope.workflow.as_deref(), Some("w"));
        assert_eq!(envelope.metadata.map(Value::from), Some(json!({ "a": 1 })));
        assert_eq!(envelope.deadline, Some(Duration::from_mins(5)));
        assert_eq!(
            envelope.budget,
            Budget {
                max_cost_usd: Some(0.5),
                max_tokens: Some(10),
                max_llm_calls: None
            }
        );
        assert_eq!(
            read(json!({ "inputs": {}, "deadline": 1.5 }))
                .unwrap()
                .deadline,
            Some(Duration::from_millis(1_500))
        );
    }

    #[test]
    fn every_fault_is_listed() {
        check_faults(&json!({}), &json!([["body", "inputs"]]));
        check_faults(&json!({ "inputs": null }), &json!([["body", "inputs"]]));
        check_faults(
            &json!({ "inputs": [], "deadline": 0, "budget": { "max_tokens": -1, "x": 1 }, "metadata": 1, "workflow": 1, "y": 1 }),
            &json!([
                ["body", "workflow"],
                ["body", "deadline"],
                ["body", "budget", "max_tokens"],
                ["body", "budget", "x"],
                ["body", "metadata"],
                ["body", "inputs"],
                ["body", "y"],
            ]),
        );
    }

    #[test]
    fn integers_too_large_are_refused_where_they_stand() {
        let members =
            serde_json::from_value(json!({ "inputs": { "n": 1e30 }, "metadata": { "m": 1e30 } }))
                .unwrap();
        let at = |key: &str, inner: &str| {
            vec![PathSegment::Key(key.into()), PathSegment::Key(inner.into())]
        };
        let object = Object {
            members,
            oversized: vec![(at("inputs", "n"), 1e30), (at("metadata", "m"), 1e30)],
        };
        let Err(Refusal::Invalid(faults)) = Envelope::read(object) else {
            panic!("taken")
        };
        assert_eq!(
            serde_json::to_value(&faults).unwrap()[0]["loc"],
            json!(["body", "metadata", "m"])
        );
        assert_eq!(faults.len(), 1);
    }
}
