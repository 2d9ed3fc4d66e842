//! The body of `POST /jobs`: the inputs, and beside them what `POST /run` takes from headers.

use std::ops::ControlFlow;
use std::time::Duration;

use axum::http::StatusCode;
use jobs::webhook::Webhook;
use lang::fault::{ENOUGH, PathSegment, echo, shortened};
use lang::workflow::Budget;
use serde_json::{Map, Value, json};
use service::webhooks::{UrlRefusal, WebhookFault};

use crate::openapi::reference;
use crate::refusal::{ProblemAnswer, Refusal};
use crate::request::body::Object;
use crate::request::{duration, number};
use crate::views::fault::FaultEntry;

/// `{inputs, workflow?, metadata?, deadline?, budget?, webhook?}`.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    pub(crate) inputs: Object,
    pub(crate) workflow: Option<String>,
    pub(crate) metadata: Option<Map<String, Value>>,
    /// Counted from the acceptance of the job.
    pub(crate) deadline: Option<Duration>,
    pub(crate) budget: Budget,
    pub(crate) webhook: Option<Webhook>,
}

/// Checks a webhook's address and secret.
pub(crate) type CheckWebhook<'a> =
    dyn Fn(&str, Option<&str>) -> Result<Webhook, Vec<WebhookFault>> + 'a;

