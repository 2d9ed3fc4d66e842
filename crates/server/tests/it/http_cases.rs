//! What clients of the Python original know, case by case.

use std::path::Path;

use serde_json::{Map, Value};

use crate::client::{Answer, Call};
use crate::models::Part;
use crate::server::Server;

/// The shared cases, where they are.
fn shared() -> Option<(Value, std::path::PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let file = testing::rigs::outside("HTTP cases", &folder.join("http_cases.json"))?;
    Some((
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap(),
        folder,
    ))
}

#[tokio::test]
async fn every_shared_case_is_answered_as_expected() {
    let Some((shared, folder)) = shared() else {
        return;
    };
    let mut wrong = Vec::new();
    for (workflow, file) in shared["workflows"].as_object().unwrap() {
        let text = std::fs::read_to_string(folder.join(file.as_str().unwrap())).unwrap();
        let server = Server::with(
            Part::Echo,
            &[&text],
            server::Settings::default(),
            service::Settings::default(),
        );
        for case in shared["cases"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|case| case["workflow"] == **workflow)
        {
            let answer = call(case).send(server.address).await;
            if let Err(why) = compare(&answer, &case["expect"]) {
                wrong.push(format!(
                    "{}: {why}\n  answered {} {}",
                    case["id"], answer.status, answer.body
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn the_other_endpoints_answer_as_the_original_did() {
    let Some((shared, _)) = shared() else { return };
    let server = Server::start(Part::Echo);
    for endpoint in shared["other_endpoints"].as_array().unwrap() {
        let method = match endpoint["method"].as_str().unwrap() {
            "GET" => "GET",
            "PUT" => "PUT",
            "HEAD" => "HEAD",
            "OPTIONS" => "OPTIONS",
            "POST" => "POST",
            other => panic!("{other}"),
        };
        let expected = endpoint.get("expect").unwrap_or(endpoint);
        let answer = Call::new(method, endpoint["path"].as_str().unwrap())
            .send(server.address)
            .await;
        assert_eq!(answer.status, expected["status"], "{endpoint}");
        if let Some(allow) = endpoint["allow"].as_str() {
            assert_eq!(answer.header("allow"), Some(allow), "{endpoint}");
        }
        if let Some(location) = endpoint["location_path"].as_str() {
            assert_eq!(answer.header("location"), Some(location), "{endpoint}");
        }
        for key in expected["keys"].as_array().into_iter().flatten() {
            assert!(
                answer.json().get(key.as_str().unwrap()).is_some(),
                "{endpoint}: {}",
                answer.body
            );
        }
        for (key, value) in expected["fixed"].as_object().into_iter().flatten() {
            assert_eq!(answer.json()[key], *value, "{endpoint}");
        }
    }
}

fn call(case: &Value) -> Call {
    let body: Vec<u8> = match (case["body"].as_str(), case["body_parts"].as_array()) {
        // One character is one byte there.
        (Some(text), _) if case["body_encoding"] == "latin-1" => {
            text.chars().map(|character| character as u8).collect()
        }
        (Some(text), _) => text.into(),
        (None, parts) => {
            let part = |part: &Value| {
                part[0]
                    .as_str()
                    .unwrap()
                    .repeat(usize::try_from(part[1].as_u64().unwrap()).unwrap())
            };
            parts
                .into_iter()
                .flatten()
                .map(part)
                .collect::<String>()
                .into()
        }
    };
    let call = Call::with_body("POST", "/run", body);
    match case["content_type"].as_str() {
        Some(content_type) => call.header("Content-Type", content_type),
        None => call,
    }
}

fn compare(answer: &Answer, expect: &Value) -> Result<(), String> {
    let status_fits = match expect["status_in"].as_array() {
        Some(statuses) => statuses.contains(&answer.status.into()),
        None => expect["status"] == answer.status,
    };
    if !status_fits {
        return Err(format!(
            "expected status {}",
            expect.get("status").unwrap_or(&expect["status_in"])
        ));
    }
    let body = answer.json();
    if answer.status == 200 {
        let same = expect
            .get("outputs")
            .is_none_or(|outputs| same_objects(outputs, &body["outputs"]));
        return if same {
            Ok(())
        } else {
            Err(format!("expected outputs {}", expect["outputs"]))
        };
    }
    let given = body["detail"].as_array().cloned().unwrap_or_default();
    let fits = |errors: &Value| {
        let errors = errors.as_array().unwrap();
        errors.len() == given.len()
            && errors
                .iter()
                .zip(&given)
                .all(|(error, given)| fault_fits(error, given))
    };
    let expected = match (expect.get("errors"), expect["one_of"].as_array()) {
        (Some(errors), _) => fits(errors),
        (None, Some(choices)) => choices.iter().any(fits),
        (None, None) => true,
    };
    if expected {
        Ok(())
    } else {
        Err(format!(
            "expected faults {}",
            expect.get("errors").unwrap_or(&expect["one_of"])
        ))
    }
}

/// The number in a `json_invalid` place is approximate.
fn fault_fits(expected: &Value, given: &Value) -> bool {
    let is_syntax = expected["type"] == "json_invalid";
    let place_fits = match (expected.get("loc"), expected["loc_prefix"].as_array()) {
        (Some(_), _) if is_syntax => given["loc"][0] == "body",
        (Some(place), _) => given["loc"] == *place,
        (None, Some(prefix)) => given["loc"]
            .as_array()
            .is_some_and(|place| place.starts_with(prefix)),
        (None, None) => true,
    };
    let input_fits = expected
        .get("input")
        .is_none_or(|input| same_numbers(input, &given["input"]));
    given["type"] == expected["type"] && place_fits && input_fits && given["msg"].is_string()
}

/// Keys in the same order, too: clients read the outputs in the order of the state's fields.
fn same_objects(expected: &Value, given: &Value) -> bool {
    let keys = |value: &Value| {
        value
            .as_object()
            .map(|members: &Map<String, Value>| members.keys().cloned().collect::<Vec<_>>())
    };
    keys(expected) == keys(given) && expected == given
}

/// A number may be echoed as a rounded one.
fn same_numbers(expected: &Value, given: &Value) -> bool {
    expected == given || (expected.is_number() && expected.as_f64() == given.as_f64())
}
