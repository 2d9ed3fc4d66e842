//! Spans over OTLP, decoded by opentelemetry's own message types.

use serde_json::{Value, json};
use testing::{Manner, Sink};

use super::rig::{Rig, model, project, rig, until};
use crate::http::{client, start_in};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Every span that has arrived, ids in hexadecimal.
fn spans(rig: &Rig, collector: &Sink) -> Vec<Value> {
    let mut spans = Vec::new();
    for received in collector.received("/v1/traces") {
        let gzip = received
            .headers
            .get("content-encoding")
            .is_some_and(|coding| coding == "gzip");
        let message =
            rig.ask(&json!({"what": "decode", "body": base64(&received.body), "gzip": gzip}));
        for resource in message["resourceSpans"].as_array().expect("a list") {
            for scope in resource["scopeSpans"].as_array().expect("a list") {
                for span in scope["spans"].as_array().expect("a list") {
                    let mut span = span.clone();
                    span["resource"] = resource["resource"].clone();
                    spans.push(span);
                }
            }
        }
    }
    spans
}

fn attribute<'v>(span: &'v Value, name: &str) -> &'v Value {
    let attributes = span["attributes"].as_array().map_or(&[][..], Vec::as_slice);
    let found = attributes.iter().find(|attribute| attribute["key"] == name);
    found.map_or(&Value::Null, |attribute| &attribute["value"])
}

fn named<'s>(spans: &'s [Value], name: &str) -> &'s Value {
    spans
        .iter()
        .find(|span| span["name"] == name)
        .unwrap_or_else(|| panic!("{name} in {spans:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_follow_the_conventions_and_the_callers_trace() {
    let Some(rig) = rig() else { return };
    let collector = Sink::start(Manner::Fine);
    let (model, project) = (model(), project("collected"));
    let endpoint = collector.url();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=a%20key"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_SERVICE_NAME", "stories"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        ),
    ];
    let mut server = start_in(
        &environment,
        &model,
        &project,
        "workflow.yaml --store memory",
    );
    let url = server.url();
    let answer = client()
        .post(format!("{url}/run"))
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .json(&json!({"topic": "otters"}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    let spans = until(|| {
        let spans = spans(rig, &collector);
        if spans.len() == 6 {
            Ok(spans)
        } else {
            Err(spans)
        }
    });

    let id = |span: &Value| span["spanId"].clone();
    let request = named(&spans, "POST /run");
    assert_eq!(request["kind"], "SPAN_KIND_SERVER");
    assert_eq!(attribute(request, "http.route")["stringValue"], "/run");
    assert_eq!(
        attribute(request, "http.response.status_code")["intValue"],
        "200"
    );
    let run = named(&spans, "invoke_workflow collected");
    assert_eq!(run["parentSpanId"], id(request));
    assert_eq!(
        attribute(run, "gen_ai.operation.name")["stringValue"],
        "invoke_workflow"
    );
    let node = named(&spans, "invoke_agent write");
    assert_eq!(node["parentSpanId"], id(run));
    let call = spans
        .iter()
        .find(|span| span["name"] == "chat test" && span["parentSpanId"] == id(node))
        .expect("the call below its node");
    assert_eq!(call["kind"], "SPAN_KIND_CLIENT");
    assert_eq!(
        attribute(call, "gen_ai.request.model")["stringValue"],
        "test"
    );
    assert_eq!(
        attribute(call, "gen_ai.usage.output_tokens")["intValue"],
        "5"
    );
    let input = attribute(call, "gen_ai.input.messages")["stringValue"].as_str();
    assert!(
        input.is_some_and(|input| input.contains("write about otters")),
        "{call}"
    );
    for span in &spans {
        assert_eq!(span["traceId"], base64(&hex(TRACE)), "{span}");
        // MLflow's own attributes are none of a collector's business.
        assert!(
            !span["attributes"].to_string().contains("mlflow."),
            "{span}"
        );
        let service = attribute(&span["resource"], "service.name");
        assert_eq!(service["stringValue"], "stories");
    }
    let received = collector.received("/v1/traces");
    assert_eq!(received[0].headers["x-api-key"], "a key");
    assert_eq!(
        received[0].headers["content-type"],
        "application/x-protobuf"
    );

    // The model's server was told whose call it is.
    let parents: Vec<String> = model
        .requests()
        .iter()
        .filter_map(|request| request.header("traceparent").map(str::to_owned))
        .collect();
    assert_eq!(parents.len(), 2);
    assert!(
        parents
            .iter()
            .all(|parent| parent.starts_with(&format!("00-{TRACE}-")))
    );
    let of_call = |parent: &String| json!(base64(&hex(&parent[36..52]))) == call["spanId"];
    assert!(parents.iter().any(of_call), "{parents:?} {call}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_does_not_sample_is_not_sent() {
    let Some(rig) = rig() else { return };
    let collector = Sink::start(Manner::Fine);
    let (model, project) = (model(), project("sampled"));
    let endpoint = collector.url();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let mut server = start_in(
        &environment,
        &model,
        &project,
        "workflow.yaml --store memory",
    );
    let url = server.url();
    for flags in ["00", "01"] {
        let answer = client()
            .post(format!("{url}/run"))
            .header(
                "traceparent",
                format!("00-{TRACE}-00f067aa0ba902b7-{flags}"),
            )
            .json(&json!({"topic": "otters"}))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
    // The spans of the second run alone, and all of them: they are sent before the process ends.
    assert_eq!(spans(rig, &collector).len(), 6);
}

#[test]
fn a_protocol_that_is_not_spoken_is_refused() {
    let project = project("grpc");
    let mut command = crate::support::flowmill(
        project.root(),
        crate::support::words("run workflow.yaml --offline --input topic=x"),
    );
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    crate::support::Ended::of(&mut command)
        .exits(2)
        .says(&["OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"]);
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() {
                letter.into()
            } else {
                '='
            });
        }
    }
    text
}
