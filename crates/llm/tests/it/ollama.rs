//! Ollama's API over HTTP against a fake, and the fake against Ollama's own client.

use llm::chat::{ChatRequest, Content, FinishReason, Usage};
use llm::error::ErrorKind;
use serde_json::{Value, json};
use testing::{FakeOllama, rigs};
use tokio::process::Command;

use crate::ask::{ask, conforming, free, registry, review, shaped, streamed};

#[tokio::test]
async fn answers_whole_and_streamed_alike() {
    let server = FakeOllama::start().await;
    let models = registry(&[("OLLAMA_HOST", &server.host())]);
    for stream in [false, true] {
        let request = ChatRequest {
            stream,
            ..shaped("otters", review())
        };
        let (reply, pieces) = ask(&models, "ollama/llama3.2", &request).await;
        let details = reply.clone().unwrap();
        let value = conforming(&request, reply);
        assert_eq!(value, json!({"title": "R:otters", "score": 1}));
        assert_eq!(
            pieces,
            if stream {
                value.to_string()
            } else {
                String::new()
            }
        );
        assert_eq!(
            details.usage,
            Usage {
                input_tokens: 26,
                cached_tokens: 0,
                output_tokens: 7,
                is_estimated: false,
            }
        );
        assert_eq!(
            (details.finish, details.cost_usd),
            (FinishReason::Stop, None)
        );
    }
    let reply = ask(&models, "ollama/llama3.2", &free("otters"))
        .await
        .0
        .unwrap();
    assert_eq!(reply.content, Content::Text("R:otters".to_owned()));
}

#[tokio::test]
async fn errors() {
    let server = FakeOllama::start().await;
    let models = registry(&[("OLLAMA_HOST", &server.host())]);
    let error = ask(&models, "ollama/unknown", &free("otters"))
        .await
        .0
        .unwrap_err();
    assert_eq!(
        (error.kind, error.status),
        (ErrorKind::BadRequest, Some(404))
    );
    assert!(error.message.contains("try pulling it first"), "{error}");
    for request in [free(FakeOllama::BREAK), streamed(free(FakeOllama::BREAK))] {
        let error = ask(&models, "ollama/llama3.2", &request)
            .await
            .0
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Overloaded);
        assert!(error.message.contains("the runner has died"), "{error}");
    }
}

/// What Ollama's client makes of the fake's answers, one line of JSON each.
const CLIENT: &str = r#"
import json, sys
from ollama import Client, ResponseError
host, schema = sys.argv[1], json.loads(sys.argv[2])
client = Client(host="http://" + host)
messages = [{"role": "user", "content": "otters"}]
whole = client.chat("llama3.2", messages=messages, format=schema)
print(json.dumps([whole.message.content, whole.done, whole.done_reason, whole.prompt_eval_count, whole.eval_count]))
options = {"temperature": 0.5, "num_predict": 9}
pieces = list(client.chat("llama3.2", messages=messages, stream=True, options=options))
print(json.dumps(["".join(piece.message.content for piece in pieces), pieces[0].done, pieces[-1].done, pieces[-1].done_reason]))
for call in (lambda: client.chat("unknown", messages=messages),
             lambda: list(client.chat("llama3.2", messages=[{"role": "user", "content": "break"}], stream=True))):
    try:
        call()
        print(json.dumps("no error"))
    except ResponseError as error:
        print(json.dumps([error.status_code, error.error]))
"#;

#[tokio::test]
async fn the_fake_satisfies_ollamas_own_client_which_asks_as_we_do() {
    let Some(python) = rigs::program("ollama", "python") else {
        return;
    };
    let server = FakeOllama::start().await;
    let arguments = ["-c", CLIENT, &server.host(), &review().to_string()];
    let output = Command::new(python)
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        lines,
        [
            json!(["{\"title\":\"R:otters\",\"score\":1}", true, "stop", 26, 7]),
            json!(["R:otters", false, true, "stop"]),
            json!([404, "model \"unknown\" not found, try pulling it first"]),
            json!([-1, "the runner has died"]),
        ]
    );

    let models = registry(&[("OLLAMA_HOST", &server.host())]);
    let warm = ChatRequest {
        temperature: Some(0.5),
        max_tokens: Some(9),
        ..streamed(free("otters"))
    };
    for request in [shaped("otters", review()), warm] {
        ask(&models, "ollama/llama3.2", &request).await.0.unwrap();
    }
    // Whatever of the client's keys is not empty, we send too, and alike; what the schema says is
    // told besides.
    let said = |request: &Value| -> Value {
        let mut request = request.clone();
        let messages = request["messages"].as_array_mut().unwrap();
        messages.retain(|message| message["role"] != "system");
        let fields = request.as_object().unwrap().iter();
        fields
            .filter(|(_, value)| **value != json!([]))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let requests = server.requests();
    let (theirs, ours) = (&requests[..2], &requests[4..]);
    assert_eq!(
        ours.iter().map(said).collect::<Vec<_>>(),
        theirs.iter().map(said).collect::<Vec<_>>()
    );
}
