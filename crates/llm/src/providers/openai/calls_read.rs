//! Tests of how calls of offered tools are read.

use super::OpenAi;
use crate::answer::Body;
use crate::chat::FinishReason;
use crate::providers::test_request::{calls_of, read_calls, stream_calls};

/// T16, T17, T18: calls of a whole answer and of a stream, with and without ids.
#[test]
fn offered_tools_are_called() {
    let body = r#"{"choices":[{"message":{"content":"Hm.","reasoning_content":"why","tool_calls":[
        {"id":"a","type":"function","function":{"name":"get","arguments":"{\"n\":1}"},"extra_content":{"google":{"thought_signature":"s"}}},
        {"type":"function","function":{"name":"put","arguments":{"n":2}}}]},"finish_reason":"stop"}]}"#;
    let answer = read_calls::<OpenAi>("openai", body);
    assert_eq!(
        calls_of(&answer),
        [r#"a get {"n":1}"#, r#"call_2 put {"n":2}"#]
    );
    assert_eq!(answer.body, Body::Text("Hm.".to_owned()));
    assert_eq!(answer.finish, FinishReason::ToolCall);
    let opaque: Vec<_> = answer
        .opaque
        .iter()
        .map(|opaque| (opaque.of_call.as_deref(), opaque.value.to_string()))
        .collect();
    assert_eq!(
        opaque,
        [
            (
                Some("a"),
                r#"{"extra_content":{"google":{"thought_signature":"s"}}}"#.to_owned()
            ),
            (None, r#"{"reasoning_content":"why"}"#.to_owned()),
        ]
    );
}

#[test]
fn streamed_calls_are_put_together_and_not_shown() {
    let delta = |delta: &str| format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n");
    let body = [
        delta(r#"{"content":"Hm"}"#),
        delta(r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"get","arguments":""}}]}"#),
        delta(r#"{"tool_calls":[{"index":1,"function":{"name":"put","arguments":"{\"n\""}}]}"#),
        delta(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#),
        delta(r#"{"tool_calls":[{"index":1,"function":{"arguments":":2}"}}]}"#),
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n"
            .to_owned(),
    ]
    .concat();
    let (answer, emitted) = stream_calls::<OpenAi>("openai", &body);
    assert_eq!(calls_of(&answer), ["a get {}", r#"call_2 put {"n":2}"#]);
    assert_eq!(emitted, "Hm");
}

#[test]
fn calls_of_former_days_are_calls() {
    let body = r#"{"choices":[{"message":{"function_call":{"name":"get","arguments":""}},"finish_reason":"function_call"}]}"#;
    let answer = read_calls::<OpenAi>("openai", body);
    assert_eq!(calls_of(&answer), ["call_1 get {}"]);
}
