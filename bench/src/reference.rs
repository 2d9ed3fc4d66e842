//! The reference: the smallest program that validates one field of a JSON body, makes the greeting
//! workflow's model call, and returns JSON.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Result;
use axum::extract::{Path, State};
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
    jobs: Mutex<Jobs>,
}

/// A minimal job table: the inputs of each job, and its outputs once it has any.
#[derive(Default)]
struct Jobs {
    by_id: HashMap<u64, Job>,
}

struct Job {
    name: String,
    outputs: Option<Result<Map<String, Value>, String>>,
}

#[derive(Deserialize)]
struct Inputs {
    name: String,
}

#[derive(Deserialize)]
struct Envelope {
    inputs: Inputs,
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
        jobs: Mutex::default(),
    };
    let router = Router::new()
        .route("/health", get(async || Json(json!({"status": "healthy"}))))
        .route("/run", post(run))
        .route("/jobs", post(submit))
        .route("/jobs/{id}", get(job))
        .with_state(Arc::new(model));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    axum::serve(listener, router).await?;
    Ok(())
}

/// Set up like flowmill's client: bundled roots, an unlimited pool, no proxies.
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

/// Accepts a job and runs it on its own task.
async fn submit(
    State(model): State<Arc<Model>>,
    Json(Envelope { inputs }): Json<Envelope>,
) -> (StatusCode, Json<Value>) {
    let id = {
        let mut jobs = model.jobs();
        let id = jobs.by_id.len() as u64;
        let job = Job {
            name: inputs.name.clone(),
            outputs: None,
        };
        jobs.by_id.insert(id, job);
        id
    };
    let running = model.clone();
    tokio::spawn(async move {
        let outputs = ask(&running, &inputs.name).await;
        if let Some(job) = running.jobs().by_id.get_mut(&id) {
            job.outputs = Some(outputs.map_err(|error| error.to_string()));
        }
    });
    let id = id.to_string();
    let handle = json!({"status": "async", "job_id": id});
    (StatusCode::ACCEPTED, Json(handle))
}

async fn job(
    State(model): State<Arc<Model>>,
    Path(id): Path<u64>,
) -> Result<Json<Value>, StatusCode> {
    let jobs = model.jobs();
    let job = jobs.by_id.get(&id).ok_or(StatusCode::NOT_FOUND)?;
    let status = match &job.outputs {
        None => "running",
        Some(Ok(_)) => "completed",
        Some(Err(_)) => "failed",
    };
    Ok(Json(json!({
        "job_id": id,
        "status": status,
        "name": job.name,
        "outputs": job.outputs.as_ref().and_then(|outputs| outputs.as_ref().ok()),
    })))
}

impl Model {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().expect("nothing panics while it is held")
    }
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
