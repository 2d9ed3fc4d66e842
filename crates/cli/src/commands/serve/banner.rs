//! What a server says at its start: where it is, who answers, where jobs are kept, and a request that works when pasted.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use llm::chat::{ChatReply, ChatRequest, Content, Message, OutputFormat, Role};
use llm::model::{ModelSpec, Models as _};
use llm::offline::Offline;
use serde_json::{Value, json};
use service::catalog::LoadedWorkflow;

use crate::config::serve::Settings;
use crate::config::store::Store;
use crate::shell;
use crate::workflow_file::many;

/// The whole text. The first address in it is the server's own.
pub(super) async fn banner(
    address: SocketAddr,
    notice: Option<&str>,
    workflows: &[Arc<LoadedWorkflow>],
    settings: &Settings,
    wants_keys: bool,
) -> String {
    let url = format!("http://{}", reachable(address));
    let mut text = match workflows {
        [only] => format!(
            "flowmill {} serves `{}` at {url}\n",
            env!("CARGO_PKG_VERSION"),
            only.name
        ),
        several => format!(
            "flowmill {} serves {} at {url}\n",
            env!("CARGO_PKG_VERSION"),
            many(several.len(), "workflow")
        ),
    };
    if let Some(notice) = notice {
        let _ = writeln!(text, "{notice}");
    }
    let _ = match &settings.store {
        Store::Memory => writeln!(text, "jobs are in memory, and lost when the process ends"),
        Store::Sqlite(path) => writeln!(text, "jobs are kept in {}", path.display()),
    };
    if wants_keys {
        text.push_str("callers need an API key; here it is taken from $FLOWMILL_API_KEY\n");
    }
    if settings.watch {
        text.push_str("watching for changes\n");
    }
    let docs = match workflows {
        [_] => format!("{url}/docs"),
        _ => format!("{url}/workflows"),
    };
    let _ = write!(text, "  try it     {url}/\n  reference  {docs}\n");
    for workflow in workflows {
        let path = match workflows {
            [_] => "/run".to_owned(),
            _ => format!("/workflows/{}/run", path_segment(&workflow.name)),
        };
        let body = shell::word(&sample(&workflow.input_schema).await.to_string());
        let _ = write!(
            text,
            "\n  curl -X POST {}{} -H 'content-type: application/json' -d {body}",
            shell::word(&format!("{url}{path}")),
            // Not the key itself: this is a log.
            if wants_keys {
                " -H \"authorization: Bearer $FLOWMILL_API_KEY\""
            } else {
                ""
            }
        );
    }
    text.push('\n');
    text
}

/// An address that a client on this machine can use: the wildcard listens on every address and is none itself.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// Inputs that fit: the required ones, made up by the offline model, which answers any schema.
async fn sample(input_schema: &Value) -> Value {
    let mut schema = input_schema.clone();
    let required: Vec<String> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| Some(name.as_str()?.to_owned()))
        .collect();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.retain(|name, _| required.contains(name));
    }
    let request = ChatRequest {
        label: "sample".into(),
        messages: vec![Message {
            role: Role::User,
            text: "sample inputs".to_owned(),
        }],
        output: Some(OutputFormat {
            name: "sample".into(),
            description: None,
            schema: Arc::new(schema),
        }),
        temperature: None,
        max_tokens: None,
        timeout: Duration::from_secs(1),
        stream: false,
    };
    let Ok(model) = Offline.find(&ModelSpec::default()) else {
        return json!({});
    };
    let Ok(ChatReply {
        content: Content::Json(mut inputs),
        ..
    }) = model.chat(&request, &|_| {}).await
    else {
        return json!({});
    };
    for name in required {
        if is_any_text(&input_schema["properties"][&name]) {
            inputs[name] = json!("example");
        }
    }
    inputs
}

/// Whether every text fits: then a word reads better than what the offline model makes up.
fn is_any_text(schema: &Value) -> bool {
    let free = ["type", "title", "description", "minLength"];
    let is_text =
        schema["type"] == json!("string") && schema["minLength"].as_u64().unwrap_or_default() <= 7;
    is_text
        && schema
            .as_object()
            .is_some_and(|keys| keys.keys().all(|key| free.contains(&key.as_str())))
}

/// A workflow's name as a segment of a path.
fn path_segment(name: &str) -> String {
    let mut segment = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(byte.into());
        } else {
            let _ = write!(segment, "%{byte:02X}");
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wildcard_is_shown_as_an_address_one_can_use() {
        let check = |listening: &str, shown: &str| {
            assert_eq!(
                reachable(listening.parse().expect("an address")).to_string(),
                shown
            );
        };
        check("0.0.0.0:80", "127.0.0.1:80");
        check("[::]:80", "[::1]:80");
        check("10.0.0.7:80", "10.0.0.7:80");
    }

    #[test]
    fn names_are_escaped_in_paths() {
        assert_eq!(path_segment("my flow/ü"), "my%20flow%2F%C3%BC");
    }
}