impl Envelope {
    /// Reads the members. Every fault of the envelope itself is in the one refusal.
    pub(crate) fn read(object: Object, check: &CheckWebhook<'_>) -> Result<Self, Refusal> {
        let Object {
            mut members,
            oversized,
        } = object;
        let mut reader = Reader { faults: Vec::new() };
        // First, so that no fault of another member repeats its secret.
        let webhook = reader.webhook(members.shift_remove("webhook"), check)?;
        let mut envelope = Self {
            workflow: reader.text(members.shift_remove("workflow")),
            deadline: reader.deadline(members.shift_remove("deadline")),
            budget: reader.budget(members.shift_remove("budget")),
            metadata: reader.metadata(members.shift_remove("metadata")),
            webhook,
            ..Self::default()
        };
        match members.shift_remove("inputs") {
            None => reader.fault(
                "missing",
                &["inputs"],
                "Field required: the inputs stand under `inputs`",
                &Value::Object(members.clone()),
            ),
            Some(Value::Null) => reader.fault("dict_type", &["inputs"], NOT_A_DICT, &Value::Null),
            inputs => envelope.inputs.members = reader.object("inputs", inputs).unwrap_or_default(),
        }
        if let Some(oversized) = oversized {
            oversized.each(|path, rounded| {
                if !matches!(path.first(), Some(PathSegment::Key(key)) if key == "inputs") {
                    reader.faults.push(FaultEntry::body(
                        "int_parsing_size",
                        path.iter().map(shortened).collect(),
                        "An integer here has to fit 64 bits",
                        rounded.into(),
                    ));
                }
                if reader.faults.len() < ENOUGH {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            envelope.inputs.oversized = Some(oversized.below("inputs"));
        }
        for (key, value) in members.into_iter().take(ENOUGH) {
            reader.fault(
                "extra_forbidden",
                &[&key],
                "Extra inputs are not permitted",
                &value,
            );
        }
        if reader.faults.is_empty() {
            Ok(envelope)
        } else {
            Err(Refusal::Invalid(reader.faults))
        }
    }
}

/// The schema of what [`Envelope::read`] reads. Its `workflow` is adapted to what is served.
pub(crate) fn schema() -> Value {
    let limit = json!({ "type": ["integer", "null"], "minimum": 0, "maximum": number::LARGEST });
    json!({
        "type": "object",
        "description": "A job to be started: its inputs, and how it is to be run.",
        "required": ["inputs"],
        "properties": {
            "inputs": reference("Inputs"),
            "workflow": { "type": ["string", "null"] },
            "metadata": {
                "type": ["object", "null"],
                "description": "Your own labels, at most 16 KiB as JSON. They come back with the job.",
            },
            "deadline": {
                "type": ["string", "number", "null"],
                "pattern": duration::PATTERN,
                "exclusiveMinimum": 0,
                "description": "The run is stopped this long after its acceptance: seconds, or a text such as 30s, 5m, 1h 30m.",
            },
            "budget": {
                "type": ["object", "null"],
                "description": "Limits of this run, beside the workflow's own.",
                "properties": {
                    "max_cost_usd": { "type": ["number", "null"], "minimum": 0 },
                    "max_tokens": limit,
                    "max_llm_calls": limit,
                },
                "additionalProperties": false,
            },
            "webhook": {
                "type": ["object", "null"],
                "description": "Where the end of the job is reported (Standard Webhooks).",
                "required": ["url"],
                "properties": {
                    "url": { "type": "string", "format": "uri", "maxLength": 2048 },
                    "secret": {
                        "type": ["string", "null"],
                        "pattern": SECRET,
                        "writeOnly": true,
                        "description": "Messages are signed with it: `whsec_` and the base64 of 24 to 64 random bytes.",
                    },
                },
                "additionalProperties": false,
            },
        },
        "additionalProperties": false,
    })
}

/// The pattern of a webhook's secret: the base64 of 24 to 64 bytes, whose last digit leaves no bits over.
const SECRET: &str = "^whsec_(([A-Za-z0-9+/]{4}){8,21}([A-Za-z0-9+/][AQgw]==)?|([A-Za-z0-9+/]{4}){8,20}[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)$";

/// The most bytes of a job's labels, as JSON. There is a limit because every listing shows them.
pub(crate) const MAX_METADATA_BYTES: usize = 16 << 10;

const NOT_A_DICT: &str = "Input should be a valid dictionary";

struct Reader {
    faults: Vec<FaultEntry>,
}

impl Reader {
    fn fault(&mut self, kind: &'static str, path: &[&str], message: &str, input: &Value) {
        let path = path
            .iter()
            .map(|key| shortened(&PathSegment::Key((*key).to_owned())))
            .collect();
        self.faults
            .push(FaultEntry::body(kind, path, message, echo(input)));
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
                    &other,
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
                self.fault("dict_type", &[key], NOT_A_DICT, &other);
                None
            }
        }
    }

    fn metadata(&mut self, value: Option<Value>) -> Option<Map<String, Value>> {
        let metadata = self.object("metadata", value)?;
        let bytes = serde_json::to_vec(&metadata).map_or(usize::MAX, |text| text.len());
        if bytes <= MAX_METADATA_BYTES {
            return Some(metadata);
        }
        let message = format!(
            "Labels should take at most {MAX_METADATA_BYTES} bytes as JSON, these take {bytes}; put what is larger \
             into the inputs, or keep it elsewhere and name it here"
        );
        self.fault(
            "too_long",
            &["metadata"],
            &message,
            &Value::Object(metadata),
        );
        None
    }

    fn deadline(&mut self, value: Option<Value>) -> Option<Duration> {
        let value = value.filter(|value| !value.is_null())?;
        let deadline = match &value {
            Value::String(text) => lang::duration::parse(text),
            Value::Number(seconds) => seconds.as_f64().and_then(duration::of_seconds),
            _ => None,
        };
        let deadline = deadline.filter(|deadline| !deadline.is_zero());
        if deadline.is_none() {
            let message = "Input should be a duration greater than zero: seconds, or a text such as 30s, 5m or 1h 30m";
            self.fault("duration_parsing", &["deadline"], message, &value);
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
            max_tokens: self.limit(&mut members, "max_tokens", number::whole),
            max_llm_calls: self.limit(&mut members, "max_llm_calls", number::whole),
            max_tool_calls: None,
        };
        for (key, value) in members.into_iter().take(ENOUGH) {
            self.fault(
                "extra_forbidden",
                &["budget", &key],
                "Extra inputs are not permitted",
                &value,
            );
        }
        budget
    }

    /// Faults do not repeat what was sent: it may be secret.
    fn webhook(
        &mut self,
        value: Option<Value>,
        check: &CheckWebhook<'_>,
    ) -> Result<Option<Webhook>, Refusal> {
        let Some(mut members) = self.object("webhook", value) else {
            return Ok(None);
        };
        let faults_before = self.faults.len();
        let mut text = |key: &str, is_required: bool| match members.shift_remove(key) {
            None | Some(Value::Null) if !is_required => None,
            None => {
                self.fault("missing", &["webhook", key], "Field required", &Value::Null);
                None
            }
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                let message = "Input should be a valid string";
                self.fault("string_type", &["webhook", key], message, &Value::Null);
                None
            }
        };
        let (url, secret) = (text("url", true), text("secret", false));
        for (key, _) in members.into_iter().take(ENOUGH) {
            let message = "Extra inputs are not permitted";
            self.fault("extra_forbidden", &["webhook", &key], message, &Value::Null);
        }
        let Some(url) = url else {
            return Ok(None);
        };
        match check(&url, secret.as_deref()) {
            Ok(webhook) if self.faults.len() == faults_before => return Ok(Some(webhook)),
            Ok(_) => {}
            Err(faults) => {
                for fault in faults {
                    self.webhook_fault(fault)?;
                }
            }
        }
        Ok(None)
    }

