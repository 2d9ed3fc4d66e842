//! The yardstick: the smallest program that validates one field of a JSON body, makes the model
//! call that the greeting workflow makes, and answers JSON.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use crate::options::ReferenceOptions;

struct Model {
    client: reqwest::Client,
    url: String,
}

#[derive(Deserialize)]
struct Inputs {
    name: String,
}

#[derive(Deserialize)]
struct Completion {
    choices: [Choice; 1],
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: String,
}

/// Prints the address and serves until it is killed.
pub(crate) async fn serve(options: ReferenceOptions) -> Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let model = Model {
        client: client()?,
        url: format!("{}/chat/completions", options.model_url),
    };
    let router = Router::new()
        .route("/health", get(async || Json(json!({"status": "healthy"}))))
        .route("/run", post(run))
        .with_state(Arc::new(model));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    axum::serve(listener, router).await?;
    Ok(())
}

/// As flowmill sets its client up: bundled roots, a pool without limit, no proxies.
fn client() -> Result<reqwest::Client> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(Duration::from_secs(10))
        .pool_max_idle_per_host(usize::MAX)
        .tcp_nodelay(true)
        .no_proxy();
    Ok(client.build()?)
}

async fn run(
    State(model): State<Arc<Model>>,
    Json(inputs): Json<Inputs>,
) -> Result<Json<Value>, StatusCode> {
    let mut outputs = ask(&model, &inputs.name)
        .await
        .map_err(|_| StatusCode::BAD_GATEWAY)?;
    outputs.insert("name".to_owned(), inputs.name.into());
    Ok(Json(json!({"status": "success", "outputs": outputs})))
}

async fn ask(model: &Model, name: &str) -> Result<Map<String, Value>> {
    let request = json!({
        "model": "bench",
        "messages": [{"role": "user", "content": format!("Greet {name} in one warm sentence.")}],
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "Output_greet",
            "strict": true,
            "schema": {
                "type": "object",
                "properties": {"greeting": {"type": "string"}},
                "required": ["greeting"],
                "additionalProperties": false,
            },
        }},
    });
    let response = model
        .client
        .post(&model.url)
        .bearer_auth("bench")
        .json(&request)
        .send()
        .await?;
    let Completion { choices: [choice] } = response.error_for_status()?.json().await?;
    Ok(serde_json::from_str(&choice.message.content)?)
}
