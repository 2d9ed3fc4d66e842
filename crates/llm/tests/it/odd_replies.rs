//! What real model servers send that is not quite their protocol: a paid answer is read all the
//! same, in every dialect, whole and streamed.
#![expect(clippy::needless_pass_by_value, reason = "cases are written in place")]

use llm::chat::{ChatReply, ChatRequest, Content, FinishReason};
use llm::error::ErrorKind;
use serde_json::{Value, json};

use crate::ask::{ask, conforming, registry, review, shaped, streamed};
use crate::raw::{Raw, answer};

pub(crate) const PROVIDERS: [&str; 4] = ["openai", "anthropic", "google", "ollama"];

pub(crate) const JSON: &str = "application/json";
pub(crate) const EVENTS: &str = "text/event-stream";

/// What a server makes of the request when it answers with this.
pub(crate) async fn reply_to(
    provider: &str,
    request: &ChatRequest,
    status: &str,
    content_type: &str,
    body: &str,
) -> (Result<ChatReply, llm::Error>, String) {
    let headers = format!("content-type: {content_type}\r\n");
    let server = Raw::serving([answer(status, &headers, body)]).await;
    let base = server.base();
    let models = registry(&[
        ("OPENAI_BASE_URL", &base),
        ("ANTHROPIC_BASE_URL", &base),
        ("ANTHROPIC_API_KEY", "k-0123456789"),
        ("GOOGLE_GEMINI_BASE_URL", &base),
        ("GOOGLE_API_KEY", "k-0123456789"),
        ("OLLAMA_HOST", &base),
    ]);
    ask(&models, &format!("{provider}/m"), request).await
}

pub(crate) fn request(is_streamed: bool) -> ChatRequest {
    let request = shaped("otters", review());
    if is_streamed {
        streamed(request)
    } else {
        request
    }
}

fn wanted() -> Value {
    json!({"title": "otters", "score": 3})
}

/// The answer is read, whether or not it was to be streamed.
async fn check(provider: &str, content_type: &str, body: &str) {
    for is_streamed in [false, true] {
        let request = request(is_streamed);
        let (reply, _) = reply_to(provider, &request, "200 OK", content_type, body).await;
        assert!(
            reply.is_ok(),
            "{provider}, streamed: {is_streamed}: {body}: {reply:?}"
        );
        assert_eq!(conforming(&request, reply), wanted(), "{provider}: {body}");
    }
}

/// A whole answer with this in place of its text and its counts.
fn whole(provider: &str, content: Value, counts: Value) -> Value {
    match provider {
        "openai" => json!({
            "choices": [{"message": {"content": content}, "finish_reason": "stop"}],
            "usage": counts,
        }),
        "anthropic" => json!({
            "type": "message", "content": content, "stop_reason": "end_turn", "usage": counts,
        }),
        "google" => json!({
            "candidates": [{"content": {"parts": content}, "finishReason": "STOP"}],
            "usageMetadata": counts,
        }),
        _ => json!({
            "message": {"content": content}, "done": true, "done_reason": "stop",
            "prompt_eval_count": counts, "eval_count": counts,
        }),
    }
}

fn usual_content(provider: &str, text: &str) -> Value {
    match provider {
        "anthropic" => json!([{"type": "text", "text": text}]),
        "google" => json!([{"text": text}]),
        _ => json!(text),
    }
}