    fn webhook_fault(&mut self, fault: WebhookFault) -> Result<(), Refusal> {
        let (kind, key, message) = match fault {
            WebhookFault::NotSupported => {
                let detail = "This server does not send webhooks; leave `webhook` out and poll the job's status.";
                let problem =
                    ProblemAnswer::of_request(StatusCode::NOT_IMPLEMENTED, "not_supported", detail);
                return Err(problem.into());
            }
            WebhookFault::Url(unfit) => {
                let kind = match unfit {
                    UrlRefusal::NotAUrl => "url_parsing",
                    UrlRefusal::Scheme => "url_scheme",
                    UrlRefusal::NotAllowed => "value_error",
                };
                (kind, "url", format!("The address cannot be used: {unfit}"))
            }
            WebhookFault::Secret(bad) => (
                "value_error",
                "secret",
                format!("The secret cannot be used: {bad}"),
            ),
        };
        self.fault(kind, &["webhook", key], &message, &Value::Null);
        Ok(())
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
                "Input should be a number, 0 or above, of tokens and calls a whole one of at most 2^53",
                &value,
            );
        }
        limit
    }
}

#[cfg(test)]
mod tests {
    use service::webhooks::BadSecret;

    use super::*;

    fn read(body: Value) -> Result<Envelope, Refusal> {
        let Value::Object(members) = body else {
            panic!("not an object")
        };
        let object = Object {
            members,
            oversized: None,
        };
        Envelope::read(object, &check)
    }

    /// Takes addresses that begin with `https:` and secrets that are `good`.
    fn check(url: &str, secret: Option<&str>) -> Result<Webhook, Vec<WebhookFault>> {
        let faults = [
            (!url.starts_with("https:")).then_some(WebhookFault::Url(UrlRefusal::Scheme)),
            secret
                .is_some_and(|secret| secret != "good")
                .then_some(WebhookFault::Secret(BadSecret)),
        ];
        let faults: Vec<_> = faults.into_iter().flatten().collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Webhook {
            shown: url.into(),
            host: "h".into(),
            target: None,
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
            "budget": { "max_cost_usd": 0.5, "max_tokens": 10 },
            "webhook": { "url": "https://h/", "secret": "good" },
        });
        let envelope = read(body).unwrap();
        let webhook = envelope.webhook.as_ref().map(|webhook| &*webhook.shown);
        assert_eq!(webhook, Some("https://h/"));
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
                max_llm_calls: None,
                max_tool_calls: None,
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
    fn no_webhook_is_none() {
        for body in [
            json!({ "inputs": {} }),
            json!({ "inputs": {}, "webhook": null }),
        ] {
            assert!(read(body).unwrap().webhook.is_none());
        }
    }

    #[test]
    fn every_fault_of_a_webhook_is_listed_and_nothing_of_it_repeated() {
        let check = |webhook: Value, expected: Value| {
            let body = json!({ "webhook": webhook });
            let Err(Refusal::Invalid(faults)) = read(body.clone()) else {
                panic!("{body} was taken")
            };
            let faults = serde_json::to_value(&faults).unwrap();
            assert!(!faults.to_string().contains("letmein"), "{faults}");
            let places: Vec<Value> = faults
                .as_array()
                .unwrap()
                .iter()
                .map(|fault| fault["loc"].clone())
                .filter(|place| place[1] == "webhook")
                .collect();
            assert_eq!(Value::from(places), expected, "{body}");
        };
        check(json!(5), json!([["body", "webhook"]]));
        check(json!({}), json!([["body", "webhook", "url"]]));
        check(json!({ "url": null }), json!([["body", "webhook", "url"]]));
        check(
            json!({ "url": "http://letmein@h/", "secret": "letmein", "key": "letmein" }),
            json!([
                ["body", "webhook", "key"],
                ["body", "webhook", "url"],
                ["body", "webhook", "secret"]
            ]),
        );
        check(
            json!({ "url": "https://h/", "secret": ["letmein"] }),
            json!([["body", "webhook", "secret"]]),
        );
        check(json!({ "url": "https://h/", "secret": "good" }), json!([]));
    }

    #[test]
    fn integers_too_large_are_refused_where_they_stand() {
        let members =
            serde_json::from_value(json!({ "inputs": { "n": 1e30 }, "metadata": { "m": 1e30 } }))
                .unwrap();
        let large = format!("1{}", "0".repeat(30));
        let text = format!(r#"{{"inputs": {{"n": {large}}}, "metadata": {{"m": {large}}}}}"#);
        let Err(lang::json::Error::IntegersTooLarge { integers, .. }) = lang::json::read(&text)
        else {
            panic!("{text} fits")
        };
        let object = Object {
            members,
            oversized: Some(integers),
        };
        let Err(Refusal::Invalid(faults)) = Envelope::read(object, &check) else {
            panic!("taken")
        };
        assert_eq!(
            serde_json::to_value(&faults).unwrap()[0]["loc"],
            json!(["body", "metadata", "m"])
        );
        assert_eq!(faults.len(), 1);
    }
}