/// The events of a streamed answer in these pieces, each the JSON of a text.
fn events(provider: &str, pieces: &[&str]) -> Vec<String> {
    let (piece, end): (fn(&str) -> String, &str) = match provider {
        "openai" => (
            |text| {
                format!(r#"{{"choices":[{{"delta":{{"content":{text}}},"finish_reason":null}}]}}"#)
            },
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
        ),
        "anthropic" => (
            |text| {
                format!(
                    r#"{{"type":"content_block_delta","delta":{{"type":"text_delta","text":{text}}}}}"#
                )
            },
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
        ),
        "google" => (
            |text| format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":{text}}}]}}}}]}}"#),
            r#"{"candidates":[{"content":{"parts":[]},"finishReason":"STOP"}]}"#,
        ),
        _ => (
            |text| format!(r#"{{"message":{{"content":{text}}},"done":false}}"#),
            r#"{"message":{"content":""},"done":true}"#,
        ),
    };
    let pieces = pieces.iter().map(|text| piece(text));
    pieces.chain([end.to_owned()]).collect()
}

fn event_stream(events: &[String]) -> String {
    let events: Vec<String> = events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    events.concat()
}

/// As the provider frames it.
fn framed(provider: &str, events: &[String]) -> String {
    match provider {
        "ollama" => events.join("\n") + "\n",
        _ => event_stream(events),
    }
}

const HALVES: [&str; 2] = [r#""{\"title\": \"ot""#, r#""ters\", \"score\": 3}""#];

#[tokio::test]
async fn a_count_of_another_type_costs_no_answer() {
    let odd = [
        json!(null),
        json!([]),
        json!("none"),
        json!(12.0),
        json!("12"),
        json!(true),
    ];
    for provider in PROVIDERS {
        let content = usual_content(provider, &wanted().to_string());
        for odd in &odd {
            let body = whole(provider, content.clone(), odd.clone());
            check(provider, JSON, &body.to_string()).await;
            let mut counts = serde_json::Map::new();
            for key in [
                "prompt_tokens",
                "completion_tokens",
                "prompt_tokens_details",
                "input_tokens",
                "output_tokens",
                "cache_read_input_tokens",
                "promptTokenCount",
                "candidatesTokenCount",
                "thoughtsTokenCount",
            ] {
                counts.insert(key.to_owned(), odd.clone());
            }
            let body = whole(provider, content.clone(), Value::Object(counts));
            check(provider, JSON, &body.to_string()).await;
        }
    }
}

#[tokio::test]
async fn counts_are_read_however_they_are_written() {
    for count in [json!(12.0), json!("12"), json!(12)] {
        for provider in PROVIDERS {
            let counts = match provider {
                "openai" => json!({"prompt_tokens": count, "completion_tokens": count}),
                "anthropic" => json!({"input_tokens": count, "output_tokens": count}),
                "google" => json!({"promptTokenCount": count, "candidatesTokenCount": count}),
                _ => count.clone(),
            };
            let content = usual_content(provider, &wanted().to_string());
            let body = whole(provider, content, counts).to_string();
            let (reply, _) = reply_to(provider, &request(false), "200 OK", JSON, &body).await;
            let usage = reply.unwrap().usage;
            assert_eq!(
                (usage.input_tokens, usage.output_tokens, usage.is_estimated),
                (12, 12, false),
                "{provider} {count}"
            );
        }
    }
}

#[tokio::test]
async fn content_of_another_shape_is_read() {
    let text = wanted().to_string();
    let openai =
        |message: Value| json!({"choices": [{"message": message, "finish_reason": "stop"}]});
    for message in [
        json!({"content": [{"type": "text", "text": null}, {"type": "text", "text": text}]}),
        json!({"content": ["{\"title\": \"otters\", ", "\"score\": 3}"]}),
        json!({"content": wanted()}),
        json!({"content": {"type": "text", "text": text}}),
        json!({"content": text, "tool_calls": null, "refusal": null, "function_call": null}),
        json!({"content": text, "tool_calls": []}),
        json!({"content": text, "tool_calls": [{"function": null}]}),
        json!({"content": null, "tool_calls": [{"function": {"name": "Output_ask", "arguments": text}}]}),
        json!({"content": null, "tool_calls": [{"function": {"name": "Output_ask", "arguments": wanted()}}]}),
        json!({"content": "", "tool_calls": {"index": "0", "function": {"arguments": wanted()}}}),
        json!({"content": text, "tool_calls": [{"function": {"arguments": "{}"}}]}),
        json!({"content": null, "function_call": {"name": "Output_ask", "arguments": text}}),
        json!({"content": null, "reasoning_content": text}),
        json!({"content": "", "reasoning": format!("Hm. {text}"), "reasoning_content": null}),
        json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm {"}]}, {"type": "text", "text": text}]}),
    ] {
        check("openai", JSON, &openai(message).to_string()).await;
    }
    check(
        "openai",
        JSON,
        &json!({"choices": [{"message": {"content": text}}]}).to_string(),
    )
    .await;
    check("openai", JSON, &json!({"choices": {"message": {"content": text}, "finish_reason": 0}, "model": 5, "error": null}).to_string()).await;
    for content in [
        json!(text),
        json!([{"type": "text", "text": text}, {"type": "text", "text": null}]),
        json!([{"type": "tool_use", "input": wanted()}]),
        json!([{"type": "tool_use", "input": text}]),
        json!([{"type": "thinking", "thinking": "hm"}, null, {"type": "text", "text": text}]),
        json!([{"type": "thinking", "thinking": text}, {"type": "text", "text": ""}]),
    ] {
        check(
            "anthropic",
            JSON,
            &whole("anthropic", content, json!(null)).to_string(),
        )
        .await;
    }
    check(
        "anthropic",
        JSON,
        &json!({"content": [{"type": "text", "text": text}], "stop_reason": null}).to_string(),
    )
    .await;
    for parts in [
        json!([{"text": text}, {"text": null}]),
        json!({"text": text}),
        json!([{"text": "hm", "thought": "true"}, {"text": text}]),
        json!([{"functionCall": {"name": "Output_ask", "args": wanted()}}]),
        json!([{"text": text, "thought": true}, {"text": ""}]),
    ] {
        check(
            "google",
            JSON,
            &whole("google", parts, json!(null)).to_string(),
        )
        .await;
    }
    check(
        "google",
        JSON,
        &json!({"candidates": [{"content": {"parts": [{"text": text}]}}]}).to_string(),
    )
    .await;
    for message in [
        json!({"content": text, "thinking": null}),
        json!({"content": wanted()}),
        json!({"content": null, "thinking": text}),
        json!({"content": null, "tool_calls": [{"function": {"name": "Output_ask", "arguments": wanted()}}]}),
    ] {
        check(
            "ollama",
            JSON,
            &json!({"message": message, "done": true}).to_string(),
        )
        .await;
        check(
            "ollama",
            JSON,
            &json!({"message": message, "done": "true", "done_reason": null}).to_string(),
        )
        .await;
    }
    check(
        "ollama",
        JSON,
        &json!({"message": {"content": text}}).to_string(),
    )
    .await;
}

#[tokio::test]
async fn an_event_with_empty_data_does_not_end_a_stream() {
    for provider in PROVIDERS {
        let mut odd = events(provider, &HALVES);
        for at in [0, 2, 4] {
            odd.insert(at, String::new());
        }
        let body = format!(
            "\u{feff}: hello\n\ndata\n\nevent: ping\ndata: ping\n\n{}data: [DONE]\n\n",
            event_stream(&odd)
        );
        check(provider, EVENTS, &body).await;
    }
}

#[tokio::test]
async fn the_last_blank_line_may_be_missing() {
    for provider in PROVIDERS {
        let body = framed(provider, &events(provider, &HALVES));
        check(provider, EVENTS, body.trim_end()).await;
    }
}

#[tokio::test]
async fn an_event_stream_is_read_where_none_was_asked_for_and_whatever_it_is_called() {
    for provider in PROVIDERS {
        let events = events(provider, &HALVES);
        let body = event_stream(&events);
        for content_type in [EVENTS, JSON, "text/plain"] {
            check(provider, content_type, &body).await;
            check(provider, content_type, &format!("{body}data: [DONE]\n\n")).await;
            check(provider, content_type, &framed(provider, &events)).await;
        }
    }
}

#[tokio::test]
async fn a_whole_answer_is_read_whatever_it_is_called() {
    for provider in PROVIDERS {
        let content = usual_content(provider, &wanted().to_string());
        let body = whole(provider, content, json!(null)).to_string();
        for content_type in [EVENTS, JSON, "text/plain"] {
            check(provider, content_type, &body).await;
            check(
                provider,
                content_type,
                &format!(" \n{body}data: [DONE]\n\n"),
            )
            .await;
        }
        check(provider, EVENTS, &format!("data:{body}\n\n")).await;
    }
    // Gemini streams a list where nobody asked for events.
    let list = format!("[{}]", events("google", &HALVES).join(",\n"));
    check("google", JSON, &list).await;
}

#[tokio::test]
async fn halves_of_a_surrogate_pair_are_joined_and_a_lone_one_is_replaced() {
    for provider in PROVIDERS {
        for (pieces, title) in [
            (
                [r#""{\"title\": \"\ud83d""#, r#""\ude00\", \"score\": 3}""#],
                "😀",
            ),
            (
                [
                    r#""{\"title\": \"\\ud83d""#,
                    r#""\\ude00\", \"score\": 3}""#,
                ],
                "😀",
            ),
            (
                [r#""{\"title\": \"\ud83d!\", ""#, r#""\"score\": 3}""#],
                "\u{fffd}!",
            ),
            (
                [r#""{\"title\": \"\\ud83d!\", ""#, r#""\"score\": 3}""#],
                "\u{fffd}!",
            ),
            (
                [r#""{\"title\": \"a\ud83d""#, r#""b\", \"score\": 3}""#],
                "a\u{fffd}b",
            ),
            (
                [r#""{\"title\": \"a\nb\\tc\", ""#, r#""\"score\": 3}""#],
                "a\nb\tc",
            ),
        ] {
            let body = framed(provider, &events(provider, &pieces));
            for is_streamed in [false, true] {
                let request = request(is_streamed);
                let (reply, shown) = reply_to(provider, &request, "200 OK", EVENTS, &body).await;
                let value = conforming(&request, reply);
                assert_eq!(value["title"], title, "{provider}: {body}");
                // What was shown is the text, not the marks it was kept with.
                let marks = |c: char| ('\u{fdd0}'..='\u{fdef}').contains(&c);
                assert!(!shown.contains(marks), "{provider}: {shown}");
                assert!(
                    !is_streamed || shown.contains("score"),
                    "{provider}: {shown}"
                );
            }
        }
        let [begin, end] = [r#"{"title": "\ud83d\n"#, r#"", "score": 3}"#];
        let content = usual_content(provider, "TEXT");
        let body = whole(provider, content, json!(null)).to_string();
        let text = Value::from(format!("{begin}{end}")).to_string();
        // The first backslash of each pair: the half stands in the provider's JSON.
        let text = text.replace(r"\\ud83d", r"\ud83d");
        let body = body.replace("\"TEXT\"", &text);
        let request = request(false);
        let (reply, _) = reply_to(provider, &request, "200 OK", JSON, &body).await;
        assert_eq!(
            conforming(&request, reply)["title"],
            "\u{fffd}\n",
            "{provider}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_behind_its_last_brace_is_one() {
    for provider in PROVIDERS {
        let mut events = events(provider, &HALVES);
        events.pop();
        check(provider, EVENTS, &framed(provider, &events)).await;
        // Cut before it, it is none.
        events.pop();
        let (reply, _) = reply_to(
            provider,
            &request(true),
            "200 OK",
            EVENTS,
            &framed(provider, &events),
        )
        .await;
        assert_eq!(reply.unwrap_err().kind, ErrorKind::Network, "{provider}");
    }
}

#[tokio::test]
async fn reasoning_alone_is_an_empty_answer() {
    for message in [
        json!({"content": null, "reasoning_content": "Okay, the user wants {otters}"}),
        json!({"content": "", "reasoning": format!("Maybe {}, or not. Hm", wanted())}),
    ] {
        let body = json!({"choices": [{"message": message, "finish_reason": "stop"}]}).to_string();
        let (reply, _) = reply_to("openai", &request(false), "200 OK", JSON, &body).await;
        assert_eq!(
            reply.unwrap().content,
            Content::Text(String::new()),
            "{body}"
        );
    }
}

#[tokio::test]
async fn what_the_model_was_refused_for_is_its_answer() {
    let refusal = |code: &str, text: Value| {
        json!({"error": {
            "message": "Failed to generate JSON. Please adjust your prompt.", "type": "invalid_request_error",
            "code": code, "failed_generation": text,
        }})
    };
    for code in ["json_validate_failed", "tool_use_failed"] {
        for (text, expected) in [
            (
                json!("{\"title\": \"otters\", \"score\": 3,}"),
                Content::Json(wanted()),
            ),
            (
                json!("<function=Output_ask>{\"title\": \"otters\", \"score\": 3}</function>"),
                Content::Json(wanted()),
            ),
            (
                json!({"name": "Output_ask", "arguments": wanted()}),
                Content::Json(wanted()),
            ),
            (json!("I cannot."), Content::Text("I cannot.".to_owned())),
            (json!(null), Content::Text(String::new())),
        ] {
            let body = refusal(code, text).to_string();
            for is_streamed in [false, true] {
                for (status, content_type, body) in [
                    ("400 Bad Request", JSON, body.clone()),
                    ("200 OK", EVENTS, format!("event: error\ndata: {body}\n\n")),
                ] {
                    let request = request(is_streamed);
                    let (reply, _) =
                        reply_to("openai", &request, status, content_type, &body).await;
                    let reply = reply.unwrap();
                    assert_eq!(reply.content, expected, "{body}");
                    assert!(reply.usage.is_estimated);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_full_context_window_is_named() {
    let body = json!({"type": "message", "content": [{"type": "text", "text": "{\"title"}], "stop_reason": "model_context_window_exceeded"});
    let (reply, _) = reply_to(
        "anthropic",
        &request(false),
        "200 OK",
        JSON,
        &body.to_string(),
    )
    .await;
    assert_eq!(reply.unwrap().finish, FinishReason::ContextWindow);
}

/// It became a float without a word: 18446744073709552000.
#[tokio::test]
async fn an_integer_beyond_64_bits_in_an_answer_stays_exact() {
    let schema = json!({"type": "object", "properties": {"facts": {"type": "object"}}, "required": ["facts"]});
    let facts = r#"{"facts": {"id": 18446744073709551616, "small": 7}}"#;
    let expected = json!({"facts": {"id": "18446744073709551616", "small": 7}});
    let wordy = format!("Here you are:\n```json\n{facts}\n```");
    for provider in PROVIDERS {
        for text in [facts, &wordy] {
            let body = whole(provider, usual_content(provider, text), json!(null)).to_string();
            let request = shaped("otters", schema.clone());
            let (reply, _) = reply_to(provider, &request, "200 OK", JSON, &body).await;
            let content = reply.unwrap().content;
            assert_eq!(content, Content::Json(expected.clone()), "{provider}");
        }
    }
    // Arguments that come parsed.
    let body = format!(
        r#"{{"type": "message", "content": [{{"type": "tool_use", "id": "t", "name": "Output_ask", "input": {facts}}}],
             "stop_reason": "tool_use", "usage": {{"input_tokens": 5, "output_tokens": 5}}}}"#
    );
    let request = shaped("otters", schema);
    let (reply, _) = reply_to("anthropic", &request, "200 OK", JSON, &body).await;
    assert_eq!(reply.unwrap().content, Content::Json(expected));
}
